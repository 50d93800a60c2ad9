"""Which paths of a machine belong to its programs."""

import pytest

from womm.errors import ShareError
from womm.here.programs import Programs, Root
from womm.share.programs.allowed import Allowed, Place


def programs(*roots, etc=(), links=()):
    return Programs(tuple(Root(path, "kind", "why") for path in roots), tuple(links), tuple(etc))


ALLOWED = Allowed.of(
    programs(
        "/usr",
        "/root/.pyenv/versions/3.11.7",
        "/usr/local/go",
        links=[("/bin", "/usr/bin"), ("/usr/lib64", "/usr/lib")],
        etc=["passwd", "ssl", "ssl/certs", "hosts"],
    )
)


@pytest.mark.parametrize(
    "path, place",
    [
        (b"", Place.WAY),
        (b"root", Place.WAY),
        (b"root/.pyenv/versions", Place.WAY),
        (b"root/.pyenv/versions/3.11.7", Place.INSIDE),
        (b"root/.pyenv/versions/3.11.7/bin/python3", Place.INSIDE),
        (b"root/.pyenv/versions/3.11.70", None),
        (b"root/.ssh", None),
        (b"usr", Place.INSIDE),
        (b"usr/lib64", Place.INSIDE),
        (b"usrlocal", None),
        (b"bin", Place.LINK),
        (b"bin/sh", None),
        (b"etc", Place.WAY),
        (b"etc/passwd", Place.INSIDE),
        (b"etc/passwd-", None),
        (b"etc/shadow", None),
        (b"etc/ssl/certs/a.pem", Place.INSIDE),
        (b"etc/hosts", Place.PLACEHOLDER),
        (b"etc/resolv.conf", Place.PLACEHOLDER),
    ],
)
def test_path_is_inside_on_the_way_or_nothing(path, place):
    assert ALLOWED.place(path) is place


def test_a_directory_on_the_way_shows_the_names_that_lead_on():
    assert ALLOWED.ways[b""] == (b"bin", b"etc", b"root", b"usr")
    assert ALLOWED.ways[b"root"] == (b".pyenv",)
    assert ALLOWED.ways[b"etc"] == (b"hostname", b"hosts", b"passwd", b"resolv.conf", b"ssl")


def test_modes_count_from_the_root_and_in_etc_from_etc():
    python = b"root/.pyenv/versions/3.11.7"
    assert ALLOWED.judged(python) == []
    assert ALLOWED.judged(python + b"/bin/python3") == [python, python + b"/bin"]
    assert ALLOWED.judged(b"etc/ssl/certs/a.pem") == [b"etc", b"etc/ssl", b"etc/ssl/certs"]
    assert ALLOWED.judged(b"root/.ssh/id_rsa") == []


def test_no_etc_has_no_placeholders():
    assert Allowed.of(programs("/usr")).place(b"etc/hosts") is None


@pytest.mark.parametrize("path", ["/", "/proc", "/sys/kernel", "/dev/shm", "/run/user/0", "/proc/../proc/1"])
def test_root_that_holds_this_machine_is_refused(path):
    with pytest.raises((ShareError, OSError)):
        Allowed.of(programs(path))
