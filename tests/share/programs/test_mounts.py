"""Which file systems are no disks, and which may not answer."""

import os

from womm.share.programs.mounts import Mounts, parse

LINES = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:21 / /opt/root/proc rw,nosuid shared:12 - proc proc rw
24 22 0:40 / /opt/a\\040b rw - fuse.sshfs me@there: rw,user_id=1000
25 22 0:41 / /opt/all rw - fuse.rclone there: rw,user_id=1000,allow_other
26 22 0:42 / /net/tools rw - nfs4 server:/tools rw,vers=4.2
27 26 0:43 / /net/tools/local rw master:1 propagate_from:2 - tmpfs tmpfs rw
nonsense
28 22 x:y / / rw - ext4 /dev/vda rw
"""


def mounts(tmp_path, text=LINES):
    (tmp_path / "mountinfo").write_text(text)
    return Mounts(str(tmp_path / "mountinfo"))


def test_devices_that_are_no_disk_or_their_owners_alone_are_hidden(tmp_path):
    found = mounts(tmp_path)
    hidden = {minor: found.hides(os.makedev(0, minor)) for minor in (21, 40, 41, 42, 43, 99)}
    assert hidden == {21: True, 40: True, 41: False, 42: False, 43: False, 99: False}
    assert not found.hides(os.makedev(254, 0))


def test_a_device_that_is_mounted_later_is_known_when_it_is_seen(tmp_path):
    found = mounts(tmp_path)
    (tmp_path / "mountinfo").write_text(LINES + "29 22 0:50 / /usr/x rw - sysfs sysfs rw\n")
    assert found.hides(os.makedev(0, 50))


def test_device_number_that_another_mount_gets_is_judged_anew(tmp_path):
    (tmp_path / "mountinfo").write_text(LINES)
    found = Mounts(str(tmp_path / "mountinfo"), look_again_s=0.0)
    dev = os.makedev(0, 43)
    assert not found.hides(dev)
    old = "0:43 / /net/tools/local rw master:1 propagate_from:2 - tmpfs"
    (tmp_path / "mountinfo").write_text(LINES.replace(old, "0:43 / /x rw - fuse.sshfs"))
    assert found.hides(dev)


def test_paths_on_other_machines_may_have_to_be_waited_for(tmp_path):
    found = mounts(tmp_path)
    for path in (b"net/tools", b"net/tools/bin/x", b"opt/a b"):
        assert found.waits(path) and found.lists(path), path
    for path in (b"net", b"opt"):  # their entries are looked at
        assert not found.waits(path) and found.lists(path), path
    for path in (b"", b"usr", b"net/tools/local/x", b"network", b"opt/root"):
        assert not found.waits(path) and not found.lists(path), path


def test_this_machines_proc_is_no_disk():
    found = Mounts()
    assert found.hides(os.stat("/proc/self/status").st_dev)
    assert not found.hides(os.stat(__file__).st_dev)
    assert parse(b"") is None
