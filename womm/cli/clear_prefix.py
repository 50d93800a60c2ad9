"""`womm clear-prefix`: forget where the user's images are pushed."""

import click

from womm import words
from womm.cli import tables


@click.command("clear-prefix")
def command() -> int:
    """Forget the prefix of your images, so that womm setup asks for it again.

    womm setup keeps it in your config.toml. A project keeps its own in .womm.

    \b
    Example:
      womm clear-prefix
    """
    from womm.setup import remembered

    forgotten = remembered.forget()
    if forgotten is None:
        tables.say("womm: no prefix is remembered")
    else:
        prefix, path = forgotten
        tables.say(f"womm: {path} has the prefix {words.name(prefix)} no more")
    return 0
