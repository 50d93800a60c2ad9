"""`womm clear-prefix`: forget where the user's images are pushed."""

import click

from womm import words
from womm.cli import tables


@click.command("clear-prefix")
def command() -> int:
    """Forget where your images are pushed.

    womm setup remembers the prefix of their names in your config.toml, and will ask for it again. A project
    keeps its own in .womm.

    \b
    Examples:
      womm clear-prefix
      womm clear-prefix && womm setup
    """
    from womm.setup import remembered

    forgotten = remembered.forget()
    if forgotten is None:
        tables.say("womm: no prefix is remembered")
    else:
        prefix, path = forgotten
        tables.say(f"womm: {path} has the prefix {words.name(prefix)} no more")
    return 0
