"""`womm setup`: from a folder in which a program works to an image in a registry and a `.womm`.

Only the options are here; womm.setup does the work.
"""

from pathlib import Path

import click

from womm import words
from womm.cli import tables
from womm.cli.options import cluster_options
from womm.errors import UsageError


@click.command("setup", context_settings={"max_content_width": 100})
@click.option(
    "--cluster",
    type=click.Choice(["local", "kubernetes"]),
    help="Where the pods are (kubernetes, with an image).",
)
@click.option("--share", metavar="KIND", help="The folder in the pods: none, eager, eager-syncback, lazy.")
@click.option("--share-readonly", is_flag=True, default=None, help="Pods cannot change the folder.")
@click.option("--share-write", metavar="PATH", multiple=True, help="Pods can change only this path.")
@click.option("--base", metavar="NAME", help="The image that the testbed begins with, such as debian:12.")
@click.option("--prefix", metavar="REGISTRY/NAME/", help="Where womm may push images.")
@click.option("--run", metavar="COMMAND", multiple=True, help="Run this in the testbed, instead of a shell.")
@click.option(
    "--env", metavar="NAME=VALUE", multiple=True, help="A variable for all jobs, kept in the image."
)
@click.option("--testbed-network", metavar="NAME", help="The testbed's network, such as host; else docker's.")
@click.option("--allow-secrets", is_flag=True, help="Push the image though it seems to hold secrets.")
@click.option("--image", metavar="NAME", help="No testbed: pods run this image; it needs perl and sh.")
@click.option(
    "--dockerfile",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path),
    help="No testbed: build the image by this file.",
)
@click.option("--pull-secret", metavar="NAME", help="The secret that opens the image's registry.")
@click.option(
    "--fileserver-image",
    metavar="NAME",
    help="The image of the share's file server; else womm builds it if it may push images.",
)
@click.option(
    "--fileserver-python", metavar="NAME", help="Else any image with python3, which gets womm as it starts."
)
@click.option(
    "--fileserver-base", metavar="NAME", help="An image with python3 and perl to build the file server on."
)
@cluster_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(
    *,
    run: tuple[str, ...],
    env: tuple[str, ...],
    share_write: tuple[str, ...],
    dockerfile: Path | None,
    allow_secrets: bool,
    yes: bool,
    **flags: str | bool | None,
) -> int:
    """Make this folder a project: the image of its jobs, a .womm.

    In a terminal it asks for what you do not give, and opens the testbed: a shell in a container, with
    this folder, where you install what your program needs. It changes an existing .womm, also of a folder
    above, and keeps the comments.

    \b
    Examples:
      womm setup
      womm setup --share lazy --base debian:12 --prefix registry.example.org/me/ \\
          --run 'apt-get update' --run 'apt-get install -y jq' --env MODE=fast --yes
      womm setup --image registry.example.org/tools:1 --share none --yes
      womm setup --cluster local --yes
    """
    from womm.cli import trust
    from womm.cli.surroundings import current_folder
    from womm.setup import story
    from womm.setup.questions import Options, Value

    base = str(flags.pop("fileserver_base") or "")
    keys: dict[str, Value] = {name.replace("_", "-"): value for name, value in flags.items() if value}
    if share_write:
        keys["share-write"] = [path for paths in share_write for path in paths.split(",")]
    options = Options(
        keys=keys,
        dockerfile=dockerfile,
        run=run,
        variables=dict(map(_variable, env)),
        fileserver_base=base,
        allow_secrets=allow_secrets,
        yes=yes,
    )
    story.run(options, current_folder(), story.Teller(tables.say, trust.show))
    return 0


def _variable(given: str) -> tuple[str, str]:
    """Split NAME=VALUE. Raises UsageError."""
    name, equals, value = given.partition("=")
    if not equals or not (name.isidentifier() and name.isascii()) or "\0" in value:
        shown = words.name(name) if name and equals else "..."  # never what may be a secret
        raise UsageError(f"--env {shown}: must be NAME=VALUE, such as MODE=fast", "womm setup --help")
    return name, value
