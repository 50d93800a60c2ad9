"""Which file system a path is on."""

import threading

from womm.here.filesystems import FileSystems, in_time, mounted


def test_kind_is_that_of_the_innermost_mount():
    table = FileSystems(
        [("/", "ext4"), ("/soft", "nfs4"), ("/soft/local", "xfs"), ("/mnt/c", "9p"), ("/srv", "9p")]
    )
    assert [table.kind(path) for path in ("/usr/bin", "/soft/bin", "/soft/local/bin", "/software")] == [
        "ext4",
        "nfs4",
        "xfs",
        "ext4",
    ]
    assert table.is_network("/soft/bin") and table.is_network("/srv/x") and not table.is_network("/usr")
    assert table.is_foreign("/mnt/c/Windows") and not table.is_network("/mnt/c/Windows")
    assert FileSystems([]).kind("/usr") == ""


def test_mounted_knows_proc():
    assert mounted().kind("/proc/self") == "proc"


def test_in_time_a_silent_server_is_not_waited_for():
    gate = threading.Event()
    assert in_time(gate.wait, False, 0.01) is False
    gate.set()
    assert in_time(lambda: 7, 0) == 7
