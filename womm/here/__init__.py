"""This machine's programs: which of its folders pods may see, and what programs need of its environment.

Nothing here serves a byte: `womm/share/programs` does.
"""
