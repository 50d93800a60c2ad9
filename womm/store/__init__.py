"""The eager share's store: the half that runs in the file server's pod, and what both halves share.

`server` is the program: `python -m womm.store.server`. Both halves use the rest: `protocol` has the kinds of
records, `pack` their form on the wire; `tree` walks a folder, `send` and `receive` move the files of one.
"""
