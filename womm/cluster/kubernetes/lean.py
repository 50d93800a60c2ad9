"""The official client without its synchronous half: to be imported before anything of it.

`import kubernetes` runs that half, too (requests, oauthlib and what they need): a fifth of the CPU time that
a command takes to its first request. So the package is entered in sys.modules without being run: its
parts can be imported as ever.
"""

import sys
from importlib.util import find_spec, module_from_spec

if "kubernetes" not in sys.modules and (_spec := find_spec("kubernetes")) is not None:
    sys.modules["kubernetes"] = module_from_spec(_spec)
