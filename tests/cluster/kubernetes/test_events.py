"""What events say of pods that are not there: which sentences mean that a node cannot mount NFS."""

from typing import Any

import pytest

from womm.cluster.kubernetes.advice import advice_for
from womm.cluster.kubernetes.events import Why, why, words

EXPORT = "/womm-9edcb581d7089ea88dce48180210a125"
PLACE = "/var/lib/kubelet/pods/4124519b/volumes/kubernetes.io~nfs/womm-share"


def event(message: str, time: str = "2026-01-01T00:00:00Z", reason: str = "FailedMount") -> dict[str, Any]:
    return {"reason": reason, "message": message, "lastTimestamp": time}


def mount(output: str, how: str = "exit status 32") -> str:
    """A failed mount in kubelet's words."""
    return (
        f'MountVolume.SetUp failed for volume "womm-share" : mount failed: {how}\nMounting command: mount\n'
        f"Mounting arguments: -t nfs 10.99.179.30:{EXPORT} {PLACE}\nOutput: {output}\n"
    )


@pytest.mark.parametrize(
    "message",
    [
        # util-linux without mount.nfs, then an older one, then busybox; no mount at all; a kernel without nfs
        mount(f"mount: {PLACE}: unknown filesystem type 'nfs'.\n       dmesg(1) may have more information."),
        mount(
            f"mount: {PLACE}: bad option; for several filesystems (e.g. nfs, cifs) you might need a"
            " /sbin/mount.<type> helper program."
        ),
        mount(f"mount: wrong fs type, bad option, bad superblock on 10.1.2.3:{EXPORT}"),
        mount(f"mount: mounting 10.1.2.3:{EXPORT} on {PLACE} failed: No such device", "exit status 255"),
        mount("", 'exec: "mount": executable file not found in $PATH'),
        mount(f"mount.nfs: No such device for {PLACE} on {PLACE}"),
        mount("mount.nfs: Protocol not supported"),
    ],
)
def test_node_that_cannot_mount_nfs_is_named_with_what_to_do(message: str) -> None:
    found = why([event(message)], "node1")
    assert found is not None
    assert found.lacks_nfs == "node1"
    assert words([found]) == {
        "FailedMount": "node1 has no NFS client: install nfs-common there, choose nodes by node-selector,"
        " or --share eager"
    }
    assert words([found], copied=True)["FailedMount"].endswith("there, or choose nodes by node-selector")
    assert "nfs-common" in advice_for([f"FailedMount ({words([found])['FailedMount']})"])


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (
            f"mount.nfs: access denied by server while mounting 10.1.2.3:{EXPORT}",
            "volume womm-share: mount.nfs: access denied by server while mounting 10.1.2.3:/womm-...",
        ),
        ("mount.nfs: Connection refused", "volume womm-share: mount.nfs: Connection refused"),
    ],
)
def test_mount_that_fails_otherwise_is_told_in_mounts_words_without_the_export(
    output: str, told: str
) -> None:
    assert why([event(mount(output))], "node1") == Why("FailedMount", told)


def test_volume_of_another_kind_says_nothing_of_nfs() -> None:
    told = 'MountVolume.SetUp failed for volume "data" : configmap "no-such-map" not found'
    assert why([event(told)], "node1") == Why("FailedMount", told)


def test_last_warning_counts_and_none_is_nothing() -> None:
    first, last = event("one", "2026-01-01T00:00:01Z"), event("two", "2026-01-01T00:00:02Z", "Other")
    assert why([last, first], "a") == Why("Other", "two")
    assert why([], "a") is None


def test_several_nodes_are_named_in_one_sentence() -> None:
    found = [Why("FailedMount", "", node) for node in ("node2", "node1", "node2")]
    assert words(found)["FailedMount"].startswith("node1 and node2 have no NFS client: ")
