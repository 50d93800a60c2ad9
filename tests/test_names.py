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
    "womm/fileserver/__main__.py": "the program, which tests/fileserver/test_process.py runs",
    "womm/here/programs.py": "dataclasses",
    "womm/nfs/__main__.py": "the program, which tests/nfs/test_process.py runs",
    "womm/nfs/constants.py": "constants",
    "womm/nfs/filesystem.py": "a Protocol; tests/nfs/filesystem_contract.py holds its implementations",
    "womm/nfs/options.py": "dataclasses",
    "womm/share/eager/options.py": "a dataclass",
    "womm/wire/login.py": "constants",
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
    missing = without_tests() - EXCEPTIONS.keys()
    assert not missing, "write " + ", ".join(
        f"{home_of_tests(name).relative_to(TOP)}" for name in sorted(missing)
    )


def test_no_exception_is_listed_without_need():
    listed = EXCEPTIONS.keys()
    assert listed <= without_tests(), f"take out of the list: {sorted(listed - without_tests())}"


def test_exceptions_name_tests_that_exist():
    named = {word.strip(",;") for reason in EXCEPTIONS.values() for word in reason.split() if "/" in word}
    assert named
    assert {name for name in named if not (TOP / name).exists()} == set()
