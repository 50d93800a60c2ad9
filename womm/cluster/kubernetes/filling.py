"""Womm for the pods of a file server whose image has python3 alone: one exec into each pod brings the bundle.

The other end is womm/fileserver/bootstrap.py. A pod gets the bundle once: it lies in an emptyDir, where a
container that starts again finds it. An exec that is cut is made again, from the beginning. As with workers,
the first tries come before the watch says that the container runs (see early).
"""

import asyncio
import hashlib
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Final

from womm import words
from womm.cluster.base import Bundles, PodPython
from womm.cluster.kubernetes.early import TRY_AFTER_S
from womm.cluster.kubernetes.execs import Execs
from womm.cluster.kubernetes.file_server import FileServerPods
from womm.cluster.kubernetes.paths import FILL
from womm.cluster.kubernetes.removal import RETRY_DELAYS_S
from womm.cluster.kubernetes.share_manifests import FILE_SERVER
from womm.errors import ClusterError, ImageError
from womm.fileserver.bootstrap import GREETING

log = logging.getLogger(__name__)

HELLO_TIMEOUT_S: Final = 30.0
"""A first python3, of an image that no disk cache holds, with a tenth of a processor."""
STALL_S: Final = 60.0
"""The bootstrap tells of each 256 KiB."""
STARTING_S: Final = 10.0
"""A watch may say that a container runs before its runtime lets execs in."""
_NOT_YET: Final = re.compile(r"container (is )?not (found|created|running)|CONTAINER_CREATED")
_PYTHON: Final = re.compile(r"3\.\d{1,3}")
_MACHINE: Final = re.compile(r"\w[\w.-]{0,40}")
_LIBC: Final = re.compile(r"(glibc|musl) \d{1,9}(\.\d{1,9})+")
_OTHER_IMAGE: Final = "an image with CPython 3.11 or newer: --fileserver-python python:3.13-slim-bookworm"


class Filling:
    """Fills the pods of one file server, as long as `run` runs.

    image: for words. tell: is called when `server.reasons()` may be others. give_up: gets the reason why no
    pod will ever have womm, and what to type. starting_s: for so long a container that runs may not be found.
    """

    def __init__(
        self,
        server: FileServerPods,
        bundles: Bundles,
        execs: Execs,
        *,
        image: str,
        tell: Callable[[], None],
        give_up: Callable[[str, str], None],
        starting_s: float = STARTING_S,
    ) -> None:
        self._server = server
        self._bundles = bundles
        self._execs = execs
        self._image = image
        self._tell = tell
        self._give_up = give_up
        self._starting_s = starting_s
        self._begun: set[str] = set()
        self._runs_since: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<Filling {self._server!r}>"

    async def run(self) -> None:
        """Fill each pod that comes, for ever."""
        async with asyncio.TaskGroup() as group:
            while True:
                for name in self._server.without_womm:
                    if name not in self._begun:
                        self._begun.add(name)
                        group.create_task(self._fill(name), name=f"womm for {name}")
                await self._server.change()

    async def _fill(self, name: str) -> None:
        early, later = iter(TRY_AFTER_S), _delays()
        while name in self._server.without_womm:
            if not self._server.is_creating(name):
                self._runs_since.setdefault(name, asyncio.get_running_loop().time())
                delay_s = next(later)
            elif (found := next(early, None)) is not None:
                delay_s = found
            else:
                await self._server.change()
                continue
            await asyncio.sleep(delay_s)
            try:
                await self._send(name)
            except ImageError as exc:
                self._give_up(exc.message, exc.hint or "")
                return
            except (OSError, ClusterError) as exc:
                log.debug("%s has no womm yet: %r", name, exc)
            else:
                self._server.got_womm(name)
                self._tell()
        # An image that cannot be pulled yet, or a container that ends: `run` sees it come back.
        self._begun.discard(name)
        self._runs_since.pop(name, None)

    async def _send(self, name: str) -> None:
        """Bring womm into a pod. Raises ImageError when no pod of this image can have it, OSError."""
        talk = _Talk()
        dial = self._execs.dial(name, FILE_SERVER, lambda: name in self._server.without_womm, FILL)
        transport = await dial(lambda: talk)
        assert isinstance(transport, asyncio.WriteTransport)
        try:
            python = self._python(await talk.line(HELLO_TIMEOUT_S))
            if python is None:
                return
            data = await self._bundle(python)
            size_mb = len(data) / 1e6
            self._say(f"it gets womm, {size_mb:.1f} MB")
            transport.write(b"%s %d\n" % (hashlib.sha256(data).hexdigest().encode(), len(data)))
            transport.write(data)
            while (told := await talk.line(STALL_S)) != "filled":
                word, _, rest = told.partition(" ")
                if word != "got" or not rest.isdecimal():
                    raise OSError(rest or told)
                self._say(f"it gets womm, {int(rest) / 1e6:.1f} of {size_mb:.1f} MB")
            log.debug("%s has womm: %d bytes", name, len(data))
        except OSError as exc:
            if not (_NOT_YET.search(str(exc)) and self._is_starting(name)):
                self._say(f"it cannot get womm yet: {words.cause(exc)}")
            raise
        finally:
            transport.abort()

    def _is_starting(self, name: str) -> bool:
        since = self._runs_since.get(name)
        return since is None or asyncio.get_running_loop().time() - since < self._starting_s

    async def _bundle(self, python: PodPython) -> bytes:
        """Return the bundle for a pod. It may have to be made; that ends soon after a cancellation."""
        loop, stop = asyncio.get_running_loop(), threading.Event()
        text = f"womm is made ready for its Python {python.version}"

        def making() -> None:
            loop.call_soon_threadsafe(self._say, text)

        def provide() -> bytes:
            return self._bundles.provide(python, making=making, stop=stop).read_bytes()

        try:
            return await asyncio.to_thread(provide)
        finally:
            stop.set()  # the loop's end waits for the thread

    def _python(self, hello: str) -> PodPython | None:
        """Read what the bootstrap begins with. None: the pod has womm."""
        if not hello.startswith(GREETING):
            raise OSError("the bootstrap speaks another language")
        try:
            about = json.loads(hello.removeprefix(GREETING))
            python = PodPython(str(about["python"]), str(about["machine"]), str(about["libc"]))
            wrong, has = str(about["wrong"]), bool(about["has"])
        except (ValueError, TypeError, KeyError) as exc:
            raise OSError("the bootstrap speaks another language") from exc
        if not wrong and not has:
            # They become a file's name and pip's arguments.
            if not (_PYTHON.fullmatch(python.version) and _MACHINE.fullmatch(python.machine)):
                raise OSError("the bootstrap speaks another language")
            if not _LIBC.fullmatch(python.libc):
                wrong = "its C library is neither glibc nor musl"
        if wrong:
            raise ImageError(f"{self._image} cannot run the file server: {words.line(wrong)}", _OTHER_IMAGE)
        return None if has else python

    def _say(self, text: str) -> None:
        self._server.getting = text
        self._tell()


def _delays() -> Iterator[float]:
    """The pauses before tries at a container that runs; the first is made at once."""
    yield 0
    yield from RETRY_DELAYS_S
    while True:
        yield RETRY_DELAYS_S[-1]


class _Talk(asyncio.Protocol):
    """The lines that an exec prints."""

    def __init__(self) -> None:
        self._reader = asyncio.StreamReader()
        self._why = "the exec has ended"

    def data_received(self, data: bytes) -> None:
        self._reader.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._why = str(exc or self._why)
        self._reader.feed_eof()

    async def line(self, timeout_s: float) -> str:
        """Return the next line. Raises OSError."""
        try:
            async with asyncio.timeout(timeout_s):
                line = await self._reader.readline()
        except TimeoutError as exc:
            raise OSError(f"no answer in {timeout_s:.0f} s") from exc
        except ValueError as exc:
            raise OSError("it sends a line that is too long") from exc
        if not line.endswith(b"\n"):
            raise OSError(self._why)
        return line.decode(errors="replace").strip()
