"""GNU parallel as the engine: found, asked for its options, started, and fed with jobslots.

Its jobs reach womm through the login shim (`shims`). The perl modules beside this file are loaded into GNU
parallel before its own code.
"""
