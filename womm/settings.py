"""Settings: where each comes from, what it may be, and the units that people write.

Precedence: flag, then environment, then the project's `.womm`, then the user's `config.toml`, then
the default. A key is a field's name without its unit, since the value carries one: `kube-pods = 4`,
`orphan-timeout = "30m"`; `--kube-pods` and `WOMM_KUBE_PODS` are made of the same name.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import platformdirs

from womm import project
from womm.errors import USAGE_STATUS, SettingsError

CONFIG_NAME: Final = "config.toml"
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. A field is described by its row of KEYS.

    origins: field name -> where it is from: `--kube-pods`, `WOMM_KUBE_PODS`, a file, `default`.
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
    origins: Mapping[str, str] = field(default_factory=dict)
    project: Path | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """name: as in `.womm`; field: of Settings; read: raises ValueError with what it expects."""

    name: str
    field: str
    read: Callable[[object], object]
    help: str

    @property
    def variable(self) -> str:
        return "WOMM_" + self.name.upper().replace("-", "_")

    @property
    def option(self) -> str:
        return "--" + self.name


def load(cwd: Path, env: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Gather the settings; raises SettingsError and ProjectError.

    flags: what was on the command line, by the key's name with underscores (`kube_pods`), as text
    or typed; None means not given. Environment variables that are empty count as not given.
    """
    found = project.find(cwd)
    layers = [
        *_user_values(),
        *(() if found is None else _file_values(found.path, found.values)),
        *_variables(env),
        *_options(flags),
    ]
    values: dict[str, Any] = {}
    origins = {key.field: DEFAULT for key in KEYS}
    for given in layers:
        values[given.key.field] = given.read()
        origins[given.key.field] = given.origin
    return Settings(
        **values,
        origins=MappingProxyType(origins),
        project=None if found is None else found.folder,
    )


@dataclass(frozen=True, slots=True)
class _Given:
    key: Key
    value: object
    origin: str
    shown: str
    status: int | None = None

    def read(self) -> object:
        try:
            return self.key.read(self.value)
        except ValueError as exc:
            raise SettingsError(f"{self.shown}: must be {exc}", status=self.status) from exc


def _user_values() -> Iterator[_Given]:
    path = platformdirs.user_config_path("womm") / CONFIG_NAME
    if path.is_absolute() and path.is_file():
        values = project.read_toml(path)
        values.pop("version", None)
        yield from _file_values(path, values)


def _file_values(path: Path, values: Mapping[str, object]) -> Iterator[_Given]:
    seen: dict[str, str] = {}
    for written, value in values.items():
        key = _BY_NAME.get(written.replace("_", "-"))
        if key is None:
            near = difflib.get_close_matches(written.replace("_", "-"), _BY_NAME, 1)
            hint = f"did you mean {near[0]}?" if near else "the keys: " + ", ".join(_BY_NAME)
            raise SettingsError(f"{path}: there is no setting {written!r}", hint)
        if key.name in seen:
            raise SettingsError(f"{path}: {seen[key.name]} and {written} are the same setting")
        seen[key.name] = written
        yield _Given(key, value, str(path), f"{path}: {written} = {_toml(value)}")


def _variables(env: Mapping[str, str]) -> Iterator[_Given]:
    for key in KEYS:
        value = env.get(key.variable)
        if value:
            yield _Given(key, value, key.variable, f"{key.variable}={value}")


def _options(flags: Mapping[str, object]) -> Iterator[_Given]:
    for name, value in flags.items():
        key = _BY_NAME[name.replace("_", "-")]
        if value is not None:
            yield _Given(key, value, key.option, f"{key.option} {value}", USAGE_STATUS)


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def _whole(least: int) -> Callable[[object], int]:
    expected = f"a whole number, {least} or more"

    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value, re.ASCII):
            value = int(value)
        if type(value) is not int or not least <= value < 10**9:
            raise ValueError(expected)
        return value

    return read


_DURATION_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Longer than any task, and far from what time and poll functions cannot take.
_LONGEST_S: Final = 3650 * 86400.0


def parse_duration(value: object) -> float:
    """Read `90s`, `5m`, `1h30m`, `30d` or a number of seconds, more than 0; raises ValueError."""
    seconds = 0.0
    if type(value) in {int, float}:
        seconds = float(str(value))
    elif isinstance(value, str):
        text = value.replace(" ", "")
        parts = re.findall(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)", text, re.ASCII)
        if parts and "".join(map("".join, parts)) == text:
            seconds = sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)
        elif re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", text, re.ASCII):
            seconds = float(text)
    if not 0 < seconds <= _LONGEST_S:
        raise ValueError("a time such as 90s, 5m or 1h30m, or a number of seconds")
    return seconds


_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*(?:([kKMGTPE])(i?))?", re.ASCII)
_POWERS: Final = {"k": 1, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}


def parse_size(value: object) -> int:
    """Read `512Mi`, `1GiB`, `100M` or a number of bytes; raises ValueError."""
    if type(value) is int and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip().removesuffix("B")) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a size such as 512Mi, 1GiB or a number of bytes")
    number, power, binary = match.groups()
    factor = (1024 if binary else 1000) ** _POWERS[power] if power else 1
    return int(Fraction(number) * factor)


def cpu_millis(quantity: str) -> int:
    """Return a Kubernetes quantity of CPU in thousandths of one; raises ValueError."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?|\.[0-9]{1,9})(m?)", quantity, re.ASCII)
    millis = Fraction(0)
    if match is not None:
        millis = Fraction(match[1]) * (1 if match[2] else 1000)
    # The API server refuses what is finer than 1m.
    if millis <= 0 or millis.denominator != 1:
        raise ValueError("a number of CPUs such as 2, 0.5 or 500m")
    return int(millis)


def mem_bytes(quantity: str) -> int:
    """Return a Kubernetes quantity of memory in bytes; raises ValueError."""
    match = _SIZE.fullmatch(quantity)
    unit = (match[2] or "") + (match[3] or "") if match is not None else ""
    # Kubernetes knows k and Ki, but neither K nor ki.
    if match is None or unit in {"K", "ki"} or " " in quantity or parse_size(quantity) == 0:
        near = re.sub(r"(?i)([kmgtpe])(ib?|b)?$", lambda found: found[1].upper() + "i", quantity)
        also = f" (did you mean {near}?)" if near != quantity and _SIZE.fullmatch(near) else ""
        raise ValueError(f"an amount of memory such as 512Mi or 16Gi{also}")
    return parse_size(quantity)


def format_cpu(millis: int) -> str:
    """Return the shortest Kubernetes quantity: `4`, `1500m`."""
    return f"{millis}m" if millis % 1000 else str(millis // 1000)


def format_mem(size_bytes: int) -> str:
    """Return a Kubernetes quantity with the largest unit that divides it: `512Mi`, `2Gi`."""
    for unit, factor in (("Ei", 1 << 60), ("Pi", 1 << 50), ("Ti", 1 << 40), *_SMALL_UNITS):
        if size_bytes and size_bytes % factor == 0:
            return f"{size_bytes // factor}{unit}"
    return str(size_bytes)


_SMALL_UNITS: Final = (("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10))


def _cpu(value: object) -> str:
    text = str(value).strip() if type(value) in {int, float, str} else ""
    cpu_millis(text)
    return text


def _mem(value: object) -> str:
    text = str(value).strip() if type(value) in {int, str} else ""
    mem_bytes(text)
    return text


def _program(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("the name or path of a shell")
    return value


KEYS: Final = (
    Key("kube-pods", "kube_pods", _whole(1), "pods to dispatch jobs to"),
    Key("local-procs", "local_procs", _whole(0), "local jobslots in addition"),
    Key("procs-per-pod", "procs_per_pod", _whole(1), "jobslots per pod"),
    Key("kube-cpu", "kube_cpu", _cpu, "CPUs to reserve per pod"),
    Key("kube-mem", "kube_mem", _mem, "memory to reserve per pod"),
    Key("orphan-timeout", "orphan_timeout_s", parse_duration, "life of an agent left alone"),
    Key("ready-timeout", "ready_timeout_s", parse_duration, "wait for the first pod"),
    Key("stdin-cap", "stdin_cap_bytes", parse_size, "limit of what is kept of a job's stdin"),
    Key("stdin-memory", "stdin_memory_bytes", parse_size, "how much of that is kept in memory"),
    Key("log-job", "log_job_bytes", parse_size, "kept output per job and stream"),
    Key("log-task", "log_task_bytes", parse_size, "kept output per task, compressed"),
    Key("shell", "shell", _program, "the shell that runs job lines"),
)
_BY_NAME: Final = {key.name: key for key in KEYS}
