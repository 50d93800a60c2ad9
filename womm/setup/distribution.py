"""The image of this machine's distribution: what works here is likely to work in it."""

import re
from pathlib import Path
from typing import Final

OS_RELEASE: Final = Path("/etc/os-release")
USUAL: Final = "debian:12"
_WITH_VERSION: Final = {
    "almalinux": "almalinux:{}",
    "debian": "debian:{}",
    "fedora": "fedora:{}",
    "opensuse-leap": "opensuse/leap:{}",
    "rocky": "rockylinux/rockylinux:{}",
    "ubuntu": "ubuntu:{}",
}
"""Images by ID, with VERSION_ID (os-release(5))."""
_ROLLING: Final = {"arch": "archlinux", "opensuse-tumbleweed": "opensuse/tumbleweed"}


def own(path: Path = OS_RELEASE) -> str:
    """Return the image of the distribution that os-release names, else `debian:12`."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:  # macOS
        return USUAL
    found = {name: text.strip("\"'") for name, _, text in (line.strip().partition("=") for line in lines)}
    name, version = found.get("ID", ""), found.get("VERSION_ID", "")
    if name == "alpine":  # 3.20.3: its images are kept by the first two numbers
        version = ".".join(version.split(".")[:2])
        return f"alpine:{version}" if re.fullmatch(r"[0-9]+\.[0-9]+", version) else USUAL
    if name in _WITH_VERSION and re.fullmatch(r"[0-9]+(\.[0-9]+)?", version):
        return _WITH_VERSION[name].format(version)
    return _ROLLING.get(name, USUAL)
