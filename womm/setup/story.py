"""The whole of `womm setup`: questions, the workers' image, the file server's image, `.womm`.

Nothing is changed before all questions have been answered, and `.womm` never names an image that no registry
has. If a step fails after the image was pushed, `.womm` names that image, and the next `womm setup` goes on.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import click

from womm import settings
from womm.errors import ProjectError, UsageError, WommError
from womm.settings import LOCAL, NO_SHARE, Settings, absolute
from womm.setup import cluster_choice, dotfile, questions, remembered
from womm.setup.asking import Asker, terminal
from womm.setup.dotfile import Dotfile
from womm.setup.questions import Answers, Options, Value
from womm.trust import Review


@dataclass(frozen=True, slots=True)
class Teller:
    """say: prints a line for the user; show: prints a `.womm`, as `womm trust` does."""

    say: Callable[[str], None]
    show: Callable[[Review], None]


def run(options: Options, folder: Path, teller: Teller) -> None:
    """Set the project up that `folder`, the current one, is in or will be. Raises WommError, click.Abort."""
    asker = Asker(asks=not options.yes and terminal())
    if not options.yes and not asker.asks:
        raise UsageError("womm setup asks, and stdin is no terminal", questions.EXAMPLES)
    found = dotfile.accepted(folder, asker, show=teller.show, say=teller.say)
    options = replace(options, keys=_absolute(options.keys, folder))
    before = questions.readable(found.values) if asker.asks else found.values
    settings.check_values(found.path, {**before, **options.keys})
    answers = questions.ask(
        options,
        found.path.parent,
        _absolute(before, found.path.parent),
        asker,
        remembered=remembered.prefix(),
        no_engine=_no_engine,
        say=teller.say,
    )
    chosen = _values(answers, found)
    dotfile.encoded(found.path, _checked(found, chosen))
    for note in found.notes:
        teller.say(note)
    if answers.makes_image:
        chosen |= _image(answers, asker, teller.say)
    try:
        chosen |= _file_server(answers, options.fileserver_base, teller.say)
    except WommError:
        if answers.makes_image:
            _write(found, chosen, teller.say)
            _settle(answers)
        raise
    if answers.remember_prefix:
        _remember(answers.prefix, teller.say)
    _write(found, chosen, teller.say, asker=None if answers.makes_image else asker)
    if answers.makes_image:
        _settle(answers)
        teller.say(f"womm: try it: {_example(answers)}")
    teller.say("womm: written; see if all is well: womm doctor")


def _absolute(keys: Mapping[str, Value] | Mapping[str, object], folder: Path) -> dict[str, Value]:
    """Return the keys, with the path of a kubeconfig that counts from `folder` as an absolute one."""
    found: dict[str, Value] = dict(keys)  # type: ignore[arg-type]
    if found.get("kubeconfig"):
        found["kubeconfig"] = absolute(str(found["kubeconfig"]), folder)
    return found


def _no_engine() -> None:
    """Say why there is no container engine. Raises ImageError."""
    from womm.image import daemon

    with daemon.connect("docker is needed for the testbed"):
        pass  # it has come up meanwhile


def _values(answers: Answers, found: Dotfile) -> dict[str, object]:
    """Return the keys to write that are known before an image is made."""
    chosen: dict[str, object] = {} if found.existing is not None else dict(found.values)
    if answers.cluster == LOCAL:
        return {**chosen, "cluster": LOCAL, **answers.given}
    chosen |= {
        "cluster": answers.cluster,
        "context": answers.context,
        "namespace": answers.namespace,
        "image": answers.image or found.values.get("image", ""),
        "share": answers.share,
        **answers.given,
    }
    if answers.given.get("image"):
        chosen["base"] = ""  # the next testbed begins with this image
    if answers.pull_secret or "pull-secret" in found.values:
        chosen["pull-secret"] = answers.pull_secret
    if answers.prefix and answers.prefix != str(found.values.get("prefix")).rstrip("/") + "/":
        chosen["prefix"] = answers.prefix
    return chosen


def _image(answers: Answers, asker: Asker, say: Callable[[str], None]) -> dict[str, object]:
    """Make the workers' image; return the keys that name it. Raises ImageError, click.Abort."""
    from womm.setup import image_story

    others = _settings(answers)

    def architectures() -> frozenset[str] | None:
        return cluster_choice.architectures(answers.context, answers.kubeconfig, others.node_selector)

    answers = replace(answers, network=answers.network or others.testbed_network)
    made = image_story.make_image(answers, asker, say, architectures)
    return {"image": made.image, "base": made.base}


def _settings(answers: Answers) -> Settings:
    """Return the settings with the user's own and the environment's; a bad one counts as none.

    The user may have accepted the present `.womm` only just now: settings.load does not know that.
    """
    with suppress(WommError):
        flags = {key: answers.before.get(key) for key in ("node-selector", "testbed-network")}
        return settings.load(answers.folder, os.environ, flags, lambda text: None)
    return Settings()


def _settle(answers: Answers) -> None:
    """`.womm` names the image now: the next setup need not look for it."""
    from womm.setup import image_story

    image_story.settled(answers.folder)


def _file_server(answers: Answers, base: str, say: Callable[[str], None]) -> dict[str, object]:
    """Return the key of the file server's image: one that `.womm` names by hand, else this womm's own.

    Where womm may push nothing there is none: an image with python alone gets womm when it starts. base: the
    image to build it on. Raises ImageError.
    """
    if answers.cluster == LOCAL or answers.share == NO_SHARE or answers.given.get("fileserver-image"):
        return {}
    from womm.image import fileserver, progress

    named = str(answers.before.get("fileserver-image") or "")
    own = f"{answers.prefix}{fileserver.NAME}@"
    if named and not (answers.prefix and named.startswith(own)):
        return {"fileserver-image": named}
    if not answers.prefix:
        return {}

    def tell(text: str) -> None:
        say(f"womm: {text}")

    image = fileserver.provide(answers.prefix, base=base, say=tell, progress=progress.on_stderr(tell))
    return {"fileserver-image": image}


def _checked(found: Dotfile, chosen: Mapping[str, object]) -> str:
    """Return the text of `.womm` with these keys. Raises SettingsError, ProjectError."""
    text = dotfile.edited(found, chosen)
    dotfile.check(found.path, text)
    return text


def _write(
    found: Dotfile, chosen: Mapping[str, object], say: Callable[[str], None], *, asker: Asker | None = None
) -> None:
    """Show `.womm` and write it. asker: ask before a change. Raises ProjectError, click.Abort."""
    text = _checked(found, chosen)
    if found.changed_meanwhile():
        raise ProjectError(
            f"{found.path} has changed while womm setup worked: it stays as it is", "womm trust; womm setup"
        )
    say(f"womm: {found.path}:")
    for line in text.rstrip().split("\n"):
        say(line.expandtabs())
    changes = found.existing is None or text.encode() != found.existing.content
    if asker is not None and changes and not asker.confirm("Write it?", True):
        raise click.Abort
    dotfile.write(found.path, text)


def _remember(prefix: str, say: Callable[[str], None]) -> None:
    """Keep the prefix for the user's next project. Without that, this one is set up all the same."""
    try:
        path = remembered.remember(prefix)
    except ProjectError as exc:
        say(f"womm: the prefix is not remembered: {exc.message}")
        return
    if path is not None:
        say(f"womm: the prefix {prefix} is remembered in {path}; to forget it: womm clear-prefix")


def _example(answers: Answers) -> str:
    if answers.share == NO_SHARE:
        return "womm shell"
    return "womm shell; or: find . -type f | womm parallel --kube-pods 4 -- wc -l {}"
