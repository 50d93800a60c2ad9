"""Every module of womm has its test file, found by its name: see `home_of_tests`."""

import ast
from pathlib import Path
from typing import Final

TOP: Final = Path(__file__).parents[1]

EXCEPTIONS: Final = {
    # Modules that have nothing to test by themselves, and why.
    "womm/__main__.py": "the program, which tests/cli/test_main.py and tests/cli/test_trust.py run",
    "womm/cluster/finding.py": "a dataclass and an enum",
    "womm/engine/base.py": "a Protocol and dataclasses",
    "womm/nfs/constants.py": "constants",
    "womm/share/eager/options.py": "a dataclass",
    "womm/store/protocol.py": "constants",
    "womm/wire/login.py": "constants",
}

TO_BE_WRITTEN: Final = {
    # Modules without a test file of their own. This list only shrinks.
    "womm/fileserver/__main__.py",
    "womm/fileserver/cached.py",
    "womm/fileserver/listener.py",
    "womm/image/wheels.py",
    "womm/nfs/__main__.py",
    "womm/nfs/attributes.py",
    "womm/nfs/backends/linux.py",
    "womm/nfs/backends/listings.py",
    "womm/nfs/backends/local.py",
    "womm/nfs/backends/locations.py",
    "womm/nfs/backends/memory.py",
    "womm/nfs/backends/memorytree.py",
    "womm/nfs/backends/openfiles.py",
    "womm/nfs/backends/search.py",
    "womm/nfs/backends/tree.py",
    "womm/nfs/connections.py",
    "womm/nfs/exports.py",
    "womm/nfs/filehandles.py",
    "womm/nfs/filesystem.py",
    "womm/nfs/metrics.py",
    "womm/nfs/operations/__init__.py",
    "womm/nfs/operations/attrs.py",
    "womm/nfs/operations/clients.py",
    "womm/nfs/operations/data.py",
    "womm/nfs/operations/handles.py",
    "womm/nfs/operations/locking.py",
    "womm/nfs/operations/names.py",
    "womm/nfs/operations/opens.py",
    "womm/nfs/operations/stateids.py",
    "womm/nfs/options.py",
    "womm/nfs/state/__init__.py",
    "womm/nfs/state/clients.py",
    "womm/nfs/state/locks.py",
    "womm/nfs/state/opens.py",
    "womm/nfs/state/records.py",
    "womm/nfs/state/recovery.py",
    "womm/nfs/status.py",
    "womm/share/base.py",
    "womm/share/beside.py",
    "womm/share/eager/conversation.py",
    "womm/share/eager/folder.py",
    "womm/share/eager/hooks.py",
    "womm/share/eager/owner.py",
    "womm/share/eager/placer.py",
    "womm/share/eager/preview.py",
    "womm/share/eager/pull.py",
    "womm/share/eager/push.py",
    "womm/share/eager/staging.py",
    "womm/share/lazy/barriers.py",
    "womm/share/lazy/flushes.py",
    "womm/share/lazy/kept_report.py",
    "womm/share/lazy/names.py",
    "womm/share/lazy/sftp_server/channel.py",
    "womm/share/lazy/sftp_server/directories.py",
    "womm/share/lazy/sftp_server/files.py",
    "womm/share/lazy/sftp_server/paths.py",
    "womm/share/lazy/versions.py",
    "womm/store/receive.py",
    "womm/store/send.py",
    "womm/store/tree.py",
}


def home_of_tests(module: str) -> Path:
    """Return where the tests of a module are: womm/a/b.py has tests/a/test_b.py.

    A package's own code, in womm/a/__init__.py, has tests/test_a.py.
    """
    path = Path(module)
    named = path.parent if path.name == "__init__.py" else path.with_suffix("")
    return TOP.joinpath("tests", *named.parts[1:-1], f"test_{named.name}.py")


def has_code(module: Path) -> bool:
    """Return whether a file is a module, or a package with more in it than a docstring, imports and names."""
    names = (ast.Expr, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)
    body = ast.parse(module.read_text()).body
    return module.name != "__init__.py" or not all(isinstance(statement, names) for statement in body)


def without_tests() -> set[str]:
    modules = [path for path in (TOP / "womm").rglob("*.py") if has_code(path)]
    assert len(modules) > 200
    names = [path.relative_to(TOP).as_posix() for path in modules]
    return {name for name in names if not home_of_tests(name).exists()}


def test_each_module_has_a_test_file_by_its_name():
    missing = without_tests() - EXCEPTIONS.keys() - TO_BE_WRITTEN
    assert not missing, "write " + ", ".join(
        f"{home_of_tests(name).relative_to(TOP)}" for name in sorted(missing)
    )


def test_no_exception_is_listed_without_need():
    listed = EXCEPTIONS.keys() | TO_BE_WRITTEN
    assert listed <= without_tests(), f"take out of the lists: {sorted(listed - without_tests())}"
    assert not EXCEPTIONS.keys() & TO_BE_WRITTEN


def test_exceptions_name_tests_that_exist():
    named = {word.strip(",;") for reason in EXCEPTIONS.values() for word in reason.split() if "/" in word}
    assert named
    assert {name for name in named if not (TOP / name).exists()} == set()
