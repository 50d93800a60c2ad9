"""One event is one line of JSON.

Strategy: a line is an ASCII JSON object whose first key is `event`, the kind, so that a reader can leave out
kinds it does not need by a prefix test on bytes (`JOB_PREFIX`). The other keys are the field names; the end
of a job leaves out fields that have their default value. A reader ignores unknown keys and unknown kinds.
Text that is not UTF-8 was decoded with surrogateescape; JSON's escapes carry the surrogates.

Each job encodes two events while it runs: those have hand-written encoders, twice as fast as the json module.
"""

import json
import operator
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from womm.journal.events import EVENT_TYPES, Event, JobEnded, JobStarted, OutputRef

# Starts every line of a job, and no other line.
JOB_PREFIX = b'{"event":"job_'


# Values are flat and built here: there is no circle to look for.
_to_json = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_quoted = json.encoder.encode_basestring_ascii


def encode(event: Event) -> bytes:
    """Encode as one line, newline included."""
    if type(event) is JobEnded:
        return _encode_job_ended(event).encode("ascii")
    if type(event) is JobStarted:
        return (
            f'{{"event":"job_started","time":{event.time!r},"job":{event.job},"seq":{_number(event.seq)},'
            f'"attempt":{event.attempt},"pod":{_quoted(event.pod)},"instance":{event.instance},'
            f'"command":{_quoted(event.command)}}}\n'
        ).encode("ascii")
    values: dict[str, object] = {"event": event.KIND}
    for field in _FIELDS[type(event)]:
        values[field.name] = getattr(event, field.name)
    return _to_json(values).encode("ascii") + b"\n"


def _encode_job_ended(event: JobEnded) -> str:
    rest = ""
    if event.out is not None:
        rest += f',"out":{_to_json(_ref_values(event.out))}'
    if event.err is not None:
        rest += f',"err":{_to_json(_ref_values(event.err))}'
    if event.replayed:
        rest += ',"replayed":true'
    if event.reason:
        rest += f',"reason":{_quoted(event.reason)}'
    return (
        f'{{"event":"job_ended","time":{event.time!r},"job":{event.job},"seq":{_number(event.seq)},'
        f'"attempt":{event.attempt},"pod":{_quoted(event.pod)},"exit":{event.exit},"signal":{event.signal},'
        f'"out_bytes":{event.out_bytes},"err_bytes":{event.err_bytes},"utime_us":{event.utime_us},'
        f'"stime_us":{event.stime_us},"maxrss_kib":{event.maxrss_kib},"started":{event.started!r}{rest}}}\n'
    )


def _number(value: int | None) -> int | str:
    return "null" if value is None else value


def _ref_values(ref: OutputRef) -> dict[str, object]:
    values: dict[str, object]
    if ref.inline is not None:
        values = {"inline": ref.inline, "size": ref.size}
    else:
        values = {"offset": ref.offset, "length": ref.length, "size": ref.size}
    if ref.cut:
        values["cut"] = True
    return values


# json.loads without its checks, which take half as long again as a short line.
_from_json = json.JSONDecoder().raw_decode
_LINE_ENDS = frozenset(("", "\n"))


def decode(line: bytes) -> Event | None:
    """Decode one line, with or without its newline; None for a kind of a newer womm and for
    garbage.
    """
    try:
        text = str(line, "utf-8")
        values, end = _from_json(text)
    except (ValueError, RecursionError):
        return None
    if type(values) is not dict or text[end:] not in _LINE_ENDS:
        return None
    kind = values.get("event")
    decoder = _DECODERS.get(kind) if type(kind) is str else None
    if decoder is None:
        return None
    try:
        return decoder(values)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _str(value: object) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _int(value: object) -> int:
    if type(value) is not int:
        raise TypeError
    return value


def _float(value: object) -> float:
    if type(value) is float:
        return value
    return float(_int(value))


def _bool(value: object) -> bool:
    if type(value) is not bool:
        raise TypeError
    return value


def _words(value: object) -> tuple[str, ...]:
    if type(value) is not list:
        raise TypeError
    return tuple(_str(word) for word in value)


def _optional_str(value: object) -> str | None:
    return None if value is None else _str(value)


def _optional_int(value: object) -> int | None:
    return None if value is None else _int(value)


# What most jobs write to stderr.
_EMPTY = OutputRef(inline="")
_EMPTY_VALUES = {"inline": "", "size": 0}


def _ref(value: object) -> OutputRef | None:
    if value is None or type(value) is OutputRef:
        return value
    if type(value) is not dict:
        raise TypeError
    if value == _EMPTY_VALUES:
        return _EMPTY
    return OutputRef(
        _optional_str(value.get("inline")),
        _int(value.get("offset", 0)),
        _int(value.get("length", 0)),
        _int(value.get("size", 0)),
        _bool(value.get("cut", False)),
    )


_READERS: dict[object, Callable[[object], Any]] = {
    str: _str,
    int: _int,
    float: _float,
    bool: _bool,
    tuple[str, ...]: _words,
    str | None: _optional_str,
    int | None: _optional_int,
    OutputRef | None: _ref,
}


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    read: Callable[[object], Any]
    default: object  # dataclasses.MISSING where there is none: no reader accepts it


_FIELDS: dict[type[Event], tuple[_Field, ...]] = {
    event_type: tuple(_Field(field.name, _READERS[field.type], field.default) for field in fields(event_type))
    for event_type in EVENT_TYPES
}


def _decoder(event_type: type[Event]) -> Callable[[dict[str, Any]], Event]:
    """Return what builds an event of the values of a line.

    Types are checked field by field only the first time that a combination of types is seen: a
    journal of 100,000 jobs has three or four of them.
    """
    table = _FIELDS[event_type]
    defaults = [(field.name, field.default) for field in table]
    refs = [field.name for field in table if field.read is _ref]
    exact: set[tuple[type, ...]] = set()

    def decode_values(values: dict[str, Any]) -> Event:
        for name in refs:
            if name in values:
                values[name] = _ref(values[name])
        raw = [values.get(name, default) for name, default in defaults]
        types = tuple(map(type, raw))
        if types in exact:
            return event_type(*raw)
        read = [field.read(value) for field, value in zip(table, raw, strict=True)]
        if all(map(operator.is_, read, raw)):
            exact.add(types)
        return event_type(*read)

    return decode_values


_DECODERS: dict[str, Callable[[dict[str, Any]], Event]] = {
    event_type.KIND: _decoder(event_type) for event_type in EVENT_TYPES
}
