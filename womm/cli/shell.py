"""`womm shell`: a shell, or one command, in a fresh worker."""

import os

import click


@click.command(
    name="shell",
    context_settings={"max_content_width": 100},
    epilog="""\b
Examples:
  womm shell --kube-cpu 32 --kube-mem 16Gi
  womm shell -- 'tar c src | xz' > src.tar.xz

\b
One word after -- is a line for the shell, several are a command and its arguments.
Exit status: that of the shell or command; 254 when womm itself failed.""",
)
@click.option("--kube-cpu", metavar="N", help="Reserve N cpus for the pod (default 1).")
@click.option("--kube-mem", metavar="N", help="Reserve N memory for the pod (default 512Mi).")
@click.argument("words", nargs=-1, metavar="[-- COMMAND]")
def command(kube_cpu: str | None, kube_mem: str | None, words: tuple[str, ...]) -> int:
    """Open a shell in a fresh pod, or run a command there.

    In a terminal the shell has it whole: raw keys, window size, Ctrl-C. Without one, stdin, stdout
    and stderr are pipes and stay byte for byte.
    """
    from womm import settings as settings_module
    from womm.cli.parallel import current_folder, find_perl, job_shell
    from womm.coordinator import shell

    folder = current_folder()
    flags = {"kube_cpu": kube_cpu, "kube_mem": kube_mem}
    settings = settings_module.load(folder, os.environ, flags)
    return shell.run(
        shell.ShellTask(
            settings=settings,
            perl=find_perl(),
            shell=job_shell(settings),
            folder=folder,
            argv=("shell", *(("--", *words) if words else ())),
            command=words,
        )
    )
