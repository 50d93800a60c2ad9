"""`womm shell`: a shell, or one command, in a fresh worker."""

import os
from collections.abc import Mapping
from pathlib import Path

import click

from womm.cli import tables
from womm.errors import UsageError


@click.command(
    name="shell",
    context_settings={"max_content_width": 100},
    epilog="""\b
Examples:
  womm shell --kube-cpu 32 --kube-mem 16Gi
  womm shell -- 'tar c src | xz' > src.tar.xz
  womm shell --local

\b
One word after -- is a line for the shell, several are a command and its arguments.
Exit status: that of the shell or command; 254 when womm itself failed.""",
)
@click.option("--kube-cpu", metavar="N", help="Reserve N cpus for the pod (default 1).")
@click.option("--kube-mem", metavar="N", help="Reserve N memory for the pod (default 512Mi).")
@click.option("--cluster", metavar="KIND", help="Where the pod is: local or kubernetes.")
@click.option("--context", metavar="NAME", help="The kubeconfig's context.")
@click.option("-n", "--namespace", metavar="NAME", help="The namespace.")
@click.option("--kubeconfig", metavar="FILE", help="The kubeconfig; else $KUBECONFIG, ~/.kube/config.")
@click.option("--image", metavar="NAME", help="The image that the pod runs; here: this machine's programs.")
@click.option("--here-image", metavar="NAME", help="The image that lends its empty root to --image here.")
@click.option("--here-roots", metavar="DIRS", help="Folders in homes that --image here may show; or none.")
@click.option("--fileserver-python", metavar="NAME", help="An image with python3 for the file server.")
@click.option("--pod-template", metavar="FILE", help="A pod (YAML) to lay under womm's own fields.")
@click.option("--share", metavar="KIND", help="The folder in the pod: none, eager, eager-syncback, lazy.")
@click.option("--share-readonly", is_flag=True, default=None, help="The pod cannot change the folder.")
@click.option("--share-write", metavar="PATH", multiple=True, help="The pod can change only this path.")
@click.option(
    "--keep", is_flag=True, default=None, help="The copy of an eager share stays for the next task."
)
@click.option("--local", is_flag=True, help="No pod: the project's image, in a container on this machine.")
@click.argument("words", nargs=-1, metavar="[-- COMMAND]")
def command(
    words: tuple[str, ...], share_write: tuple[str, ...], local: bool, **flags: str | bool | None
) -> int:
    """Open a shell in a fresh pod, or run a command there.

    From a terminal the shell gets a whole terminal: raw keys, window size, Ctrl-C. Without one, stdin, stdout
    and stderr are pipes and stay byte for byte.

    With --local it is a container here, as root, with the folder at its path. What has changed in it can be
    kept in the image at the end.
    """
    from womm import settings as settings_module
    from womm.cli.options import with_cluster
    from womm.cli.surroundings import current_folder, find_perl, is_quiet, pod_shell, with_programs
    from womm.task import shell

    folder = current_folder()
    flags["share_write"] = ",".join(share_write) or None
    if local:
        return _local(words, flags, folder)
    settings = settings_module.load(folder, os.environ, with_cluster(flags))
    settings = with_programs(settings, folder)
    return shell.run(
        shell.ShellTask(
            settings=settings,
            perl=find_perl(),
            shell=pod_shell(settings),
            folder=folder,
            argv=("shell", *(("--", *words) if words else ())),
            command=words,
            quiet=is_quiet(),
        )
    )


def _local(words: tuple[str, ...], flags: Mapping[str, str | bool | None], folder: Path) -> int:
    """Run a shell, or a command, in a container on this machine. Raises UsageError for options of pods."""
    from womm import settings
    from womm.setup import local_shell
    from womm.setup.asking import Asker, terminal

    given = ["--" + name.replace("_", "-") for name, value in flags.items() if value]
    if given:
        raise UsageError(f"{' and '.join(given)}: of pods, and --local starts none", "womm shell --local")
    loaded = settings.load(folder, os.environ, {})
    return local_shell.run(local_shell.LocalShell(loaded, folder, words, Asker(asks=terminal()), tables.say))
