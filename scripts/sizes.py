"""Hold the sizes of modules, classes and functions: `scripts/sizes.py FOLDER...` names each that is too long.

A name in the output is `path`, or `path:Class.function`. The limits are those of the lint; EXEMPT lists
the names that may be over them, and why.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MODULE_LINES: Final = 500
CLASS_LINES: Final = 300
CLASS_METHODS: Final = 25
FUNCTION_LINES: Final = 60
PARAMETERS: Final = 7
"""Without self and cls; *args and **kwargs count as one each."""

OPERATIONS: Final = "one method for each operation of womm.nfs.filesystem.Filesystem"

EXEMPT: Final = {
    "womm/fileserver/cached.py:CachedFilesystem methods": OPERATIONS,
    "womm/nfs/backends/local.py:LocalFilesystem methods": OPERATIONS,
    "womm/nfs/backends/memory.py:MemoryFilesystem methods": OPERATIONS,
    "womm/nfs/filesystem.py:Filesystem methods": OPERATIONS,
}
"""By name and measure."""


@dataclass(frozen=True, slots=True)
class Excess:
    name: str
    what: str
    size: int
    limit: int

    @property
    def key(self) -> str:
        return f"{self.name} {self.what}"

    def __str__(self) -> str:
        return f"{self.name}: {self.size} {self.what}, at most {self.limit}"


def excesses(path: str, source: str) -> Iterator[Excess]:
    """Each size in one module that is over its limit."""
    found = [Excess(path, "lines", len(source.splitlines()), MODULE_LINES)]
    _measure(ast.parse(source), f"{path}:", found)
    return (excess for excess in found if excess.size > excess.limit)


def _measure(parent: ast.AST, prefix: str, found: list[Excess]) -> None:
    for node in ast.iter_child_nodes(parent):
        match node:
            case ast.ClassDef():
                name = prefix + node.name
                methods = sum(isinstance(c, ast.FunctionDef | ast.AsyncFunctionDef) for c in node.body)
                found.append(Excess(name, "lines", _lines(node), CLASS_LINES))
                found.append(Excess(name, "methods", methods, CLASS_METHODS))
                _measure(node, f"{name}.", found)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                name = prefix + node.name
                found.append(Excess(name, "lines", _lines(node), FUNCTION_LINES))
                found.append(Excess(name, "parameters", _parameters(node.args), PARAMETERS))
                _measure(node, f"{name}.", found)
            case _:
                _measure(node, prefix, found)


def _lines(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def _parameters(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [arguments.vararg, arguments.kwarg]
    return sum(a.arg not in ("self", "cls") for a in named) + sum(a is not None for a in starred)


def main(folders: list[str]) -> int:
    found = [
        excess
        for folder in folders
        for path in sorted(Path(folder).rglob("*.py"))
        for excess in excesses(str(path), path.read_text())
    ]
    wrong = [str(e) for e in found if e.key not in EXEMPT]
    exceeded = {e.key for e in found} | {e.name for e in found}
    needless = [name for name in EXEMPT if name not in exceeded]
    said = [*wrong, *(f"{name}: within the limits now" for name in needless)]
    sys.stderr.writelines(f"sizes: {line}\n" for line in said)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
