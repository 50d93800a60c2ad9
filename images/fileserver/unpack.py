"""Unpack the wheels that fit a python, and compile them if it is this one.

python3 unpack.py WHEELS TARGET [VERSION]
"""

import compileall
import sys
import zipfile
from pathlib import Path


def fits(wheel: Path, major: int, minor: int) -> bool:
    """Whether a wheel is for this version of Python (PEP 425): its own, an older stable ABI, or any."""
    python, abi, _ = wheel.stem.split("-")[-3:]
    if abi == "abi3":
        return python.startswith(f"cp{major}") and int(python.removeprefix(f"cp{major}")) <= minor
    return f"cp{major}{minor}" in python.split(".") or "py3" in python.split(".")


def main() -> None:
    wheels, target, version = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    major, minor = map(int, (version or [here])[0].split("."))
    unpacked = set()
    for wheel in sorted(wheels.glob("*.whl")):
        if fits(wheel, major, minor):
            unpacked.add(wheel.name.partition("-")[0])
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(target)
    missing = {wheel.name.partition("-")[0] for wheel in wheels.glob("*.whl")} - unpacked
    if missing:
        sys.exit(f"no wheel of {', '.join(sorted(missing))} fits Python {major}.{minor}")
    if here == f"{major}.{minor}":
        compileall.compile_dir(target, quiet=2)


main()
