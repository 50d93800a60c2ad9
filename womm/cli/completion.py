"""`womm completion`, and the completion of task ids."""

from typing import TYPE_CHECKING

import click

from womm.errors import WommError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# A list that fits a screen or two; a user with more tasks types a letter.
_MOST = 100


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> int:
    """Print the completion script for a shell.

    \b
    Examples:
      womm completion bash > ~/.local/share/bash-completion/completions/womm
      womm completion fish > ~/.config/fish/completions/womm.fish

    For zsh, write it to a file _womm in a folder of $fpath.
    """
    from click.shell_completion import get_completion_class

    from womm.cli import tables
    from womm.cli.main import COMPLETE_VARIABLE, cli

    shell_class = get_completion_class(shell)
    assert shell_class is not None  # click has all three
    tables.write(shell_class(cli, {}, "womm", COMPLETE_VARIABLE).source())
    return 0


def complete_tasks(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> "list[CompletionItem[str]]":
    """Complete a task's id, the newest first; print no error in the middle of a TAB.

    `womm finish` gets only tasks that have something to finish.
    """
    from click.shell_completion import CompletionItem

    from womm import words
    from womm.cli import tables
    from womm.journal.store import LAST, TaskStore

    given = ctx.params.get(param.name or "") or ()
    try:
        records = TaskStore.default().tasks()
    except WommError:
        return []
    items = []
    for record in reversed(records):
        wanted = record.task.startswith(incomplete) and record.task not in given
        if not wanted or (ctx.info_name == "finish" and record.cleaned()):
            continue
        shown = "" if record.started is None else tables.quoted(record.started.argv)
        items.append(CompletionItem(record.task, help=words.shortened(shown, 60) or None))
        if len(items) == _MOST:
            break
    if records and incomplete and LAST.startswith(incomplete):
        items.append(CompletionItem(LAST, help="the newest task"))
    return items
