"""The official client without its synchronous half: to be imported before anything of it.

`import kubernetes` runs that half, too (requests, oauthlib and what they need): a fifth of the CPU time that
a command takes to its first request. So the package is entered in sys.modules without being run: its
parts can be imported as ever.
"""

import os
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec

from womm import places

if "kubernetes" not in sys.modules and (_spec := find_spec("kubernetes")) is not None:
    sys.modules["kubernetes"] = module_from_spec(_spec)

if "HOME" not in os.environ and places.home() is None:
    # The client asks for the home folder when it is imported, and fails where there is none.
    os.environ["HOME"] = "/"
    try:
        import_module("kubernetes.aio.config.kube_config")
    finally:
        del os.environ["HOME"]
