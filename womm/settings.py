"""Settings: where each comes from, what it may be, and the units that people write.

Precedence: flag, then environment, then the project's `.womm`, then the user's `config.toml`, then
the default. A key is a field's name without its unit, since the value carries one: `kube-pods = 4`,
`orphan-timeout = "30m"`; `--kube-pods` and `WOMM_KUBE_PODS` come from the same name.
"""

import difflib
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from womm import places, project, trust
from womm import values as read
from womm.errors import USAGE_STATUS, ProjectError, SettingsError, TrustError
from womm.named import Files, Kind, Named, named_by, seal
from womm.project import Project
from womm.trust import Review

logger = logging.getLogger(__name__)

CONFIG_NAME: Final = "config.toml"
LOCAL: Final = "local"
KUBERNETES: Final = "kubernetes"
HERE: Final = "here"
"""As the workers' image: they see this machine's programs."""
DEFAULT: Final = "default"
NO_SHARE: Final = "none"
LAZY: Final = "lazy"
EAGER: Final = "eager"
EAGER_SYNCBACK: Final = "eager-syncback"
SHARES: Final = (NO_SHARE, EAGER, EAGER_SYNCBACK, LAZY)
"""How the folder gets into the pods: not at all; copied; copied there and back; fetched when it is read."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. The row of a field in KEYS describes it.

    origins: field name -> its source: `--kube-pods`, `WOMM_KUBE_PODS`, a file, `default`.
    project: the folder with `.womm`, None without one.
    """

    kube_pods: int | None = None
    local_procs: int = 0
    procs_per_pod: int = 1
    kube_cpu: str = "1"
    kube_mem: str = "512Mi"
    orphan_timeout_s: float = 1800.0
    ready_timeout_s: float = 600.0
    stdin_cap_bytes: int = 1 << 30
    stdin_memory_bytes: int = 1 << 20
    log_job_bytes: int = 64 << 10
    log_task_bytes: int = 256 << 20
    shell: str | None = None
    cluster: str = LOCAL
    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""
    image: str = ""
    here_image: str = "busybox:1.37-musl"
    here_roots: tuple[str, ...] | None = None
    base: str = ""
    testbed_network: str = ""
    share: str = NO_SHARE
    share_cache_bytes: int = 4 << 30
    share_readonly: bool = False
    share_write: tuple[str, ...] = ()
    share_volume: str = ""
    keep: bool = False
    fileserver_image: str = ""
    fileserver_python: str = "python:3.13-slim-bookworm"
    prefix: str = ""
    pull_secret: str = ""
    service_account: str = ""
    pod_template: str = ""
    gpus: int = 0
    gpu_resource: str = "nvidia.com/gpu"
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Mapping[str, object], ...] = ()
    origins: Mapping[str, str] = field(default_factory=dict)
    project: Path | None = None

    @property
    def shows_programs(self) -> bool:
        """Whether pods see this machine's programs."""
        return self.cluster == KUBERNETES and self.image == HERE


@dataclass(frozen=True, slots=True)
class Key:
    """name: as in `.womm`; field: of Settings; read: raises ValueError with the values that it expects.

    names: it names a file, or several: in a file a path counts from its folder, else from the current one.
    free: in a `.womm` it counts without the user's acceptance: a number that can do no more than cost time.
    own: it is never in a `.womm`: it is about this user's machine, and no project can know it.
    """

    name: str
    field: str
    read: Callable[[object], object]
    help: str
    names: Kind | None = None
    free: bool = False
    own: bool = False

    @property
    def variable(self) -> str:
        return "WOMM_" + self.name.upper().replace("-", "_")

    @property
    def option(self) -> str:
        return "--" + self.name


def load(
    cwd: Path,
    env: Mapping[str, str],
    flags: Mapping[str, object],
    warn: Callable[[str], None] | None = None,
) -> Settings:
    """Gather the settings; raises SettingsError, ProjectError and TrustError.

    flags: the options on the command line, by the key's name with underscores (`kube_pods`), as text
    or typed; None means not given. Environment variables that are empty count as not given.
    warn: gets a message about a project file that this user has not accepted; its keys that need an
    acceptance are left out. Without `warn` such a file is a TrustError.
    """
    found, of_project = _of_project(cwd, env, flags, warn)
    values: dict[str, Any] = {}
    origins = {key.field: DEFAULT for key in KEYS}
    for value in (*_user_values(), *of_project, *_given(cwd, env, flags)):
        values[value.key.field] = value.read()
        origins[value.key.field] = value.origin
    return Settings(
        **values,
        origins=MappingProxyType(origins),
        project=None if found is None else found.folder,
    )


def review(cwd: Path, env: Mapping[str, str], flags: Mapping[str, object]) -> Review | None:
    """Compare the project file, as it is now, with this user's acceptance; None: there is no project file.

    Raises ProjectError, SettingsError, TrustError.
    """
    found = project.find(cwd)
    return None if found is None else _review(found, cwd, env, flags)


def review_of(found: Project, env: Mapping[str, str]) -> Review:
    """As `review`, for a project file that is known. Raises SettingsError, TrustError."""
    return _review(found, found.folder, env, {})


def _of_project(
    cwd: Path, env: Mapping[str, str], flags: Mapping[str, object], warn: Callable[[str], None] | None
) -> "tuple[Project | None, list[_Given]]":
    """Return the project and the keys of its file that count. See `load`."""
    found, values = None, []
    try:
        found = project.find(cwd)
        values = _project_values(found)
        _fields(values)
        if found is not None and not (reviewed := _review(found, cwd, env, flags)).counts:
            raise reviewed.error()
    except (ProjectError, SettingsError, TrustError) as exc:
        if warn is None:
            raise
        warn(f"{exc.message} ({exc.hint})" if exc.hint else exc.message)
        values = [value for value in values if value.key.free] if isinstance(exc, TrustError) else []
    return found, values


def _review(found: Project, cwd: Path, env: Mapping[str, str], flags: Mapping[str, object]) -> Review:
    own = _project_values(found)
    keys = [value.key.name for value in own if not value.key.free]
    if not keys:
        return Review(found, (), (), "", None, accepted=False)
    alone = _readable(own)
    merged = _readable([*_user_values(), *own, *_given(cwd, env, flags)])
    # The file's own keys count, too: other tasks of the project run by them.
    writable = dict.fromkeys(
        (*writable_by_pods(found.folder, alone), *writable_by_pods(found.folder, merged))
    )
    files = [(key.names, key.name, str(alone[key.field])) for key in KEYS if key.names and key.field in alone]
    named: list[Named] = []
    refused = None
    sealed = ""
    read = Files()
    try:
        named = named_by(found.folder, files, list(writable), _written_in, read)
        if kubeconfig := alone.get("kubeconfig"):
            sealed = seal(str(kubeconfig), read)
    except TrustError as exc:
        refused = exc
    return trust.review(found, keys, named, env, refused=refused, seal=sealed)


def kubeconfig_seal(settings: Settings) -> str:
    """Return the seal that the kubeconfig must keep as long as a task lives; empty: the user has chosen it.

    Raises TrustError.
    """
    if settings.project is None or settings.origins["kubeconfig"] != str(
        settings.project / project.FILE_NAME
    ):
        return ""
    return seal(settings.kubeconfig)


def _fields(values: "Iterable[_Given]") -> dict[str, object]:
    return {value.key.field: value.read() for value in values}


def _readable(values: "Iterable[_Given]") -> dict[str, object]:
    """Return the values that can be read. A bad value runs nothing, and `womm setup` may mend it."""
    found: dict[str, object] = {}
    for value in values:
        with suppress(SettingsError):
            found[value.key.field] = value.read()
    return found


def writable_by_pods(folder: Path, values: Mapping[str, object]) -> list[Path]:
    """Return the folders that pods can write with these settings of a project in `folder`."""
    if values.get("share") not in {LAZY, EAGER_SYNCBACK} or values.get("share_readonly"):
        return []
    below = values.get("share_write")
    if isinstance(below, (list, tuple)) and below:
        return [folder / str(path) for path in below]
    return [folder]


def _written_in(folder: Path) -> list[Path]:
    """Return the folders that pods can write by the project file in this very folder, accepted or not."""
    try:
        return writable_by_pods(folder, _readable(_project_values(project.at(folder))))
    except (ProjectError, SettingsError):
        return []


def _project_values(found: Project | None) -> "list[_Given]":
    return [] if found is None else list(_checked(found.path, _file_values(found.path, found.values)))


def _checked(path: Path, values: "Iterable[_Given]") -> "Iterator[_Given]":
    """Raise SettingsError for a key that a `.womm` must not have."""
    for value in values:
        if value.key.own:
            raise SettingsError(
                f"{path}: {value.key.name} says what may leave this machine: it is no project's to say",
                f"take it out of the file; {value.key.option}, or your own {CONFIG_NAME}, may say it",
            )
        yield value


def _given(cwd: Path, env: Mapping[str, str], flags: Mapping[str, object]) -> "list[_Given]":
    return [*_variables(env, cwd), *_options(flags, cwd)]


def check_values(path: Path, values: Mapping[str, object]) -> None:
    """Raise SettingsError for a key or value that `path`, a `.womm`, must not have."""
    found = {given.key.field: given.read() for given in _checked(path, _file_values(path, values))}
    check_share(bool(found.get("share_readonly")), found.get("share_write", ()))


def check_share(readonly: bool, write: object) -> None:
    """Raise SettingsError for share-readonly together with share-write."""
    if readonly and write:
        raise SettingsError(
            f"share-readonly and share-write = {_toml(write)} contradict each other",
            "leave one of them out",
        )


@dataclass(frozen=True, slots=True)
class _Given:
    key: Key
    value: object
    origin: str
    shown: str
    folder: Path
    status: int | None = None

    def read(self) -> object:
        try:
            value = self.key.read(self.value)
        except ValueError as exc:
            raise SettingsError(f"{self.shown}: must be {exc}", status=self.status) from exc
        if self.key.names is None:
            return value
        if self.key.names is Kind.PROGRAM:
            # A mere name is for PATH.
            here = os.sep in str(value)
            return os.path.normpath(self.folder / os.path.expanduser(str(value))) if here else value
        return absolute(str(value), self.folder)


def absolute(paths: str, folder: Path) -> str:
    """Return paths, joined by colons, that are relative to `folder`, as absolute ones."""
    found = [os.path.join(folder, os.path.expanduser(path)) for path in paths.split(os.pathsep) if path]
    return os.pathsep.join(map(os.path.normpath, found))


def _user_values() -> Iterator[_Given]:
    folder = places.config_folder()
    if folder is None:
        return
    path = folder / CONFIG_NAME
    try:
        path.lstat()
    except PermissionError as exc:
        # As git: after `su`, say, the home folder is another user's.
        logger.info("cannot look for %s: %s; it is not read", path, exc.strerror)
        return
    except OSError:
        pass
    if project.is_file(path):
        values = project.read_toml(path)
        values.pop("version", None)
        yield from _file_values(path, values)


def _file_values(path: Path, values: Mapping[str, object]) -> Iterator[_Given]:
    seen: dict[str, str] = {}
    for written, value in values.items():
        key = _BY_NAME.get(written.replace("_", "-"))
        if key is None:
            raise SettingsError(f"{path}: there is no setting {written!r}", _near(written))
        if key.name in seen:
            raise SettingsError(f"{path}: {seen[key.name]} and {written} are the same setting")
        seen[key.name] = written
        yield _Given(key, value, str(path), f"{path}: {written} = {_toml(value)}", path.parent)


def _near(written: str) -> str:
    """Return the keys that the user may have meant, or the place of the list of all keys."""
    name = written.replace("_", "-")
    if name in _ORIGINALS:
        return f"the original womm's {written} is {_ORIGINALS[name]} here"
    near = difflib.get_close_matches(name, _BY_NAME, 3, 0.8) or difflib.get_close_matches(name, _BY_NAME, 1)
    return f"did you mean {' or '.join(near)}?" if near else 'all keys: womm\'s reference, "Settings"'


def _variables(env: Mapping[str, str], cwd: Path) -> Iterator[_Given]:
    for key in KEYS:
        value = env.get(key.variable)
        if value:
            yield _Given(key, value, key.variable, f"{key.variable}={value}", cwd)


def _options(flags: Mapping[str, object], cwd: Path) -> Iterator[_Given]:
    for name, value in flags.items():
        key = _BY_NAME[name.replace("_", "-")]
        if value is not None:
            yield _Given(key, value, key.option, f"{key.option} {value or repr(value)}", cwd, USAGE_STATUS)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
        return "[" + ", ".join(f'"{part}"' for part in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


KEYS: Final = (
    Key("kube-pods", "kube_pods", read.whole(1), "pods to dispatch jobs to", free=True),
    Key("local-procs", "local_procs", read.whole(0), "local jobslots in addition"),
    Key("procs-per-pod", "procs_per_pod", read.whole(1), "jobslots per pod", free=True),
    Key("kube-cpu", "kube_cpu", read.cpu, "CPUs to reserve per pod", free=True),
    Key("kube-mem", "kube_mem", read.mem, "memory to reserve per pod", free=True),
    Key("orphan-timeout", "orphan_timeout_s", read.parse_duration, "life of an agent left alone", free=True),
    Key("ready-timeout", "ready_timeout_s", read.parse_duration, "wait for the first pod", free=True),
    Key("stdin-cap", "stdin_cap_bytes", read.parse_size, "limit of what is kept of a job's stdin"),
    Key("stdin-memory", "stdin_memory_bytes", read.parse_size, "how much of that is kept in memory"),
    Key("log-job", "log_job_bytes", read.parse_size, "kept output per job and stream", free=True),
    Key("log-task", "log_task_bytes", read.parse_size, "kept output per task, compressed", free=True),
    Key("shell", "shell", read.program, "the shell that runs job lines", names=Kind.PROGRAM),
    Key("cluster", "cluster", read.one_of(LOCAL, KUBERNETES), "where the pods are"),
    Key("context", "context", read.text("a context of the kubeconfig"), "the kubeconfig's context"),
    Key("namespace", "namespace", read.text("the name of a namespace", read.LABEL), "the pods' namespace"),
    Key(
        "kubeconfig",
        "kubeconfig",
        read.text("a path"),
        "the kubeconfig, or several joined by colons",
        names=Kind.KUBECONFIG,
    ),
    Key("image", "image", read.text("the name of an image", r"[^\s]+"), "the workers' image"),
    Key(
        "here-image",
        "here_image",
        read.text("the name of an image", r"[^\s]+"),
        "the image that lends its empty root when image is here",
    ),
    Key(
        "here-roots",
        "here_roots",
        read.here_roots,
        "folders in homes that pods may see when image is here",
        own=True,
    ),
    Key(
        "base",
        "base",
        read.text("the name of an image", r"[^\s]+"),
        "the image that the workers' image began with",
    ),
    Key(
        "testbed-network",
        "testbed_network",
        read.text("the name of a network of docker's", r"[^\s]+"),
        "the testbed's network",
    ),
    Key("share", "share", read.one_of(*SHARES), "how the folder gets into the pods"),
    Key("share-cache", "share_cache_bytes", read.parse_size, "what a lazy share keeps in the cluster"),
    Key("share-readonly", "share_readonly", read.yes_no, "pods cannot change the folder"),
    Key("share-write", "share_write", read.share_write, "the only paths of the folder that pods can change"),
    Key(
        "share-volume",
        "share_volume",
        read.text("the name of a claim", read.NAME),
        "PersistentVolumeClaim for what an eager share copies",
    ),
    Key("keep", "keep", read.yes_no, "what an eager share has copied stays for the next task"),
    Key(
        "fileserver-image",
        "fileserver_image",
        read.text("the name of an image", r"[^\s]+"),
        "the file server's image, with womm in it",
    ),
    Key(
        "fileserver-python",
        "fileserver_python",
        read.text("the name of an image", r"[^\s]+"),
        "else its image: any with python3 (3.11 or newer), which gets womm when it starts",
    ),
    Key("prefix", "prefix", read.prefix, "what names of images that womm pushes begin with"),
    Key(
        "pull-secret",
        "pull_secret",
        read.text("the name of a secret", read.NAME),
        "secret for the image's registry",
    ),
    Key("service-account", "service_account", read.text("a service account", read.NAME), "the pods' account"),
    Key(
        "pod-template",
        "pod_template",
        read.text("a path"),
        "a pod (YAML) to lay under womm's own fields",
        names=Kind.FILE,
    ),
    Key("gpus", "gpus", read.whole(0), "GPUs per pod"),
    Key("gpu-resource", "gpu_resource", read.text("a resource's name", r"\S+"), "what a GPU is called there"),
    Key("node-selector", "node_selector", read.selector, "labels that a pod's node must have"),
    Key("tolerations", "tolerations", read.tolerations, "taints that a pod may live with"),
)
_ORIGINALS: Final = {
    "share-kind": "share",
    "share-path": "the folder that .womm is in",
    "secret-name": "pull-secret",
}
"""Keys of the original womm's `.womm`, and what they are now."""
_BY_NAME: Final = {key.name: key for key in KEYS}
