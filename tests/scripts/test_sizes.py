"""The lint's limits on sizes: what it counts and what it says."""

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "sizes.py"


def sizes(folder: Path, source: str) -> tuple[int, list[str]]:
    """Exit status, and what is said of a folder with this one module."""
    (folder / "module.py").write_text(source)
    ran = subprocess.run(
        [sys.executable, SCRIPT, "."], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    said = [line for line in ran.stderr.splitlines() if not line.endswith("within the limits now")]
    return ran.returncode, said


def test_sizes_at_their_limits_pass(tmp_path):
    function = "def f(a, b, c, d, e, f, g):\n" + "    a()\n" * 59
    methods = "".join(f"    def m{n}(self): ...\n" for n in range(25))
    source = function + "class C:\n" + methods + "    x = 1\n" * 274
    source += "\n" * (500 - source.count("\n"))
    assert sizes(tmp_path, source) == (0, [])


def test_each_size_over_its_limit_is_named(tmp_path):
    long_function = "def long():\n" + "    a()\n" * 60
    wide_function = "async def wide(a, b, /, c, d, *e, f, g, **h): ...\n"
    long_class = "class Long:\n" + "    x = 1\n" * 300
    wide_class = "class Wide:\n" + "".join(f"    def m{n}(self): ...\n" for n in range(26))
    nested = "if True:\n    class C:\n        def m(self, a, b, c, d, e, f, g, h): ...\n"
    source = long_function + wide_function + long_class + wide_class + nested
    source += "\n" * (501 - source.count("\n"))
    assert sizes(tmp_path, source) == (
        1,
        [
            "sizes: module.py: 501 lines, at most 500",
            "sizes: module.py:long: 61 lines, at most 60",
            "sizes: module.py:wide: 8 parameters, at most 7",
            "sizes: module.py:Long: 301 lines, at most 300",
            "sizes: module.py:Wide: 26 methods, at most 25",
            "sizes: module.py:C.m: 8 parameters, at most 7",
        ],
    )
