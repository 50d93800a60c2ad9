"""The commands, on click: one file each, which parses, calls and prints.

Everything that is not a result goes to stderr: stdout is the jobs' output, or data for scripts.
Modules here import their work inside functions; `tests/cli/test_imports.py` holds the list of what
`womm --help` may import. Rejected: Typer (it has left click), rich-click (broken by click 8.4).
"""
