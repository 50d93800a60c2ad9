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


def test_answers_asks_a_mount_once_and_no_disk():
    asked = []
    gate = threading.Event()

    def look(path):
        asked.append(path)
        assert path != "/dead" or gate.wait()

    table = FileSystems([("/", "ext4"), ("/dead", "nfs"), ("/soft", "autofs"), ("/mnt/c", "drvfs")], 0.05)
    found = [table.answers(path, look) for path in ("/usr", "/dead/a", "/dead/b", "/soft/x", "/mnt/c/x")]
    gate.set()
    assert found == [True, False, False, True, False]
    assert asked == ["/dead", "/soft"]


def test_in_time_a_silent_server_is_not_waited_for():
    gate = threading.Event()
    assert in_time(gate.wait, False, 0.01) is False
    gate.set()
    assert in_time(lambda: 7, 0) == 7
