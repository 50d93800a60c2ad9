"""How engines and registries refuse a push or a pull, and what the user can do about each.

Engines pass on a sentence, with the registry's words in it or its HTTP status; there is no code to go by. So
the table below has the words of docker's engine (with its own and with containerd's store), of podman, and of
the registries behind them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from womm import words
from womm.errors import ImageError
from womm.image import daemon


class Doing(Enum):
    PUSH = "pushed"
    PULL = "pulled"
    LOOK = "looked up"


@dataclass(frozen=True, slots=True)
class Request:
    """What is done with an image at a registry."""

    doing: Doing
    name: str
    registry: str
    program: str
    """docker or podman: the program that keeps logins."""
    headers: Mapping[str, str] = field(repr=False)
    has_login: bool

    @property
    def failed(self) -> str:
        """Begin the message: `registry.example.org/x:1 cannot be pushed`."""
        return f"{words.name(self.name)} cannot be {self.doing.value}"

    @property
    def login(self) -> str:
        """Return the command that logs in."""
        return f"{self.program} login {self.registry}"


# In small letters.
_LOGIN: Final = re.compile(
    r"\b401\b|unauthorized|authentication required|no basic auth|incorrect username|expired"
)
_RIGHT: Final = re.compile(r"\b403\b|forbidden")
_DENIED: Final = re.compile(r"denied|insufficient_scope|authorization failed|may require")
_ABSENT: Final = re.compile(
    r"manifest unknown|name unknown|not known to registry|not found|does not exist|no such image|\b404\b"
)
_HERE: Final = re.compile(r"does not exist locally|no such image")
_OTHERS: Final = (
    (
        r"toomanyrequests|\b429\b|rate limit|quota|\b413\b|too large",
        "{registry} sets a limit",
        "{login}; or later the same command",
    ),
    (
        r"server gave http response to https client|does not look like a tls handshake",
        "{registry} speaks plain HTTP, and {program} wants HTTPS",
        '"insecure-registries": ["{registry}"] in /etc/docker/daemon.json; sudo systemctl restart docker',
    ),
    (
        r"x509|certificate",
        "{program} does not know the certificate of {registry}",
        "put the certificate of its authority into /etc/docker/certs.d/{registry}/ca.crt",
    ),
    (
        r"connection refused|no such host|no route to host|network is unreachable|i/o timeout"
        r"|handshake timeout|client\.timeout|deadline exceeded|name resolution|server misbehaving",
        "{registry} cannot be reached",
        "curl -sS {registry}/v2/; then the same command again",
    ),
    (
        r"connection reset|\beof\b|broken pipe|closed network connection",
        "the connection to {registry} has broken off",
        "the same command again sends only what is missing",
    ),
    (
        r"\b5\d\d\b|internal server error|bad gateway|unavailable|unknown error",
        "{registry} has failed",
        "later the same command again sends only what is missing",
    ),
)


def refused(request: Request, why: str) -> ImageError:
    """Return the error for what an engine or a registry has said."""
    # A name is no reason: `you/unauthorized:1`.
    text = why.replace(request.name.partition("@")[0].rpartition(":")[0] or request.name, "").lower()
    if daemon.is_disk_full(text):
        return daemon.disk_full(request.failed)
    if _LOGIN.search(text) or _DENIED.search(text) or _RIGHT.search(text):
        said, hint = _login_or_right(request, text)
    elif _ABSENT.search(text):
        said, hint = _absent(request, text)
    else:
        found = (template for pattern, *template in _OTHERS if re.search(pattern, text))
        said, hint = next(found, ("", "{program} info"))
    values = {"registry": request.registry, "program": request.program, "login": request.login}
    said = said.format_map(values)
    message = f"{request.failed}: {said} ({why})" if said else f"{request.failed}: {why}"
    return ImageError(message, hint.format_map(values))


def is_absent(why: str) -> bool:
    """Return whether the registry says plainly that it does not have the image."""
    text = why.lower()
    return bool(_ABSENT.search(text)) and "accept header" not in text  # it has it, of a kind that is not read


def is_hidden(why: str) -> bool:
    """Return whether the registry may say so of an image that nobody has pushed yet."""
    text = why.lower()
    return any(pattern.search(text) for pattern in (_ABSENT, _LOGIN, _RIGHT, _DENIED))


def _login_or_right(request: Request, text: str) -> tuple[str, str]:
    """Tell 401 and 403 apart; where there is no login, some registries say "denied" for both."""
    pushes = request.doing is Doing.PUSH
    no_right = f"you have no right to {'push' if pushes else 'pull'} there"
    if _RIGHT.search(text) or (request.has_login and not _LOGIN.search(text)):
        other = "another --prefix, or " if pushes else ""
        return no_right, f"{other}ask the owner of {{registry}} for the right"
    if request.has_login:
        return "{registry} does not accept the login that is kept for it", "{login}"
    if _LOGIN.search(text):
        return "{registry} wants a login", "{login}"
    if pushes:
        return f"{no_right}, at least without a login", "{login}; or another --prefix"
    return "{registry} has no such image, or wants a login", "{login}"


def _absent(request: Request, text: str) -> tuple[str, str]:
    if request.doing is not Doing.PUSH:
        return "there is no such image", "see how its name is spelled in its registry"
    if _HERE.search(text):
        return "it is not on this machine any more", "womm setup"
    # Some registries want a repository to be made first.
    return "{registry} has no such repository", "make it there, then the same command again"
