"""What the program tells its users to type exists: commands, options, keys and headings in its own texts."""

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.test_docs import OURS, REFERENCE, commands, option_names, section
from tests.installation import ROOT
from womm.cli import parallel
from womm.settings import KEYS

SOURCES = sorted((ROOT / "womm").rglob("*.py"))
DOCTOR = (
    "cluster/kubernetes/advice.py",
    "cluster/kubernetes/events.py",
    "task/doctor.py",
    "cli/doctor.py",
)
"""What `womm doctor` says comes from here: every option in these is womm's."""
HINT_AT = {"Finding": 3, "Check": 3}
"""Where a hint is among the arguments; it is the second one of every error."""
HINT_NAME = re.compile(r"(?i)hint|install|login|by_hand|^_?advice")


def _texts(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Every text but docstrings; X stands for what is put into an f-string."""
    skipped: set[int] = set()
    for top in nodes:
        for node in ast.walk(top):  # from the outside in
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                skipped.add(id(node.value))
            elif isinstance(node, ast.JoinedStr):
                skipped |= {id(part) for part in node.values}
                parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
                yield node.value


@cache
def texts(path: Path) -> tuple[str, ...]:
    return tuple(_texts([ast.parse(path.read_text(encoding="utf-8"))]))


@cache
def hints(path: Path) -> tuple[str, ...]:
    """The texts that are hints."""
    nodes: list[ast.AST] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            at = HINT_AT.get(name, 1 if name.endswith("Error") else None)
            nodes += node.args[at : at + 1] if at is not None else []
            nodes += [keyword.value for keyword in node.keywords if keyword.arg == "hint"]
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(HINT_NAME.search(getattr(target, "id", "")) for target in targets):
                nodes.append(node.value)
    return tuple(_texts(nodes))


def command_lines(text: str) -> Iterator[list[str]]:
    """The words after `womm`, up to `--`."""
    for line in re.findall(r"(?<![\w/.'-])womm ((?:[^;|()`\n])+)", text):
        yield line.split(" -- ")[0].split() or [""]


def test_command_lines_in_hints_name_commands() -> None:
    seen = set()
    for path in SOURCES:
        for text in hints(path):
            for words in command_lines(text):
                if words[0] != "...":
                    assert words[0] in commands(), f"{path.name}: {text}"
                    seen.add(words[0])
    assert {"clean", "doctor", "finish", "parallel", "setup", "status"} <= seen


def test_options_of_command_lines_in_texts_exist() -> None:
    known = {name: option_names(command) | {"-h", "--help"} for name, command in commands().items()}
    for path in SOURCES:
        for text in texts(path):
            for name, *words in command_lines(text):
                for option in (word.partition("=")[0].rstrip(",.:") for word in words):
                    # The others of `womm parallel` are GNU parallel's.
                    is_ours = name != "parallel" or option.startswith(OURS)
                    if name in known and is_ours and re.match(r"--?[a-z]", option):
                        assert option in known[name], f"{path.name}: {text}"


@pytest.mark.parametrize("name", DOCTOR)
def test_options_that_the_doctor_names_exist(name: str) -> None:
    known = {"-h", "--help", *parallel.VALUED, *parallel.FLAGS}.union(*map(option_names, commands().values()))
    for text in texts(ROOT / "womm" / name):
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text):
            assert option in known, text


def test_keys_that_texts_name_are_settings() -> None:
    named: set[str] = set()
    for path in SOURCES:
        for text in texts(path):
            named |= set(re.findall(r"([a-z]+(?:-[a-z]+)+) in \.womm", text))
    assert {"service-account", "node-selector"} <= named <= {key.name for key in KEYS}


def test_headings_of_the_reference_that_texts_name_exist() -> None:
    found: set[str] = set()
    for path in SOURCES:
        for text in texts(path):
            found |= set(re.findall(r"reference, \"([^\"]+)\"", text))
    assert found
    for heading in found:
        assert section(heading, REFERENCE)
