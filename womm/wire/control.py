"""The control channel: the user's side says what has changed there, and asks for what was written here.

Lines of JSON in both directions, one message each; paths are relative, as os.fsdecode makes text of them.

    user -> server  {"id":1,"op":"changed","paths":["a/b"],"all":false}
                    {"id":2,"op":"flush","seen":1}    seen: the last flush whose reply has come
                    {"id":3,"op":"stats"}   {"id":4,"op":"finish","timeout":40}
                    {"id":5,"op":"owner","uid":1000,"gid":1000}    the user to whom all files belong
                    and those of womm.wire.ahead
    server -> user  {"op":"hello","epoch":"hex","version":2,"whole":true,"generation":1,"change":1}
                    and a reply {"id":N,"ok":true,...} to each

These have no id, and no reply: the names to which the server has given numbers, and how many of them the
user's side has; and for a server that is not `whole` the same lines back, and an end.

    server -> user  {"op":"names","number":1,"rows":[[directory,"name",fileid,kind,dev,ino],
                                                     [directory,"gone"]]}
    user -> server  {"op":"seen","number":1}
                    {"op":"names",...} {"op":"names",...} {"op":"adopted","generation":1,"change":1,"dev":1}

Nor has a message about the files that have bytes to be sent: after a hello it has all, later the changes.
`more` is how many are not named. The reply to a `flush` comes after the message about what it has sent.

    server -> user  {"op":"unsent","files":[[fileid,"a/b"]],"sent":[],"more":0,"whole":true}
                    {"op":"unsent","files":[],"sent":[fileid],"more":0}

Each message is a class here. `encode_` makes a line of it, with its end; `decode_` takes a line without its
end, and raises BadMessage for all that is no message. A field that nobody knows is left out. A request that
nobody knows is Unknown: it is answered by Refused. What else nobody knows is Unknown, too, and of no matter.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Protocol, Self, TypeVar

from womm.wire.ahead import AskUse, Pin, Prefetch
from womm.wire.fields import BadMessage
from womm.wire.lines import Facts, as_integer, as_path, decode_line, encode_line, path_texts

VERSION: Final = 2
_MOST_ID: Final = 0xFFFFFFFE
"""Of users and groups: the next number says that there is none (chown(2))."""
_MOST_INODE: Final = (1 << 64) - 1

NameRow = tuple[int, bytes, int, int, int, int] | tuple[int, bytes]
"""A name: its directory, and which file is there (fileid, kind, device, inode); or that none is there."""
Json = dict[str, object]


class Message(Protocol):
    OP: ClassVar[str]

    def facts(self) -> Json: ...


class Reply(Protocol):
    """What answers one kind of request."""

    @property
    def ok(self) -> bool: ...
    def facts(self) -> Json: ...
    @classmethod
    def read(cls, facts: Facts) -> Self: ...


R = TypeVar("R", bound=Reply)


# -- requests of the user's side, and their replies --------------------------------------------
@dataclass(frozen=True, slots=True)
class Done:
    """Answers Changed."""

    ok: ClassVar = True

    def facts(self) -> Json:
        return {}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls()


@dataclass(frozen=True, slots=True)
class Changed:
    """These paths have changed on the user's side; `all`: anything may have."""

    OP: ClassVar = "changed"
    paths: tuple[bytes, ...]
    all: bool

    def facts(self) -> Json:
        return {"paths": path_texts(self.paths), "all": self.all}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.paths("paths"), facts.flag("all"))


@dataclass(frozen=True, slots=True)
class Written:
    """Answers Finish: bytes that were sent, and why a path is not on the user's disk."""

    size_bytes: int
    failed: Mapping[bytes, str]

    @property
    def ok(self) -> bool:
        return not self.failed

    def facts(self) -> Json:
        if self.failed:
            return {"failed": {os.fsdecode(path): why for path, why in self.failed.items()}}
        return {"bytes": self.size_bytes}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.integer("bytes", 0), facts.reasons("failed"))


@dataclass(frozen=True, slots=True)
class Flushed:
    """Answers Flush: what was written; the paths that clients have changed since the flush that the user's
    side has seen; and those of the failed ones that are not tried again."""

    written: Written
    changed: tuple[bytes, ...]
    lost: tuple[bytes, ...]

    @property
    def ok(self) -> bool:
        return self.written.ok

    def facts(self) -> Json:
        return {**self.written.facts(), "changed": path_texts(self.changed), "lost": path_texts(self.lost)}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(Written.read(facts), facts.paths("changed"), facts.paths("lost"))


@dataclass(frozen=True, slots=True)
class Flush:
    """Send all that clients have written. `seen`: the last flush whose reply has come."""

    OP: ClassVar = "flush"
    seen: int

    def facts(self) -> Json:
        return {"seen": self.seen}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.integer("seen", 0))


@dataclass(frozen=True, slots=True)
class Finish:
    """Send all, and wait so long for the NFS clients to leave."""

    OP: ClassVar = "finish"
    DEFAULT_TIMEOUT_S: ClassVar = 40.0
    timeout_s: float

    def facts(self) -> Json:
        return {"timeout": self.timeout_s}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.seconds("timeout", cls.DEFAULT_TIMEOUT_S))


@dataclass(frozen=True, slots=True)
class ShareStats:
    """Answers AskStats. Bytes since the server began: from the folder, from its cache, into the folder;
    what is not in the folder yet; how many reads; and the bytes of Prefetch: all of them, those that were
    read later, and those that were not read yet."""

    ok: ClassVar = True
    fetched: int
    cached: int
    written: int
    unwritten: int
    reads: int
    guessed: int = 0
    used: int = 0
    wasted: int = 0

    def facts(self) -> Json:
        return {name: getattr(self, name) for name in self.__match_args__}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(*(facts.integer(name, 0) for name in cls.__match_args__))


@dataclass(frozen=True, slots=True)
class AskStats:
    OP: ClassVar = "stats"

    def facts(self) -> Json:
        return {}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls()


@dataclass(frozen=True, slots=True)
class Owned:
    """Answers SetOwner: whether the files belonged to another user before."""

    ok: ClassVar = True
    changed: bool

    def facts(self) -> Json:
        return {"changed": self.changed}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.flag("changed"))


@dataclass(frozen=True, slots=True)
class SetOwner:
    """All files belong to this user from now on."""

    OP: ClassVar = "owner"
    uid: int
    gid: int

    def facts(self) -> Json:
        return {"uid": self.uid, "gid": self.gid}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.integer("uid", most=_MOST_ID), facts.integer("gid", most=_MOST_ID))


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of another version."""

    op: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Answers Unknown."""

    ok: ClassVar = False

    def facts(self) -> Json:
        return {"error": "unknown"}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls()


# -- messages without a reply ------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Hello:
    """The server's first words: which it is, and how far it has counted. `whole`: it has all names."""

    OP: ClassVar = "hello"
    epoch: str
    version: int
    whole: bool
    generation: int
    change: int

    def facts(self) -> Json:
        return {name: getattr(self, name) for name in self.__match_args__}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        epoch, version = facts.text("epoch"), facts.integer("version")
        if version != VERSION:  # its other fields may be of another type
            return cls(epoch, version, False, 0, 0)
        return cls(
            epoch,
            version,
            facts.flag("whole"),
            facts.integer("generation", 0),
            facts.integer("change", 0),
        )


@dataclass(frozen=True, slots=True)
class Names:
    """Changes of the server's table of names. `reset`: all rows before these are void."""

    OP: ClassVar = "names"
    number: int
    rows: Sequence[NameRow]
    reset: bool = False

    def facts(self) -> Json:
        rows = [(row[0], os.fsdecode(row[1]), *row[2:]) for row in self.rows]
        return {"number": self.number, "rows": rows, **({"reset": True} if self.reset else {})}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        rows = tuple(_row(item) for item in facts.items("rows"))
        return cls(facts.integer("number"), rows, facts.flag("reset"))


def _row(item: object) -> NameRow:
    match item:
        case [directory, name]:
            return as_integer(directory, "directory"), as_path(name)
        case [directory, name, fileid, kind, dev, ino]:
            return (
                as_integer(directory, "directory"),
                as_path(name),
                as_integer(fileid, "fileid"),
                as_integer(kind, "kind"),
                as_integer(dev, "dev", _MOST_INODE),
                as_integer(ino, "ino", _MOST_INODE),
            )
    raise BadMessage("no row of names")


@dataclass(frozen=True, slots=True)
class NamesHead:
    """Names as the user's side takes it: it keeps the line as it came, and does not read the rows."""

    number: int
    reset: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """The user's side has the Names up to this number."""

    OP: ClassVar = "seen"
    number: int

    def facts(self) -> Json:
        return {"number": self.number}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        return cls(facts.integer("number"))


@dataclass(frozen=True, slots=True)
class Adopted:
    """All Names of the servers before are here: begin. No server has counted as far as this one has to begin;
    `dev` is the device that the user's folder is on."""

    OP: ClassVar = "adopted"
    generation: int
    change: int
    dev: int

    def facts(self) -> Json:
        return {"generation": self.generation, "change": self.change, "dev": self.dev}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        dev = facts.integer("dev", most=_MOST_INODE)
        return cls(facts.integer("generation"), facts.integer("change"), dev)


@dataclass(frozen=True, slots=True)
class Unsent:
    """Files that have bytes to be sent, by their fileids, and those that have none any more. `more`: how many
    others have some. `whole`: these are all, whatever was said before."""

    OP: ClassVar = "unsent"
    files: Mapping[int, bytes]
    sent: tuple[int, ...]
    more: int
    whole: bool = False

    def facts(self) -> Json:
        files = [(fileid, os.fsdecode(name)) for fileid, name in self.files.items()]
        whole = {"whole": True} if self.whole else {}
        return {"files": files, "sent": list(self.sent), "more": self.more, **whole}

    @classmethod
    def read(cls, facts: Facts) -> Self:
        files = dict(_file(item) for item in facts.items("files"))
        sent = tuple(as_integer(item, "sent") for item in facts.items("sent"))
        return cls(files, sent, facts.integer("more"), facts.flag("whole"))


def _file(item: object) -> tuple[int, bytes]:
    match item:
        case [fileid, name]:
            return as_integer(fileid, "fileid"), as_path(name)
    raise BadMessage("no file")


# -- lines -------------------------------------------------------------------------------------
Request = Changed | Flush | AskStats | Finish | SetOwner | Pin | Prefetch | AskUse
ToServer = Request | Seen | Names | Adopted | Unknown


@dataclass(frozen=True, slots=True)
class FromUser:
    """A message of the user's side. `id`: the number that the reply has to have; None: there is no reply."""

    id: int | None
    what: ToServer


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, before it is known what it answers: see `decode_reply`."""

    id: int
    facts: Facts


def encode(message: Message) -> bytes:
    """Encode what has no reply."""
    return encode_line({"op": message.OP, **message.facts()})


def encode_request(number: int, request: Request) -> bytes:
    return encode_line({"id": number, "op": request.OP, **request.facts()})


def encode_reply(number: int, reply: Reply) -> bytes:
    return encode_line({"id": number, "ok": reply.ok, **reply.facts()})


def decode_from_user(line: bytes) -> FromUser:
    fields = decode_line(line)
    facts = Facts(fields)
    op = facts.text("op")
    if (told := _TOLD.get(op)) is not None:
        return FromUser(None, told.read(facts))
    request = _REQUESTS.get(op)
    # A new connection repeats whose the files are, and waits for no reply.
    number = None if request is SetOwner and "id" not in fields else facts.integer("id")
    return FromUser(number, Unknown(op) if request is None else request.read(facts))


def decode_from_server(line: bytes) -> Hello | NamesHead | Unsent | Answer | Unknown:
    fields = decode_line(line)
    facts = Facts(fields)
    op = fields.get("op")
    if op == Hello.OP:
        return Hello.read(facts)
    if op == Names.OP:
        return NamesHead(facts.integer("number"), facts.flag("reset"))
    if op == Unsent.OP:
        return Unsent.read(facts)
    if "id" in fields:
        return Answer(facts.integer("id"), facts)
    return Unknown(str(op))


def decode_reply(answer: Answer, kind: type[R]) -> R:
    """Return the reply to a request; `kind` is what answers it. Raises BadMessage."""
    return kind.read(answer.facts)


_REQUESTS: Final[dict[str, type[Request]]] = {
    kind.OP: kind for kind in (Changed, Flush, AskStats, Finish, SetOwner, Pin, Prefetch, AskUse)
}
_TOLD: Final[dict[str, type[Seen | Names | Adopted]]] = {kind.OP: kind for kind in (Seen, Names, Adopted)}
