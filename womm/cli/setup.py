"""`womm setup`: write `.womm`, so that the folder's tasks run on a cluster.

The user names the workers' image; womm does not make it yet. womm makes the image of a share's file server
here, if the registry lacks it. The file keeps its comments.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from womm import words
from womm.cli import tables
from womm.cli.options import OF_KUBERNETES, cluster_options
from womm.errors import ProjectError, ShareError, UsageError

if TYPE_CHECKING:
    from womm.project import Project

_NEW = """\
# A womm project: `womm parallel` and `womm shell` in this folder, and below, run as this says.
# Every key, with its meaning: womm's reference, "Settings". Flags and WOMM_* variables go before it.
"""
_Value = str | bool | list[str]
_EXAMPLE = "womm setup --image NAME --share none --yes"


@click.command("setup", context_settings={"max_content_width": 100})
@click.option(
    "--cluster",
    type=click.Choice(["local", "kubernetes"]),
    help="Where the pods are (kubernetes, with --image).",
)
@click.option("--image", metavar="NAME", help="The image that the pods run; it needs perl and sh.")
@click.option("--share", metavar="KIND", help="The folder in the pods: none, eager, eager-syncback, lazy.")
@click.option("--share-readonly", is_flag=True, default=None, help="Pods cannot change the folder.")
@click.option("--share-write", metavar="PATH", multiple=True, help="Pods can change only this path.")
@click.option("--prefix", metavar="REGISTRY/NAME/", help="Where womm may push images: a share needs one.")
@click.option(
    "--fileserver-image",
    metavar="NAME",
    help="The image of the share's file server; else womm builds and pushes it.",
)
@click.option(
    "--fileserver-base", metavar="NAME", help="An image with python3 and perl to build the file server on."
)
@click.option("--pull-secret", metavar="NAME", help="The secret that opens the image's registry.")
@cluster_options
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(
    yes: bool, fileserver_base: str | None, share_write: tuple[str, ...], **flags: str | bool | None
) -> int:
    """Write .womm: where this folder's tasks run, in what image.

    In a terminal it asks for what you do not give. It changes an existing .womm, also of a folder above,
    and keeps the comments.

    \b
    Examples:
      womm setup --image registry.example.org/tools:1 --share none --yes
      womm setup --image tools:1 --prefix registry.example.org/me/ --share lazy --yes
      womm setup --cluster local --yes
    """
    from womm import project, settings, trust
    from womm.cli.surroundings import current_folder
    from womm.settings import absolute

    folder = current_folder()
    asking = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    if not yes and not asking:
        raise UsageError("womm setup asks, and stdin is no terminal", _EXAMPLE)
    existing = _accepted_before(folder, asking=asking)
    path = existing.path if existing else folder / project.FILE_NAME
    given: dict[str, _Value] = {
        name.replace("_", "-"): value for name, value in flags.items() if value is not None
    }
    if share_write:
        given["share-write"] = [path for paths in share_write for path in paths.split(",")]
    before = {key.replace("_", "-"): value for key, value in existing.values.items()} if existing else {}
    for values, base in ((given, folder), (before, path.parent)):
        if values.get("kubeconfig"):
            values["kubeconfig"] = absolute(str(values["kubeconfig"]), base)
    chosen = _chosen(given, before, asking=asking)
    if chosen.get("cluster") == "kubernetes" and chosen.get("share", "none") != "none":
        _check(path, _edited(path, chosen, existing))
        _may_share(path.parent, asking=asking)
        if not chosen.get("fileserver-image"):
            chosen["fileserver-image"] = _file_server(chosen, before, fileserver_base or "", asking=asking)
    text = _edited(path, chosen, existing)
    content = _encoded(path, text)
    _check(path, text)
    for line in (f"womm: {path}:", *text.rstrip().split("\n")):
        tables.say(line.expandtabs())
    if asking and not click.confirm("Write it?", default=True, err=True):
        raise click.Abort
    written = settings.review_of(project.parsed(path, content), os.environ)
    if written.refused is not None:
        raise written.refused
    _write(path, content)
    trust.accept(written)
    tables.say("womm: written; see if all is well: womm doctor")
    return 0


def _accepted_before(folder: Path, *, asking: bool) -> "Project | None":
    """Return the project that `folder` is in. Raises TrustError when the user does not accept its
    file: the keys of a clone must not become the user's own together with the new ones."""
    from womm import project, settings
    from womm.cli.trust import show

    existing = project.find(folder)
    if existing is None:
        return None
    found = settings.review_of(existing, os.environ)
    if found.counts:
        return existing
    if not asking or found.refused is not None:
        raise found.error()
    show(found)
    if not click.confirm("Do you accept this?", default=False, err=True):
        raise click.Abort
    return existing


def _may_share(folder: Path, *, asking: bool) -> None:
    """Ask before sharing a folder that the user may not want in pods. Raises ShareError."""
    from womm import places, project

    verdict, why = project.sharing(folder, places.home() or Path("/"), project.mounts())
    if verdict is project.Sharing.NEVER:
        raise ShareError(f"{why}: it is not shared", "a folder below it, or --share none")
    if verdict is project.Sharing.ASK:
        tables.say(f"womm: {why}")
        if asking and not click.confirm("Share it all the same?", default=False, err=True):
            raise click.Abort


def _file_server(
    chosen: Mapping[str, object], before: Mapping[str, object], base: str, *, asking: bool
) -> str:
    """Return the image of the file server: one that `.womm` names by hand, else this womm's own."""
    from womm.image import fileserver, progress
    from womm.values import prefix

    given = str(chosen.get("prefix") or before.get("prefix") or "")
    named = str(before.get("fileserver-image") or "")
    if named and not (given and named.startswith(f"{prefix(given)}{fileserver.NAME}@")):
        return named
    if not given and not asking:
        raise UsageError(
            "a share needs an image of its file server: where may womm push it? --prefix is missing",
            "womm setup --image NAME --prefix REGISTRY/NAME/ --share lazy --yes",
        )
    if not given:
        given = click.prompt("Where may womm push images (REGISTRY/NAME/)?", err=True)

    def say(text: str) -> None:
        tables.say(f"womm: {text}")

    return fileserver.provide(prefix(given), base=base, say=say, progress=progress.on_stderr(say))


def _chosen(given: Mapping[str, _Value], before: Mapping[str, object], *, asking: bool) -> dict[str, _Value]:
    """Return the keys to write: each from its option, else from the present file, else from the user."""

    def known(key: str) -> str:
        return str(given.get(key) or before.get(key) or "")

    kinds = ["kubernetes", "local"]
    hinted = "kubernetes" if any(name.replace("_", "-") in given for name in OF_KUBERNETES) else ""
    cluster = str(given.get("cluster") or hinted)
    if not cluster:
        cluster = str(before.get("cluster") or "kubernetes")
        if asking:
            cluster = _ask_one("Where are the pods?", kinds, cluster)
    if cluster == "local":
        return {"cluster": cluster, **given}
    context, namespace = _context(known("context"), known("namespace"), known("kubeconfig"), asking=asking)
    image = known("image")
    if not image:
        if not asking:
            raise UsageError("which image? --image is missing", _EXAMPLE)
        image = click.prompt("Which image do they run (it needs perl and sh)?", err=True)
    share = known("share")
    if not share:
        share = _ask_share() if asking else "none"
    chosen: dict[str, _Value] = {
        "cluster": cluster,
        "context": context,
        "namespace": namespace,
        "image": image,
        "share": share,
        **given,
    }
    return {key: value for key, value in chosen.items() if value}


def _context(context: str, namespace: str, kubeconfig: str, *, asking: bool) -> tuple[str, str]:
    """Return the context and the namespace, resolved: `.womm` shall mean the same tomorrow."""
    from womm.cluster.kubernetes import kubeconfig as files
    from womm.cluster.kubernetes.client import KubeClient, Target
    from womm.task.targets import run_apart

    if asking and not context:
        names, current = files.contexts(kubeconfig)
        if len(names) > 1:
            context = _ask_one("Which context of the kubeconfig?", names, current)

    async def resolve() -> tuple[str, str]:
        client = await KubeClient.connect(Target(context, namespace, kubeconfig))
        await client.close()
        return client.context, client.namespace

    context, found = run_apart(resolve())
    if asking and not namespace:
        found = click.prompt("Which namespace?", default=found, err=True)
    return context, found


def _ask_share() -> str:
    """Ask for one of the four kinds of share."""
    kinds = {
        "lazily (recommended)": "lazy",
        "eagerly (no syncback)": "eager",
        "eagerly (syncback on complete)": "eager-syncback",
        "not at all": "none",
    }
    return kinds[_ask_one("How do pods get this folder?", [*kinds], "lazily (recommended)")]


def _ask_one(question: str, choices: list[str], default: str) -> str:
    for number, choice in enumerate(choices, 1):
        click.echo(f"  {number}) {words.name(choice)}", err=True)
    number = choices.index(default) + 1 if default in choices else 1
    answer: int = click.prompt(question, type=click.IntRange(1, len(choices)), default=number, err=True)
    return choices[answer - 1]


def _check(path: Path, text: str) -> None:
    """Refuse values that `womm parallel` would refuse. Raises SettingsError."""
    import tomllib

    from womm import settings

    values = tomllib.loads(text)
    del values["version"]
    settings.check_values(path, values)


def _edited(path: Path, values: Mapping[str, object], existing: "Project | None") -> str:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    from womm import project

    try:
        document = tomlkit.parse(_NEW if existing is None else existing.content)
    except (TOMLKitError, UnicodeDecodeError) as exc:
        raise ProjectError(f"cannot change {path}: {exc}") from exc
    if "version" not in document:
        document["version"] = project.VERSION
    for key, value in values.items():
        spelled = key if key in document or key.replace("-", "_") not in document else key.replace("-", "_")
        document[spelled] = value
    return tomlkit.dumps(document)


def _encoded(path: Path, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        wrong = next(line for line in text.splitlines() if not line.isprintable())
        raise ProjectError(f"cannot write {path}: TOML is UTF-8, and this is not: {wrong!a}") from exc


def _write(path: Path, content: bytes) -> None:
    """Write beside the file, then rename: no reader ever sees half of it."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        # If it is a link, write where it leads.
        beside = Path(os.path.realpath(path)).with_name(beside.name)
        beside.write_bytes(content)
        if path.exists():
            beside.chmod(path.stat().st_mode & 0o777)
        os.replace(beside, os.path.realpath(path))
    except OSError as exc:
        beside.unlink(missing_ok=True)
        raise ProjectError(f"cannot write {path}: {exc.strerror}", f"ls -ld {path.parent}") from exc
