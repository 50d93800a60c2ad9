"""The image of this machine's distribution: what works here is likely to work in it.

Without docker's library, whose import takes longer than a question of `womm setup` may.
"""

import re
from pathlib import Path
from typing import Final

USUAL: Final = "debian:12"
"""Where nobody can say what this machine runs, or no image is made of it."""
_OS_RELEASE: Final = ("/etc/os-release", "/usr/lib/os-release")  # os-release(5)
_MAJOR: Final = {
    "almalinux": "almalinux",
    "amzn": "amazonlinux",
    "debian": "debian",
    "ol": "oraclelinux",
    "rocky": "rockylinux",
}
"""Images by ID of os-release, tagged by the first number of VERSION_ID."""
_WHOLE: Final = {"fedora": "fedora", "opensuse-leap": "opensuse/leap", "ubuntu": "ubuntu"}
"""Images that are tagged by VERSION_ID."""
_ROLLING: Final = {"arch": "archlinux", "opensuse-tumbleweed": "opensuse/tumbleweed"}


def own() -> str:
    """Return the image of what this machine runs: `debian:12`, `fedora:40`."""
    for path in map(Path, _OS_RELEASE):
        try:
            return image_of(path.read_text(errors="replace"))
        except OSError:
            continue
    return USUAL


def image_of(os_release: str) -> str:
    """Return the image of the distribution that an os-release(5) file describes."""
    found = {
        match[1]: match[2].strip().strip("\"'")
        for match in re.finditer(r"^([A-Z_]+)=(.*)$", os_release, re.MULTILINE)
    }
    name, version = found.get("ID", ""), found.get("VERSION_ID", "")
    numbers = version.split(".")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)*", version):
        if name in _MAJOR:
            return f"{_MAJOR[name]}:{numbers[0]}"
        if name in _WHOLE:
            return f"{_WHOLE[name]}:{version}"
        if name == "alpine":
            return f"alpine:{'.'.join(numbers[:2])}"
    if name in _ROLLING:
        return _ROLLING[name]
    # Mint and the like name the Ubuntu or the Debian below; testing has a codename and no number.
    for key, image in (("UBUNTU_CODENAME", "ubuntu"), ("DEBIAN_CODENAME", "debian")):
        if re.fullmatch(r"[a-z]+", found.get(key, "")):
            return f"{image}:{found[key]}"
    if name == "debian" and re.fullmatch(r"[a-z]+", found.get("VERSION_CODENAME", "")):
        return f"debian:{found['VERSION_CODENAME']}"
    return _ROLLING["arch"] if "arch" in found.get("ID_LIKE", "").split() else USUAL
