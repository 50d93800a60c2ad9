"""All questions of `womm setup`, in their order, and the answers as one value.

Each answer comes from its option, else from the present `.womm`, else from what womm remembers, else from the
user. Where womm must not ask, all answers that are missing are named at once.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import click

from womm import places, project, values, words
from womm.errors import ShareError, UsageError
from womm.image import distribution
from womm.settings import EAGER, EAGER_SYNCBACK, HERE, KEYS, LAZY, LOCAL, NO_SHARE
from womm.setup import cluster_choice, nearby
from womm.setup.asking import Asker
from womm.testbed.state import State
from womm.trust import listed

Value: TypeAlias = str | bool | list[str]
_READ: Final = {key.name: key.read for key in KEYS}
_ASKED: Final = frozenset(["cluster", "share", "namespace", "pull-secret", "base", "prefix"])
"""Keys that have a question, and a value that womm can tell from a bad one."""
_SHARES: Final = {
    LAZY: "lazily",
    EAGER: "eagerly (no syncback)",
    EAGER_SYNCBACK: "eagerly (syncback on complete, not recommended)",
    NO_SHARE: "not at all",
}
_CHANGE: Final = "Do you want to change your share, cluster or base image?"
_PREFIX: Final = (
    "What is a prefix of a docker image name that you are authorized to push to a secure location?"
)
_PREFIX_EXAMPLE: Final = "e.g. 'us-west4-docker.pkg.dev/angr-ci/defcon/'"
EXAMPLES: Final = (
    "womm setup --share lazy --base debian:12 --prefix REGISTRY/NAME/ --run COMMAND --yes; "
    "with an image that is made already: womm setup --image NAME --share none --yes"
)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `womm setup`. keys: settings by their names, as they were given.

    variables: of --env. kubeconfig in `keys` is absolute.
    """

    keys: Mapping[str, Value] = field(default_factory=dict)
    dockerfile: Path | None = None
    run: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    fileserver_base: str = ""
    allow_secrets: bool = False
    yes: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """The user's answers. An empty text: none.

    folder: the project's, absolute; it holds `.womm`, or will.
    image: the image as it stays or as --image names it; empty: it is made, in the testbed or by `dockerfile`.
    kept: the image of the present `.womm` that the testbed goes on from if it is one of womm's (has its
    label); empty: it begins with `base`.
    base: the image that the testbed begins with: never empty if `edit`.
    prefix: `REGISTRY/NAME/`, where womm may push: never empty if an image is made.
    dockerfile: absolute; then there is no testbed.
    run: commands for the testbed instead of a visit. variables: of --env, to be saved in the image.
    edit: the testbed is used: `run`, else a visit where womm may ask, else nothing is done in it.
    remember_prefix: the user has typed the prefix just now. network: the setting testbed-network.
    before: the keys of the present `.womm`. given: the keys of the options.
    """

    folder: Path
    cluster: str
    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""
    share: str = ""
    pull_secret: str = ""
    image: str = ""
    kept: str = ""
    base: str = ""
    prefix: str = ""
    remember_prefix: bool = False
    dockerfile: Path | None = None
    run: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    edit: bool = False
    network: str = ""
    allow_secrets: bool = False
    before: Mapping[str, object] = field(default_factory=dict)
    given: Mapping[str, Value] = field(default_factory=dict)

    @property
    def makes_image(self) -> bool:
        return self.edit or self.dockerfile is not None


def ask(
    options: Options,
    folder: Path,
    before: Mapping[str, object],
    asker: Asker,
    *,
    remembered: str,
    no_engine: Callable[[], None],
    say: Callable[[str], None],
) -> Answers:
    """Return the answers.

    folder: the project's. before: the keys of its `.womm`, with good values; empty for a new one. remembered:
    the prefix of the user's last project. no_engine: called when there is surely no container engine, and one
    is needed; raises ImageError. Raises UsageError, ClusterError, ShareError, click.Abort.
    """
    _refuse_contradictions(options)
    missing = [] if asker.asks else _missing(options, before, remembered)
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise UsageError(f"{listed(missing)} {are} missing, and womm setup does not ask here", EXAMPLES)
    return _Dialogue(options, folder, before, asker, remembered, no_engine, say).answers()


def readable(before: Mapping[str, object]) -> dict[str, object]:
    """Return the keys of `.womm` without the bad values that a question can mend."""

    def is_bad(key: str, value: object) -> bool:
        try:
            _READ[key](value)
        except ValueError:
            return True
        return False

    return {key: value for key, value in before.items() if key not in _ASKED or not is_bad(key, value)}


def _refuse_contradictions(options: Options) -> None:
    """Raise UsageError for options that exclude each other."""
    of_testbed = {
        "--base": "base" in options.keys,
        "--run": bool(options.run),
        "--env": bool(options.variables),
    }
    given = [name for name, is_given in of_testbed.items() if is_given]
    of_image = {
        "--image": "names an image that is made already" if options.keys.get("image") else "",
        "--dockerfile": "makes the image by that file alone" if options.dockerfile else "",
        "--cluster local": "runs jobs on this machine, without an image" if _is_local(options) else "",
    }
    for name, why in of_image.items():
        if why and given:
            raise UsageError(f"{name} {why}: leave out {listed(given)}, or {name}", "womm setup --help")
    if options.dockerfile is not None:
        for name in ("--image", "--cluster local"):
            if of_image[name]:
                raise UsageError(f"{name} and --dockerfile exclude each other", "womm setup --help")


def _is_local(options: Options) -> bool:
    return options.keys.get("cluster") == LOCAL


def _missing(options: Options, before: Mapping[str, object], remembered: str) -> list[str]:
    """Return the options without which there is no answer where womm does not ask."""
    given = options.keys

    def known(key: str) -> str:
        return str(given.get(key) or before.get(key) or "")

    hinted = _needs_kubernetes(options) or any(given.get(key) for key in cluster_choice.OF_KUBERNETES)
    if (given.get("cluster") or ("" if hinted else before.get("cluster"))) == LOCAL:
        return []
    has_image = bool(known("image"))
    edits = bool(options.run or options.variables or given.get("base")) or not has_image
    makes = edits or options.dockerfile is not None
    share = known("share") or (NO_SHARE if has_image else "")
    missing = []
    if not share:
        missing.append("--share")
    if edits and options.dockerfile is None and not (known("base") or has_image):
        missing.append("--base")
    if (makes or options.fileserver_base) and not (known("prefix") or remembered):
        missing.append("--prefix")
    return missing


@dataclass(frozen=True, slots=True)
class _Dialogue:
    """One run of the questions. See `ask`."""

    options: Options
    folder: Path
    before: Mapping[str, object]
    asker: Asker
    remembered: str
    no_engine: Callable[[], None]
    say: Callable[[str], None]

    def answers(self) -> Answers:
        given, options = self.options.keys, self.options
        by_options = _says_what_changes(options)
        again = self._has_image and self.asker.asks and not by_options and self.asker.confirm(_CHANGE, False)
        chosen = cluster_choice.choose(
            self.asker, given, self.before, again=again, hinted=_needs_kubernetes(options)
        )
        if chosen.cluster == LOCAL:
            return Answers(self.folder, LOCAL, before=self.before, given=given)
        named = str(given.get("image") or "")
        if not named and not self._has_image:
            self._look_for_engine()
        share = self._share(again)
        namespace = self._namespace(chosen, again)
        secret = self._pull_secret(again)
        base, kept = ("", "") if named or options.dockerfile is not None else self._base(again)
        edits = bool(base) and self._edits(kept, by_options)
        makes = edits or options.dockerfile is not None
        if makes:
            self._look_for_engine()
        prefix, is_new = self._prefix(needed=makes or bool(options.fileserver_base))
        return Answers(
            folder=self.folder,
            cluster=chosen.cluster,
            context=chosen.context,
            namespace=namespace,
            kubeconfig=self._known("kubeconfig"),
            share=share,
            pull_secret=secret,
            image="" if makes else named or self._known("image"),
            kept=kept if edits else "",
            base=base if edits else "",
            prefix=prefix,
            remember_prefix=is_new,
            dockerfile=options.dockerfile,
            run=options.run,
            variables=options.variables,
            edit=edits,
            network=self._known("testbed-network"),
            allow_secrets=options.allow_secrets,
            before=self.before,
            given=given,
        )

    @property
    def _has_image(self) -> bool:
        return bool(self.before.get("image"))

    def _known(self, key: str) -> str:
        return str(self.options.keys.get(key) or self.before.get(key) or "")

    def _settled(self, key: str, again: bool) -> str:
        """Return the answer that needs no question: of an option, else of `.womm` unless womm asks again."""
        return str(self.options.keys.get(key) or ("" if again else self.before.get(key)) or "")

    def _look_for_engine(self) -> None:
        if self.asker.asks and not nearby.may_be_there(os.environ, os.getuid()):
            self.no_engine()

    def _share(self, again: bool) -> str:
        share = self._settled("share", again)
        if not share and self.asker.asks:
            question = f"How do you want to share {words.name(str(self.folder))} to your cloud?"
            share = self.asker.choose(question, _SHARES, self._known("share"), option="--share")
        if share not in {"", NO_SHARE}:
            self._may_share()
        return share or NO_SHARE

    def _may_share(self) -> None:
        """Ask before sharing a folder that the user may not want in pods. Raises ShareError."""
        verdict, why = project.sharing(self.folder, places.home() or Path("/"), project.mounts())
        if verdict is project.Sharing.NEVER:
            raise ShareError(f"{why}: it is not shared", "a folder below it, or --share none")
        if verdict is project.Sharing.ASK:
            self.say(f"womm: {why}")
            if self.asker.asks and not self.asker.confirm("Share it all the same?", False):
                raise click.Abort

    def _namespace(self, chosen: cluster_choice.Chosen, again: bool) -> str:
        namespace = self._settled("namespace", again)
        if namespace or not self.asker.asks:
            return namespace or chosen.namespace
        same = self.before.get("context") == chosen.context
        default = str((same and self.before.get("namespace")) or chosen.namespace)
        question = "In which namespace of the cluster may your jobs run?"
        return self.asker.text(question, default, option="--namespace", check=_READ["namespace"])

    def _pull_secret(self, again: bool) -> str:
        secret = self._settled("pull-secret", again)
        known_enough = bool(self.options.keys.get("image")) or (self._has_image and not again)
        if secret or not self.asker.asks or known_enough:
            return secret
        default = str(self.before.get("pull-secret") or "")
        none = f"blank: {words.name(default)}, -: none" if default else "blank: none"
        question = f"Which pull secret of the namespace opens your images' registry ({none})?"
        check = _READ["pull-secret"]
        return self.asker.text(question, default, option="--pull-secret", check=check, blank=True)

    def _base(self, again: bool) -> tuple[str, str]:
        """Return the base image, and the image to go on from; empty: the base."""
        image = str(self.before.get("image") or "")
        image = "" if image == HERE else image  # no image to go on from
        # An image that the user has named, or the original womm has made, is its own base.
        was = str(self.before.get("base") or image)
        base = self._settled("base", again) or ("" if again else was)
        if not base:
            base = self.asker.text(
                "What is the docker hub name for the base image for your operating system?",
                was or distribution.own(),
                option="--base",
                check=_READ["base"],
            )
        return base, image if base == was else ""

    def _edits(self, kept: str, by_options: bool) -> bool:
        if self.options.run or self.options.variables or not kept:
            return True
        if by_options or not self.asker.asks:
            return State.of(self.folder).load().is_unfinished
        # One that the user has named is not womm's: it may be somebody else's.
        return self.asker.confirm("Do you want to edit your image?", "base" in self.before)

    def _prefix(self, *, needed: bool) -> tuple[str, bool]:
        """Return the prefix, and whether the user has just typed it."""
        prefix = self._known("prefix")
        if not prefix and needed:
            prefix = self.remembered
        if prefix or not needed:
            return values.prefix(prefix) if prefix else "", False
        typed = self.asker.text(_PREFIX, option="--prefix", example=_PREFIX_EXAMPLE, check=values.prefix)
        return values.prefix(typed), True


def _says_what_changes(options: Options) -> bool:
    """Whether options say what the user wants of a project that is there: then only they count."""
    made = options.run or options.variables or options.dockerfile is not None
    return bool(made or any(options.keys.values()))


def _needs_kubernetes(options: Options) -> bool:
    """Whether options only make sense on Kubernetes, beside those that mean it for every command."""
    made = options.run or options.variables or options.dockerfile is not None
    return bool(made or options.keys.get("base"))
