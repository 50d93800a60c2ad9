"""The name of a file that is kept beside another one: both sides have changed it."""

import os

from womm.store.pack import NAME_BYTES


def beside_name(name: bytes, task: str, number: int) -> bytes:
    """NAME.womm-TASK, with a number from the second on; shortened to what disks take."""
    suffix = b".womm-" + os.fsencode(task) + (b".%d" % number if number > 1 else b"")
    return name[: NAME_BYTES - len(suffix)] + suffix
