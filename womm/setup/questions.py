"""All questions of `womm setup`, in their order, and the answers as one value.

Each answer comes from its option, else from the present `.womm`, else from what womm remembers, else from the
user. Where womm must not ask, all answers that are missing are named at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

Value = str | bool | list[str]


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
    image: the image as it stays or as --image names it; empty: it is made, with the testbed or by `dockerfile`.
    kept: the image of the present `.womm` that the testbed goes on from if it is one of womm's (has its
    label); empty: it begins with `base`.
    base: the image that the testbed begins with: never empty if `edit`.
    prefix: `REGISTRY/NAME/`, where womm may push: never empty if an image is made.
    dockerfile: absolute; then there is no testbed.
    run: commands for the testbed instead of a visit. variables: of --env, to be saved in the image.
    edit: the testbed is used: `run`, else a visit where womm may ask, else nothing is done in it.
    network: the setting testbed-network.
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
