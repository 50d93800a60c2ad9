"""`womm parallel`: picks out womm's own options before the first `--`; the rest is GNU parallel's.

click would eat that `--` and stop at the first option that it does not know. So it only serves the help
and the completion here, and `main` scans the arguments itself.
"""

import importlib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import click

from womm import words
from womm.cli.surroundings import current_folder, find_perl, is_quiet, pod_shell, with_programs
from womm.errors import UsageError
from womm.settings import LAZY, LOCAL, Settings

if TYPE_CHECKING:
    from womm.engine.gnu.plan import RunPlan

log = logging.getLogger(__name__)

VALUED = {
    "--kube-pods": "kube_pods",
    "--local-procs": "local_procs",
    "--procs-per-pod": "procs_per_pod",
    "--kube-cpu": "kube_cpu",
    "--kube-mem": "kube_mem",
    "--orphan-timeout": "orphan_timeout",
    "--ready-timeout": "ready_timeout",
    "--cluster": "cluster",
    "--context": "context",
    "--namespace": "namespace",
    "--kubeconfig": "kubeconfig",
    "--image": "image",
    "--here-image": "here_image",
    "--here-roots": "here_roots",
    "--fileserver-python": "fileserver_python",
    "--pod-template": "pod_template",
    "--share": "share",
    "--share-write": "share_write",
}
"""Options with a value, and the setting each one is."""
REPEATED = frozenset(["--share-write"])
"""Those that may be given more than once: each adds to the list."""
SWITCHES = {"--share-readonly": "share_readonly", "--keep": "keep"}
"""Options without one that are settings, too."""
FLAGS = (*SWITCHES, "--async", "--logins", "--citation", "--help", "--version")
_EXAMPLE = "find . -type f | womm parallel --kube-pods 4 -- wc -l {}"


@dataclass(slots=True)
class Scanned:
    """The arguments of `womm parallel`, sorted. `parallel` is GNU parallel's part."""

    values: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)
    parallel: list[str] = field(default_factory=list)
    separated: bool = False


def scan(argv: Sequence[str]) -> Scanned:
    """Sort the arguments. Raises UsageError."""
    found = Scanned()
    before = list(argv)
    if "--" in before:
        at = before.index("--")
        before, after = before[:at], before[at + 1 :]
        found.separated = True
    else:
        after = []
    words = iter(before)
    for word in words:
        name, equals, value = word.partition("=")
        if name in VALUED:
            if not equals:
                value = next(words, "")
            if not value or (not equals and value.startswith("--")):
                raise UsageError(f"{name} needs a value", f"womm parallel {name} 4 -- COMMAND")
            earlier = found.values.get(VALUED[name]) if name in REPEATED else None
            found.values[VALUED[name]] = value if earlier is None else f"{earlier},{value}"
        elif word == "-n" and not (following := next(words, "")).isdigit():
            # kubectl's -n; GNU parallel's takes a number.
            if not following:
                raise UsageError("-n needs a value", "womm parallel -n NAMESPACE -- COMMAND")
            found.values["namespace"] = following
        elif word == "-n":
            found.parallel += [word, following]
        elif word in SWITCHES:
            found.values[SWITCHES[word]] = "true"
        elif word in FLAGS:
            found.flags.add(word)
        elif word == "-h" and not found.separated:
            found.flags.add("--help")
        else:
            found.parallel.append(word)
    _refuse_misplaced(after)
    found.parallel += after
    return found


def _refuse_misplaced(after: Sequence[str]) -> None:
    """Refuse an option of womm's after `--`: GNU parallel would take it for the command."""
    for word in after:
        name = word.partition("=")[0]
        if name in VALUED or name in (*SWITCHES, "--async", "--logins"):
            raise UsageError(
                f"{name} stands after --, where GNU parallel's words begin",
                f"womm parallel {word if '=' in word else name + ' ...'} -- COMMAND",
            )
        if not word.startswith("-") or word == "--":
            return


def _missing_separator(found: Scanned) -> UsageError:
    command = next((word for word in found.parallel if not word.startswith("-")), "COMMAND")
    return UsageError(
        f"no -- before the command ({command}): it separates womm's options from GNU parallel's words",
        _EXAMPLE,
    )


def main(argv: Sequence[str]) -> int:
    """Run `womm parallel`; return the exit status. Raises WommError."""
    found = scan(argv)
    if "--help" in found.flags and not found.separated:
        click.echo(command.get_help(click.Context(command, info_name="womm parallel")))
        return 0
    if "--citation" in found.flags:
        from womm.engine.gnu import citation

        return citation.ask(os.environ)
    if "--version" in found.flags:
        from womm.cli.version import version_line

        click.echo(version_line())
        return 0
    if not found.separated:
        raise _missing_separator(found)
    return _run(found, ("parallel", *argv))


def _run(found: Scanned, argv: tuple[str, ...]) -> int:
    from womm import places, signals
    from womm import settings as settings_module
    from womm.cli.options import with_cluster
    from womm.engine.gnu import citation
    from womm.engine.gnu.locate import locate
    from womm.engine.gnu.options import PRINT_ONLY, read_options
    from womm.engine.gnu.plan import check_order, plan_run, why_not_direct
    from womm.engine.gnu.start import start_words

    folder = current_folder()
    settings = settings_module.load(folder, os.environ, with_cluster(found.values))
    if "--async" in found.flags:
        raise _no_async(settings)
    perl = find_perl()
    parallel = locate()
    options = read_options(
        found.parallel, perl, meanwhile=lambda: importlib.import_module("womm.task.parallel")
    )
    if options.has(*PRINT_ONLY):
        sys.stdout.flush()
        signals.before_exec()
        os.execv(perl, [*start_words(perl, parallel.path), *found.parallel])
    pods = settings.kube_pods
    if pods is None:
        raise UsageError(
            "how many pods? --kube-pods is missing",
            "womm parallel --kube-pods 4 -- " + " ".join(found.parallel[:3]),
        )
    slots = pods * settings.procs_per_pod + settings.local_procs
    elsewhere = settings.cluster != LOCAL
    plan = plan_run(options, slots=slots, logins="--logins" in found.flags, elsewhere=elsewhere)
    check_order(options, parallel.path)
    _check_paths(plan)
    settings = with_programs(settings, folder)
    citation.show_notice(os.environ, places.state_folder() / "citation-shown")
    if plan.cap is not None and plan.cap > slots:
        _say_capped(plan.cap, slots)

    from womm.engine.gnu.engine import GnuOptions, open_gnu
    from womm.task import parallel as task

    if why := why_not_direct(plan, parallel, os.environ):
        log.info("jobs come by a shim each: %s", why)
    gnu = GnuOptions(plan, parallel, perl, pod_shell(settings), quiet=is_quiet(), direct=not why)
    return task.run(
        task.ParallelTask(
            settings=settings,
            perl=perl,
            shell=gnu.shell,
            folder=folder,
            argv=argv,
            pods=pods,
            traits=gnu.traits,
            open_engine=partial(open_gnu, gnu),
            quiet=gnu.quiet,
        )
    )


def _say_capped(cap: int, slots: int) -> None:
    at_once = words.counted(slots, "job runs", "jobs run")
    _say(f"-j {cap}: {words.counted(slots, 'jobslot')}, so {at_once} at once (more: --kube-pods)")


def _no_async(settings: Settings) -> UsageError:
    if settings.share == LAZY:
        return UsageError(
            "--async cannot go with a lazy share: its files come from this machine, which may then be off",
            "--share eager, or leave --async out",
        )
    return UsageError(
        "--async runs the coordinator in the cluster: it is not there yet",
        "leave --async out, and keep this machine on (tmux, nohup)",
    )


def _check_paths(plan: "RunPlan") -> None:
    """Raise UsageError for files that GNU parallel would only miss after the pods are there."""
    for name, value in plan.options.found:
        if name == "arg-file" and value != "-" and not os.access(value, os.R_OK):
            why = "is not there" if not os.path.exists(value) else "cannot be read"
            raise UsageError(f"the input file {value} {why}", f"ls -l {value}")
    if plan.joblog is not None and plan.joblog != "-":
        place = os.path.dirname(plan.joblog) or "."
        if not os.path.isdir(place):
            raise UsageError(f"--joblog {plan.joblog}: there is no folder {place}", f"mkdir -p {place}")


def _say(text: str) -> None:
    click.echo(words.line(f"womm: {text}"), err=True)


@click.command(
    name="parallel",
    context_settings={"ignore_unknown_options": True, "max_content_width": 100},
    options_metavar="[OPTIONS] [GNU PARALLEL'S OPTIONS] --",
    epilog="""\b
Examples:
  find . -type f | womm parallel --kube-pods 4 -- wc -l {}
  womm parallel --kube-pods 8 -k --joblog jobs.log -- gzip -k ::: *.log

\b
Exit status: GNU parallel's own (0, 1-100 jobs failed, 101 more, 255 other);
254 when womm itself failed, 2 for a wrong command line, 130 after Ctrl-C.""",
)
@click.option("--kube-pods", metavar="N", help="Spin up N pods to dispatch jobs to (required).")
@click.option("--local-procs", metavar="N", help="In addition to the pods, use N local jobslots.")
@click.option("--procs-per-pod", metavar="N", help="Assign N jobslots per pod (default 1).")
@click.option("--kube-cpu", metavar="N", help="Reserve N cpus per pod (default 1).")
@click.option("--kube-mem", metavar="N", help="Reserve N memory per pod (default 512Mi).")
@click.option("--orphan-timeout", metavar="TIME", help="Pods end after so long without their womm (30m).")
@click.option("--ready-timeout", metavar="TIME", help="Give up when no pod is ready for so long (10m).")
@click.option("--cluster", metavar="KIND", help="Where the pods are: local or kubernetes.")
@click.option("--context", metavar="NAME", help="The kubeconfig's context.")
@click.option("-n", "--namespace", metavar="NAME", help="The namespace (-n NUMBER is GNU parallel's).")
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig; else $KUBECONFIG, ~/.kube/config.")
@click.option("--image", metavar="NAME", help="The image that the pods run; here: this machine's programs.")
@click.option("--here-image", metavar="NAME", help="The image that lends its empty root to --image here.")
@click.option("--here-roots", metavar="DIRS", help="Folders in homes that --image here may show; or none.")
@click.option("--fileserver-python", metavar="NAME", help="An image with python3 for the file server.")
@click.option("--pod-template", metavar="FILE", help="A pod (YAML) to lay under womm's own fields.")
@click.option("--share", metavar="KIND", help="The folder in the pods: none, eager, eager-syncback, lazy.")
@click.option("--share-readonly", is_flag=True, help="Pods cannot change the folder.")
@click.option("--share-write", metavar="PATH", multiple=True, help="Pods can change only this path.")
@click.option("--keep", is_flag=True, help="The copy of an eager share stays for the next task.")
@click.option(
    "--logins",
    is_flag=True,
    help="Give GNU parallel one login per pod: the joblog's Host names it.",
)
@click.option("--async", "asynchronous", is_flag=True, help="Run the coordinator in the cluster.")
@click.option("--citation", is_flag=True, help="How to cite GNU parallel; silences its notice.")
@click.argument("words", nargs=-1, metavar="COMMAND [::: ARGS]")
def command(words: tuple[str, ...], **options: object) -> None:
    """Run GNU parallel with its jobs in pods.

    Every other option, before or after --, is GNU parallel's. Input lines come from stdin or after
    ::: as usual; stdout is exactly what GNU parallel prints.
    """
    raise AssertionError("womm.cli.parallel.main takes the arguments as they are")
