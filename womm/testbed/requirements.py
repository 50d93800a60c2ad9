"""What womm needs in the image: perl, for its agent, and sh, for the jobs' lines."""

import re
import shlex
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from womm.testbed.container import Testbed

PROGRAMS: Final = ("sh", "perl")
_MODULES: Final = "use 5.014; use Config; use Errno; use Fcntl; use Socket;"
"""What womm's agent loads. Some distributions have perl without its modules."""
_PERL: Final = ("perl", "-e", _MODULES + " exit 7")
_BOTH: Final = ("sh", "-c", '"$@"; [ $? = 7 ] && exit 7; exit 8', "sh", *_PERL)
_GOOD: Final = 7
_NO_PERL: Final = 8

_MANAGERS: Final = {
    # os-release(5) ID: the distribution's package managers, the usual one first.
    "debian": ("apt-get",),
    "ubuntu": ("apt-get",),
    "alpine": ("apk",),
    "fedora": ("dnf", "microdnf", "yum"),
    "rhel": ("dnf", "microdnf", "yum"),
    "centos": ("dnf", "microdnf", "yum"),
    "amzn": ("dnf", "microdnf", "yum"),
    "mageia": ("dnf",),
    "photon": ("tdnf",),
    "azurelinux": ("tdnf", "dnf"),
    "mariner": ("tdnf", "dnf"),
    "arch": ("pacman",),
    "archlinux": ("pacman",),
    "suse": ("zypper",),
    "opensuse": ("zypper",),
    "sles": ("zypper",),
    "wolfi": ("apk",),
    "chainguard": ("apk",),
    "void": ("xbps-install",),
    "gentoo": ("emerge",),
}
_COMMANDS: Final = {
    "apt-get": "apt-get update && apt-get install -y {}",
    "apk": "apk add {}",
    "dnf": "dnf install -y {}",
    "microdnf": "microdnf install -y {}",
    "tdnf": "tdnf install -y {}",
    "yum": "yum install -y {}",
    "pacman": "pacman -Sy --noconfirm {}",
    "zypper": "zypper --non-interactive install {}",
    "xbps-install": "xbps-install -Sy {}",
    "emerge": "emerge {}",
}
_PACKAGES: Final = {
    # The package that has a program, where its name is another one; for all managers, or for one.
    "sh": "bash",
    "apt-get sh": "dash",
    "apk sh": "busybox",
    "apt-get perl": "perl-base",
    "emerge perl": "dev-lang/perl",
}


def missing(testbed: "Testbed") -> tuple[str, ...]:
    """Return which of PROGRAMS do not run in the testbed. Raises ImageError."""
    status = testbed.run(_BOTH).status
    if status in {_GOOD, _NO_PERL}:
        return () if status == _GOOD else ("perl",)
    return ("sh",) if testbed.run(_PERL).status == _GOOD else PROGRAMS


def advice(testbed: "Testbed", what: Sequence[str]) -> str | None:
    """Return the command that installs programs in this image; None where womm knows none.

    Raises ImageError.
    """
    release = testbed.run(["cat", "/etc/os-release"])
    found = release.out or testbed.run(["cat", "/usr/lib/os-release"]).out
    # Without a shell the names are not to be had; then the distribution's usual one is meant.
    names = sorted(_COMMANDS)
    asked = testbed.run(
        ["sh", "-c", f"for name in {' '.join(names)}; do command -v $name && echo $name; done"]
    )
    there = set(asked.out.decode("utf-8", "replace").split())
    return install_command(found.decode("utf-8", "replace"), what, there & set(names))


def install_command(os_release: str, what: Sequence[str], there: Collection[str] = ()) -> str | None:
    """Return the command that installs programs on a distribution; None where womm knows none.

    os_release: the text of /etc/os-release. there: the package managers that the image has, if that is known.
    """
    managers = [name for of in _distributions(os_release) for name in _MANAGERS.get(of, ())]
    known = [name for name in managers if name in there] or managers or sorted(there)
    if not known:
        return None
    manager = known[0]
    packages = [_PACKAGES.get(f"{manager} {name}") or _PACKAGES.get(name, name) for name in what]
    return _COMMANDS[manager].format(" ".join(packages))


def _distributions(os_release: str) -> list[str]:
    """Return ID, then those of ID_LIKE; `opensuse-leap` is followed by `opensuse`."""
    fields = dict(re.findall(r"(?m)^(ID|ID_LIKE)=(.*)$", os_release))
    named: list[str] = []
    for field in ("ID", "ID_LIKE"):
        try:
            values = " ".join(shlex.split(fields.get(field, "")))
        except ValueError:
            continue
        for name in values.lower().split():
            named += [name, name.partition("-")[0]]
    return list(dict.fromkeys(named))
