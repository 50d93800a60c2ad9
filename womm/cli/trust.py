"""`womm trust`: show a project's file, and accept it."""

import difflib
import os
import sys
from collections.abc import Callable
from typing import Final

import click

from womm import words
from womm.cli import tables
from womm.errors import ProjectError, UsageError
from womm.named import Named
from womm.trust import Review

_PIECE: Final = words.LINE_WIDTH


@click.command("trust", context_settings={"max_content_width": 100})
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option("--hash", "only_hash", is_flag=True, help="Print the hash of the content, and accept nothing.")
@click.option("--revoke", is_flag=True, help="Take back what you have accepted.")
def command(yes: bool, only_hash: bool, revoke: bool) -> int:
    """Show what the project's .womm says, and accept it.

    Most of its keys count only once you have accepted them, together with the files that it names: they
    decide what runs on this machine, with which credentials, and what leaves it. After a change womm
    asks again.

    \b
    Examples:
      womm trust
      womm trust --yes
      export WOMM_TRUST=$(womm trust --hash)
    """
    from womm import settings, trust
    from womm.cli.surroundings import current_folder

    if yes + only_hash + revoke > 1:
        raise UsageError("--yes, --hash and --revoke exclude each other", "womm trust --help")
    found = settings.review(current_folder(), os.environ, {})
    if found is None:
        raise ProjectError("there is no .womm here, nor in a folder above", "womm setup")
    path = found.project.path
    if only_hash:
        if found.refused is not None:
            raise found.refused
        tables.write(f"{found.hash}\n")
        return 0
    if revoke:
        known = trust.revoke(found.project)
        tables.say(f"womm: {path} is {'not accepted any more' if known else 'not accepted'}")
        return 0
    if not found.keys:
        tables.say(f"womm: {path} needs no acceptance: it says nothing but numbers")
        return 0
    if found.counts:
        tables.say(f"womm: {path} is accepted")
        return 0
    show(found, tables.say if yes else _echo)
    if found.refused is not None:
        raise found.refused
    if not yes:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError(f"{path} is not accepted: stdin is no terminal", "womm trust --yes")
        if not click.confirm("Accept it?", default=False, err=True):
            raise click.Abort
    trust.accept(found)
    tables.say(f"womm: {path} is accepted")
    return 0


def _echo(line: str) -> None:
    click.echo(line, err=True)


def show(found: Review, say: Callable[[str], None] = _echo) -> None:
    """Print the keys of a project's file that need an acceptance, the changes, and the files that it names.

    say: prints a line; without it, lines come in spite of --quiet, since the next question is about them.
    """

    def tell(text: str) -> None:
        line = words.printable(text.expandtabs())
        # Print it whole: the part that a shorter line leaves out could be the one that matters.
        for at in range(0, len(line) or 1, _PIECE):
            say(line[at : at + _PIECE])

    path, before = found.project.path, found.before
    new = found.project.content.decode(errors="replace").rstrip("\n").split("\n")
    if before is None:
        tell(f"womm: {path} is new to you:")
        lines = new
    elif before.text == found.project.content:
        tell(f"womm: {path} is as you accepted it, but what it names is not:")
        lines = []
    else:
        tell(f"womm: {path} has changed since you accepted it:")
        old = before.text.decode(errors="replace").rstrip("\n").split("\n")
        lines = list(difflib.unified_diff(old, new, "accepted", "now", lineterm=""))
    for line in lines:
        tell(f"    {line}")
    if found.keys:
        from womm.trust import listed

        tell(f"womm: only with your acceptance count: {listed(found.keys)}")
    changed = set(found.changed()) if before is not None else set()
    for named in found.named:
        tell(f"womm: it names {named.path}{_about(named)}{': changed' if named.path in changed else ''}")
        for told in named.told:
            tell(f"    {told}")
    if found.refused is None:
        tell(f"womm: the hash of all this: {found.hash}")


def _about(named: Named) -> str:
    about = named.found if " " in named.found else f"sha256 {named.found[:12]}"
    return f" ({about}; {named.by})"
