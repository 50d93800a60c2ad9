"""The pages and the program say the same: README.md, docs/, `--help` and the tables of the code."""

import importlib
import re
from dataclasses import fields
from functools import cache

import click
import pytest

from tests.cli.running import ROOT
from womm import errors
from womm.cli import main, parallel
from womm.cluster.kubernetes import manifests
from womm.cluster.kubernetes.rbac import USER_RULES
from womm.engine.gnu import options as gnu_parallel
from womm.journal.events import EVENT_TYPES, OutputRef
from womm.settings import KEYS, Settings
from womm.values import parse_duration, parse_size

README = ROOT / "README.md"
REFERENCE = ROOT / "docs" / "reference.md"
DECISIONS = ROOT / "docs" / "decisions"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))
# Written by womm's users, with womm's options in them.
USER_PAGES = (README, ROOT / "docs" / "tutorial.md", REFERENCE)
LINKING_PAGES = (*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "vendor" / "parallel" / "README.md")


@cache
def text(path):
    return path.read_text(encoding="utf-8")


def section(title, path=REFERENCE):
    """Return what stands below a heading, up to the next of its rank or a higher one."""
    lines = text(path).splitlines()
    starts = [at for at, line in enumerate(lines) if re.fullmatch(rf"(#+) {re.escape(title)}", line)]
    assert len(starts) == 1, f"{path.name} has {len(starts)} headings {title!r}"
    rank = len(lines[starts[0]].split(" ", 1)[0])
    rest = lines[starts[0] + 1 :]
    end = next((at for at, line in enumerate(rest) if re.match(rf"#{{1,{rank}}} ", line)), len(rest))
    return "\n".join(rest[:end])


def code_words(markdown):
    """Return the words that stand between backquotes."""
    spans = re.findall(r"`([^`\n]+)`", markdown)
    return {word for span in spans for word in re.split(r"[\s=|]+", span)}


def rows(markdown):
    """Return the tables' rows as lists of cells, headings and rules left out."""
    found = []
    for line in markdown.splitlines():
        if line.startswith("| "):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not set(cells[0]) <= {"-"}:
                found.append(cells)
    return found


def commands():
    return {name: importlib.import_module(module).command for name, (module, _) in main.COMMANDS.items()}


def option_names(command):
    context = click.Context(command, info_name="womm")
    return {
        name
        for option in command.get_params(context)
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }


# ---- commands and options


@pytest.mark.parametrize("name", main.COMMANDS)
def test_reference_has_a_section_of_every_command_with_its_options(name):
    words = code_words(section(f"`womm {name}`"))
    missing = option_names(commands()[name]) - words
    if name != "parallel":  # it has no click to read -h
        missing |= {"-h", "--help"} - words
    assert not missing


@pytest.mark.parametrize("name", main.COMMANDS)
def test_reference_names_no_option_that_a_command_lacks(name):
    known = option_names(commands()[name]) | {"-h", "--help"}
    if name == "parallel":
        known |= {*parallel.VALUED, *parallel.FLAGS}
    named = {
        word
        for row in rows(section(f"`womm {name}`"))
        if row[0].startswith("`-")
        for word in code_words(row[0])
        if word.startswith("-")
    }
    assert named
    assert named <= known


def test_reference_has_every_option_that_womm_parallel_scans():
    words = code_words(section("`womm parallel`"))
    assert {*parallel.VALUED, *parallel.FLAGS} <= words


def test_help_of_womm_parallel_has_what_it_scans():
    # --version is everywhere and shown by `womm --help`; -n is womm's or GNU parallel's, by what follows it.
    scanned = {*parallel.VALUED, *parallel.FLAGS} - {"--version"}
    assert scanned == option_names(parallel.command) - {"-h", "-n"}


def test_reference_has_womms_own_options():
    before_commands = section("Commands").split("### ")[0]
    assert option_names(main.cli) <= code_words(before_commands)


def test_readme_has_every_option_of_womm_parallel():
    words = code_words(section("Options of `womm parallel`", README))
    assert {*parallel.VALUED, *parallel.FLAGS} <= words


def test_readme_and_reference_name_every_command():
    for page in (README, REFERENCE):
        for name in main.COMMANDS:
            assert f"womm {name}" in text(page), f"{page.name}: {name}"


# ---- what the pages tell users to type


def command_lines():
    """Yield (page, words after `womm`) for each command line of womm's in the user's pages."""
    for page in USER_PAGES:
        spans = re.findall(r"`((?:kubectl )?womm [^`\n]+)`", text(page))
        blocks = re.findall(r"(?m)^    (.*\bwomm (?!is ).*)$", text(page))
        for line in (*spans, *blocks):
            # Output, comments, and the syntax of a command ([OPTIONS]) are no command lines.
            if line.startswith(("womm: ", "^C", "#")) or "[" in line.partition(" -- ")[0]:
                continue
            for part in re.split(r"[|;(]|&&", re.sub(r"'[^']*'", "QUOTED", line)):
                words = part.replace("\\", "").split()
                if "womm" in words[:4]:
                    yield page, words[words.index("womm") + 1 :]


def test_command_lines_in_the_pages_exist():
    known = commands()
    seen = set()
    for page, line in command_lines():
        where = f"{page.name}: womm {' '.join(line)}"
        words = list(line)
        while words and words[0] in option_names(main.cli) | {"-h", "--help"}:
            del words[0]
        if not words or words[0] in {"COMMAND", "..."}:
            continue
        name = words[0]
        assert name in known, where
        seen.add(name)
        options = option_names(known[name]) | {"-h", "--help"}
        before = words[: words.index("--")] if "--" in words else words
        for option in (word.partition("=")[0] for word in before):
            # The others of `womm parallel` are GNU parallel's.
            if option.startswith("-") and (name != "parallel" or option.startswith(OURS)):
                assert option in options, where
    assert seen == set(known)


OURS = (
    *("--kube", "--local-", "--procs-", "--orphan", "--ready", "--logins", "--async"),
    *("--cluster", "--context", "--namespace", "--image", "--here-", "--pod-", "--share", "--keep"),
)


# ---- settings


def _same(written, value):
    if isinstance(value, str) or value is None:
        return written == value
    if isinstance(value, bool):
        return written == str(value).lower()
    for read in (int, parse_size, parse_duration):
        try:
            if read(written) == value:
                return True
        except ValueError:
            continue
    return False


def test_settings_table_has_every_key_with_variable_option_and_default():
    table = {row[0]: row for row in rows(section("Settings")) if row[0] != "key"}
    assert set(table) == {f"`{key.name}`" for key in KEYS}
    defaults = Settings()
    options = {*parallel.VALUED, *option_names(commands()["shell"])}
    for key in KEYS:
        _, variable, option, kind, default, meaning = table[f"`{key.name}`"]
        assert variable == f"`{key.variable}`"
        assert option == (f"`{key.option}`" if key.option in options else "")
        assert kind
        assert meaning
        expected = getattr(defaults, key.field)
        if expected in (None, "", {}, ()):
            assert not default.startswith("`")
        else:
            assert _same(default.strip("`"), expected), f"{key.name}: {default}, the code says {expected}"


def test_defaults_in_the_readme_are_the_codes():
    options = rows(section("Options of `womm parallel`", README))
    table = {row[0].strip("`").split()[0]: row[2] for row in options}
    for option, name in parallel.VALUED.items():
        key = next(key for key in KEYS if key.name == name.replace("_", "-"))
        expected = getattr(Settings(), key.field)
        if expected not in (None, "", ()):
            assert _same(table[option], expected), option


# ---- the journal


@pytest.mark.parametrize("event", EVENT_TYPES, ids=lambda event: event.KIND)
def test_reference_has_every_event_with_its_fields(event):
    words = code_words(section(f"`{event.KIND}`"))
    assert {field.name for field in fields(event)} <= words


def test_reference_has_no_other_event():
    kinds = re.findall(r"(?m)^### `(\w+)`$", section("The journal"))
    assert kinds == [event.KIND for event in EVENT_TYPES]


def test_reference_has_the_fields_of_kept_output():
    assert {field.name for field in fields(OutputRef)} <= code_words(section("`job_ended`"))


# ---- GNU parallel's options


def _named(title):
    return {word for word in code_words(section(title)) if word.startswith("-")}


def _options(names):
    return {f"--{name}" if len(name) > 1 else f"-{name}" for name in names}


def test_reference_has_every_refused_option_with_its_reason():
    table = rows(section("Refused options"))[1:]
    reasons = {word: row[1] for row in table for word in code_words(row[0]) if word.startswith("--")}
    assert set(reasons) == _options(gnu_parallel.REFUSED)
    for name, reason in gnu_parallel.REFUSED.items():
        told = reasons[f"--{name}"].replace("`", "")
        # One row may speak of several options: "it belongs", "they belong".
        ending = reason.split(" ", 2)[2]
        assert ending.split(",")[0][-30:] in told, name


def test_reference_has_every_option_refused_on_kubernetes_with_its_reason():
    markdown = section("Refused on Kubernetes only")
    table = rows(markdown)[1:]
    reasons = {word: row[1] for row in table for word in code_words(row[0])}
    assert reasons == {f"--{name}": why for name, why in gnu_parallel.REFUSED_ELSEWHERE.items()}
    assert _options(gnu_parallel.ONLY_ELSEWHERE) <= code_words(markdown)


def test_reference_has_the_permissions_that_are_granted():
    table = {row[0]: row[1] for row in rows(section("Permissions"))[1:]}
    for group, resources, verbs in USER_RULES:
        named = ", ".join(resources) + (f" (`{group}`)" if group else "")
        assert table.pop(named) == ", ".join(verbs)
    assert table == {}


@pytest.mark.parametrize(
    ("title", "names"),
    [
        ("Options that switch logins on", gnu_parallel.NEEDS_LOGINS),
        ("Options that fix the number of jobslots", gnu_parallel.FIXED_WIDTH),
        ("Options that show output while a job runs", gnu_parallel.LIVE),
        ("Options that only print", gnu_parallel.PRINT_ONLY),
    ],
)
def test_reference_has_every_option_that_changes_something(title, names):
    assert _options(names) <= _named(title)


# ---- exit statuses


def test_reference_has_every_exit_status_of_the_errors():
    statuses = {value for name, value in vars(errors).items() if name.endswith("_STATUS")}
    assert statuses
    named = {row[0] for row in rows(section("Exit statuses"))}
    assert {str(status) for status in statuses} <= named
    assert {"0", "1-100", "101", "255", "130", "143"} <= named


def test_readme_has_the_exit_statuses():
    named = {row[0] for row in rows(section("Exit status", README))}
    assert {"0", "1-100", "101", "255", str(errors.FAILURE_STATUS), str(errors.USAGE_STATUS)} <= named


# ---- make, links, and what must not be there


def test_readme_begins_with_two_make_targets_that_exist():
    start = section("Start", README)
    targets = re.findall(r"(?m)^    make (\w+)", start)
    assert targets == ["demo", "test"]
    makefile = text(ROOT / "Makefile")
    for target in re.findall(r"\bmake ([a-z-]+)\b", text(README)):
        assert re.search(rf"(?m)^(?:[\w -]* )?{target}(?: [\w -]*)?:", makefile), target


def test_readme_names_every_package_that_install_gets():
    packages = re.findall(r"(?:\|\||;|then) need ([a-z][a-z0-9-]+)", text(ROOT / "scripts" / "install"))
    start = section("Start", README)
    assert packages
    assert [name for name in packages if not re.search(rf"\b{name}\b", start)] == []


def _anchor(heading):
    kept = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return kept.replace(" ", "-")


def _anchors(path):
    return {_anchor(heading) for heading in re.findall(r"(?m)^#+ (.+)$", text(path))}


@pytest.mark.parametrize("page", LINKING_PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        there = path.exists() and (not anchor or anchor in _anchors(path))
        if not there:
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_and_modules_that_a_page_names_exist(page):
    named = re.findall(r"`((?:womm|docs|tests|scripts|vendor)/[\w/.-]+)`", text(page))
    labels = {manifests.TASK, manifests.USER, manifests.HOST, manifests.ABOUT}
    named = [name for name in named if name not in labels and "vendor/parallel/build" not in name]
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_index_of_the_decisions_has_every_record_once_with_its_title():
    records = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert [int(name[:4]) for name in records] == [*range(1, len(records) + 1)]
    listed = re.findall(r"(?m)^- \[(\d+)\]\(([^)]+)\): (.+)$", text(DECISIONS / "README.md"))
    assert sorted(name for _, name, _ in listed) == records
    for number, name, title in listed:
        assert name.startswith(number)
        assert text(DECISIONS / name).splitlines()[0] == f"# {int(number)}. {title}"
