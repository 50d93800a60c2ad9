"""The eager share's store: the half that runs in the file server's pod, and what both halves speak.

`server` is the program, `pack` the records on the wire, `send` and `tree` read a folder on either side.
"""
