"""The command line's front door: global options, the list of commands, errors and exit status.

Strategy: only click is imported here, and a command's module when it is used: `womm --help` and
each press of TAB pay for every import. `womm parallel` does not pass through click at all: click
would eat the first `--`, and the rest is GNU parallel's to parse.
"""

import importlib
import io
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import click

from womm import signals, words
from womm.errors import FAILURE_STATUS, USAGE_STATUS, WommError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

# name: module with the attribute `command`, one line of help: here, so that `womm --help` imports
# none of them.
COMMANDS: Final = {
    "parallel": ("womm.cli.parallel", "Run GNU parallel with its jobs in pods."),
    "shell": ("womm.cli.shell", "Open a shell in a fresh pod, or run a command there."),
    "status": ("womm.cli.status", "List the tasks that run or left something behind."),
    "logs": ("womm.cli.logs", "Print what the jobs of a task wrote."),
    "finish": ("womm.cli.finish", "End tasks and remove what they left behind."),
    "setup": ("womm.cli.setup", "Make this folder a project: the image of its jobs, a .womm."),
    "clear-prefix": ("womm.cli.clear_prefix", "Forget where your images are pushed."),
    "trust": ("womm.cli.trust", "Show what the project's .womm says, and accept it."),
    "cluster-setup": ("womm.cli.cluster_setup", "Print what an admin applies so that users may run tasks."),
    "clean": ("womm.cli.clean", "Delete the journals of old tasks."),
    "doctor": ("womm.cli.doctor", "Check what womm needs on this machine and in the cluster."),
    "completion": ("womm.cli.completion", "Print the completion script for a shell."),
}
STDOUT: Final = "<stdout>"
COMPLETE_VARIABLE: Final = "_WOMM_COMPLETE"
_INTERRUPTED: Final = 128 + signal.SIGINT
_BROKEN_PIPE: Final = 128 + signal.SIGPIPE
_DEBUG, _INFO, _WARNING, _ERROR = 10, 20, 30, 40
"""Levels of logging, which is imported when something may log."""
_LEVELS: Final = {
    "--debug": _DEBUG,
    "-v": _INFO,
    "-vv": _DEBUG,
    "--verbose": _INFO,
    "-q": _ERROR,
    "--quiet": _ERROR,
}


class LazyGroup(click.Group):
    """A group that imports a command when it runs, and names and describes it without."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(COMMANDS[cmd_name][0])
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click suggests among the commands of an eager group only.
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=COMMANDS, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem[Any]]":
        from click.shell_completion import CompletionItem

        names = [
            CompletionItem(name, help=text)
            for name, (_, text) in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def _show_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from womm.cli.version import version_line

        click.echo(version_line())
        ctx.exit(0)


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""\b
Examples:
  find . -name '*.log' | womm parallel --kube-pods 4 -- gzip -tv {}
  womm logs last --failed

`womm COMMAND --help` tells more.""",
)
@click.option("--debug", is_flag=True, help="Log everything on stderr; show tracebacks.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions of womm, Python and GNU parallel.",
)
def cli(debug: bool, verbose: bool, quiet: bool) -> None:
    """Works On My Machine: what runs in this folder runs on a cluster, one shell line at a time."""
    if debug:
        _log_from(_DEBUG)
    elif quiet:
        _log_from(_ERROR)
    else:
        _log_from(_INFO if verbose else _WARNING)


def _log_from(level: int) -> None:
    from womm.cli import log

    log.configure(level)


def entry() -> None:
    """Run the command line of this process and exit: the console scripts `womm`, `kubectl-womm`."""
    for stream in (sys.stdout, sys.stderr):
        # File names need not fit the terminal's encoding.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(_Stdout()),
            encoding=sys.stdout.encoding,
            errors=sys.stdout.errors,
            line_buffering=sys.stdout.line_buffering,
            write_through=sys.stdout.write_through,
        )
    signals.end_cleanly()
    called = os.path.basename(sys.argv[0])
    # kubectl runs it as a plugin; the user typed two words.
    name = "kubectl womm" if called == "kubectl-womm" else "womm"
    sys.exit(run(sys.argv[1:], name))


def run(argv: Sequence[str], name: str = "womm") -> int:
    """Run a command line and return the exit status; say every failure on stderr."""
    try:
        try:
            status = _dispatch(list(argv), name)
            _flush()
        except Exception as exc:
            from womm.cli import log

            log.failed(exc)
            raise
    except WommError as exc:
        _tell(exc.message, exc.hint)
        status = exc.status
    except click.UsageError as exc:
        path = exc.ctx.command_path if exc.ctx is not None else name
        _tell(exc.format_message(), f"{path} --help")
        status = USAGE_STATUS
    except click.ClickException as exc:
        _tell(exc.format_message(), None)
        status = FAILURE_STATUS
    except (click.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    except RuntimeError as exc:
        # Python 3.11 wraps an exception of a __set_name__ into a RuntimeError, while it imports a module.
        if not isinstance(exc.__cause__, KeyboardInterrupt):
            raise
        status = _INTERRUPTED
    except BrokenPipeError:
        # The reader of stdout has enough. Python must not write the rest of the buffer again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = _BROKEN_PIPE
    except OSError as exc:
        status = _tell_os_error(exc)
    return status


def _dispatch(argv: list[str], name: str) -> int:
    if COMPLETE_VARIABLE in os.environ:
        cli.main([], name, complete_var=COMPLETE_VARIABLE)  # exits
    words = 0
    while words < len(argv) and argv[words] in _LEVELS:
        _log_from(_LEVELS[argv[words]])
        words += 1
    if argv[words : words + 1] == ["parallel"]:
        if not words:
            _log_from(_WARNING)
        parallel = importlib.import_module("womm.cli.parallel")
        return int(parallel.main(argv[words + 1 :]))
    # Not cli.main: it has its own ideas of broken pipes and Ctrl-C.
    try:
        with cli.make_context(name, argv or ["--help"]) as ctx:
            result = cli.invoke(ctx)
    except click.exceptions.Exit as exc:
        return exc.exit_code
    return result if isinstance(result, int) else 0


def _flush() -> None:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as exc:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise WommError(f"cannot write to stdout: {exc.strerror or exc}") from exc


def _tell_os_error(exc: OSError) -> int:
    """Say which file the system refused, and why; return the exit status. Raises an error that is a bug."""
    from womm.cli.failures import explain

    if exc.filename == STDOUT:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the buffer must not be written again at exit
        _tell(f"cannot write to stdout: {exc.strerror}", None)
        return FAILURE_STATUS
    message, hint = explain(exc)
    _tell(message, hint)
    return FAILURE_STATUS


class _Stdout(io.FileIO):
    """Stdout, whose errors name it: write(2) knows no names."""

    def __init__(self) -> None:
        super().__init__(1, "wb", closefd=False)

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as exc:
            exc.filename = STDOUT
            raise


def _tell(message: str, hint: str | None) -> None:
    for start, text in (("womm: ", message), ("womm: hint: ", hint)):
        if text is not None:
            click.echo(words.line(start + re.sub(r"\s*\n\s*", " ", text)), err=True)
