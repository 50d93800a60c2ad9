"""Which command installs perl, on which distribution."""

import pytest

from womm.testbed.requirements import advice, install_command, missing

DEBIAN = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nNAME="Debian GNU/Linux"\nID=debian\n'
MINT = "ID=linuxmint\nID_LIKE='ubuntu debian'\n"
ALPINE = 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.20.3\n'
FEDORA = "ID=fedora\nVERSION_ID=40\n"
ROCKY = 'ID="rocky"\nID_LIKE="rhel centos fedora"\n'
ARCH = "ID=arch\n"
LEAP = 'ID="opensuse-leap"\nID_LIKE="suse opensuse"\n'


@pytest.mark.parametrize(
    ("release", "command"),
    [
        (DEBIAN, "apt-get update && apt-get install -y perl-base"),
        (MINT, "apt-get update && apt-get install -y perl-base"),
        (ALPINE, "apk add perl"),
        (FEDORA, "dnf install -y perl"),
        (ROCKY, "dnf install -y perl"),
        (ARCH, "pacman -Sy --noconfirm perl"),
        (LEAP, "zypper --non-interactive install perl"),
        ("ID=nothing\n", None),
        ("", None),
        ("ID='half\n", None),
    ],
)
def test_command_is_that_of_the_distribution(release, command):
    assert install_command(release, ["perl"]) == command


def test_manager_that_the_image_has_is_taken():
    assert install_command(ROCKY, ["perl"], {"microdnf"}) == "microdnf install -y perl"


def test_manager_tells_more_than_an_unknown_distribution():
    assert install_command("ID=nothing\n", ["perl"], {"apk"}) == "apk add perl"


def test_several_programs_are_one_command():
    assert install_command(ALPINE, ["sh", "perl"]) == "apk add busybox perl"


@pytest.mark.slow
def test_missing_program_is_named_with_its_command(beds):
    with beds.open() as testbed:
        assert missing(testbed) == ("perl",)
        assert advice(testbed, ["perl"]) == "apk add perl"
    with beds.open(beds.bases.debian_without_perl()) as testbed:
        assert missing(testbed) == ("perl",)
        assert advice(testbed, ["perl"]) == "apt-get update && apt-get install -y perl-base"


@pytest.mark.slow
def test_sh_that_is_gone_is_missing(beds):
    with beds.open(beds.bases.debian()) as testbed:
        assert missing(testbed) == ()
        testbed.run(["perl", "-e", "unlink '/bin/sh', '/usr/bin/sh'"])
        assert missing(testbed) == ("sh",)
