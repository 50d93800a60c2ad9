"""What can be served: `LocalFilesystem`, a confined directory, and `MemoryFilesystem`, for tests."""

from womm.nfs.backends.local import LocalFilesystem
from womm.nfs.backends.memory import MemoryFilesystem

__all__ = ["LocalFilesystem", "MemoryFilesystem"]
