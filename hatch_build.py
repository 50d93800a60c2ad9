"""Build hook: put the GNU parallel that `make vendor` fetched into the wheel.

It takes only a file that is there and is the one in vendor/parallel/SHA256SUMS; no network.
Without the file the wheel is built without, and says so: womm then needs `parallel` on PATH.
"""

import hashlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# What goes into the wheel beside the script: its notice, its licence, Debian's copyright file.
NOTICES = {
    "NOTICE": "womm/vendor/parallel.NOTICE",
    "COPYING": "womm/vendor/parallel.COPYING",
    "build/copyright": "womm/vendor/parallel.copyright",
}


class VendoredParallelHook(BuildHookInterface[Any]):
    """Add womm/vendor/parallel to a wheel; an editable install finds the script in the checkout."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        vendor = Path(self.root, "vendor", "parallel")
        script = vendor / "build" / "parallel"
        if not script.is_file():
            self.app.display_warning(
                "womm: vendor/parallel/build/parallel is not there (`make vendor` gets it): "
                "this wheel is built without GNU parallel"
            )
            return
        expected = _expected_sha256(vendor / "SHA256SUMS", "usr/bin/parallel")
        if hashlib.sha256(script.read_bytes()).hexdigest() != expected:
            raise RuntimeError(
                "vendor/parallel/build/parallel is not the one in vendor/parallel/SHA256SUMS: "
                "remove it and run `make vendor`"
            )
        build_data["force_include"][str(script)] = "womm/vendor/parallel"
        for name, target in NOTICES.items():
            build_data["force_include"][str(vendor / name)] = target


def _expected_sha256(sums: Path, name: str) -> str:
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, path = line.partition("  ")
        if path == name:
            return digest
    raise RuntimeError(f"{sums.name} names no {name}")
