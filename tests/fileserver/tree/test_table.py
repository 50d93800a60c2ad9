"""The table of names: what its disk refuses is written later."""

import contextlib
import os
import subprocess

import pytest

from womm.fileserver.tree.table import Row, Table
from womm.nfs.status import NFSError, Status


@pytest.mark.skipif(os.getuid() != 0, reason="mounts a tmpfs")
def test_what_a_full_disk_refuses_is_written_by_the_next_sync_in_its_order(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], check=True)
    try:
        table = Table(tmp_path)
        told: list[object] = []
        table.told = told.extend
        with contextlib.suppress(OSError):
            (tmp_path / "hog").write_bytes(bytes(2 << 20))
        changes = [Row(1, b"%d" % number, (1 << 32) + number, 1, 1, number) for number in range(300)]
        for row in changes:
            table.put(row)
        table.drop(1, b"7")
        for call in (table.sync, table.sync, lambda: table.doubt("key", "value")):
            with pytest.raises(NFSError) as caught:
                call()
            assert caught.value.status is Status.DELAY
        assert told == [] and table.doubts() == []
        (tmp_path / "hog").unlink()
        table.put(Row(1, b"8", 1 << 33, 1, 1, 8))
        table.sync()
        assert told == [*changes, (1, b"7"), Row(1, b"8", 1 << 33, 1, 1, 8)]
        table.close()
        table = Table(tmp_path)
        found = {row.name: row.fileid for row in table.of_directory(1)}
        assert len(found) == 299 and b"7" not in found and found[b"8"] == 1 << 33
        table.close()
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)
