"""The name beside a file for its other version, when both sides have changed it."""

import os

from womm.store.pack import NAME_BYTES


def beside_name(name: bytes, task: str, number: int) -> bytes:
    """Return NAME.womm-TASK, with a number from the second on, no longer than disks allow."""
    suffix = b".womm-" + os.fsencode(task) + (b".%d" % number if number > 1 else b"")
    return name[: NAME_BYTES - len(suffix)] + suffix
