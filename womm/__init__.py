"""womm, "Works On My Machine": run what works in a folder here on the workers of a cluster.

docs/architecture.md describes the parts; the layers and their order are in pyproject.toml.
"""

__version__ = "0.1.0"
