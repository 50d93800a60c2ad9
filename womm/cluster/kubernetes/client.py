"""One API server and one namespace: requests, lists, watches and execs with raw JSON.

Strategy: kubeconfig, credentials, TLS and proxies are the official client's (its asyncio part); its
typed models are left alone, since they cost 0.8 s of start-up and 15 times the decoding. Foreign
exceptions end here: callers see ClusterError, or ApiError when the API server itself said no.
"""

import asyncio
import json
import logging
import os
import socket
import ssl
import tempfile
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import urlencode

import aiohttp

import womm.cluster.kubernetes.lean  # noqa: F401 before all that follows

# isort: split
from kubernetes.aio.client.api_client import ApiClient

from womm import words
from womm.cluster.kubernetes import kubeconfig
from womm.cluster.kubernetes.advice import grant
from womm.cluster.kubernetes.channel import ExecTransport
from womm.cluster.kubernetes.manifests import Object
from womm.errors import ClusterError, TrustError
from womm.named import seal
from womm.trust import knows

log = logging.getLogger(__name__)

Query: TypeAlias = Sequence[tuple[str, str]]

REQUEST_TIMEOUT_S: Final = 30.0
PAGE: Final = 500
_GROUPS: Final = {
    "jobs": "/apis/batch/v1",
    "deployments": "/apis/apps/v1",
    "replicasets": "/apis/apps/v1",
}
"""API groups of the collections that are not in the core group."""
WATCH_S: Final = 300
WATCH_SILENT_S: Final = 150.0
"""The API server sends a bookmark a minute: a watch without a byte for this long is half open."""
APPLY: Final = "application/apply-patch+yaml"
MERGE: Final = "application/merge-patch+json"
STRATEGIC_MERGE: Final = "application/strategic-merge-patch+json"
FIELD_MANAGER: Final = "womm"
_KEEP_ALIVE: Final = (
    ("TCP_KEEPIDLE", 30),
    ("TCP_KEEPINTVL", 10),
    ("TCP_KEEPCNT", 3),
    ("TCP_USER_TIMEOUT", 120_000),
)
"""Socket options of a connection that may be silent for long (tcp(7)). Systems lack some of them."""
_EXEC_PROTOCOL: Final = "v5.channel.k8s.io"

# asyncio keeps a buffer of this size for each TLS connection. Its own 256 KiB were most of the memory that a
# connected pod takes, and no faster. A TLS record has 16 KiB.
sslproto.SSLProtocol.max_size = 32768


class ApiError(ClusterError):
    """The API server refused a request. `code` is the HTTP status, `reason` its one word for it."""

    def __init__(self, message: str, code: int, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """Which cluster: as kubectl's options of these names. Empty: as the kubeconfig says.

    seal: of a kubeconfig that a project's file names (womm.named): with another one it is not read.
    """

    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""
    seal: str = ""


class KubeClient:
    """Made by `connect`, ended by `close`. For one event loop."""

    def __init__(self, target: Target, folder: Path | None) -> None:
        self._target = target
        self._api: ApiClient | None = None
        self._former: list[ApiClient] = []
        self._loading = asyncio.Lock()
        self._files = tempfile.TemporaryDirectory(prefix="womm-kube-", dir=folder)
        self.context = target.context
        self.namespace = target.namespace
        self.host = ""

    @property
    def target(self) -> Target:
        """The way here, also after another context has become the current one."""
        return Target(
            self.context,
            self.namespace,
            self._target.kubeconfig or os.environ.get("KUBECONFIG", ""),
            self._target.seal,
        )

    def __repr__(self) -> str:
        return f"<KubeClient {self.context or 'in cluster'} {self.namespace}>"

    @classmethod
    async def connect(cls, target: Target, folder: Path | None = None) -> "KubeClient":
        """Read the credentials; nothing is sent yet. Raises ClusterError.

        Keys that the kubeconfig holds are files in `folder` (the system's for such, without) until `close`.
        """
        client = cls(target, folder)
        try:
            await client._load()
        except BaseException:
            await client.close()
            raise
        return client

    async def close(self) -> None:
        for api in (*self._former, *([self._api] if self._api else [])):
            await api.close()
        self._former, self._api = [], None
        self._files.cleanup()

    @property
    def is_closed(self) -> bool:
        return self._api is None

    def collection(self, kind: str) -> str:
        """Return the path of a kind of object (`pods`, `jobs`, ...) in the namespace."""
        return f"{_GROUPS.get(kind, '/api/v1')}/namespaces/{self.namespace}/{kind}"

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: Object | None = None,
        content_type: str = "application/json",
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Object:
        """One request; returns the JSON answer. Raises ApiError, ClusterError."""
        data = None if body is None else json.dumps(body)
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        response = await self._send(method, path, query, timeout, data=data, content_type=content_type)
        async with _answering(response):
            answer: Object = await self._answer(response)
        return answer

    async def list(
        self, path: str, *, labels: str = "", fields: str = "", page: int = PAGE
    ) -> tuple[list[Object], str]:
        """Return all objects of a collection and the resource version to watch from."""
        items: list[Object] = []
        token = ""
        while True:
            query = [("limit", str(page)), *_selectors(labels, fields)]
            if token:
                query.append(("continue", token))
            try:
                answer = await self.request("GET", path, query=query)
            except ApiError as exc:
                if exc.code == 410 and token:  # it took longer than the token lives: from the start
                    items, token = [], ""
                    continue
                raise
            items += answer.get("items") or []
            token = answer["metadata"].get("continue") or ""
            if not token:
                return items, answer["metadata"]["resourceVersion"]

    async def watch(
        self, path: str, version: str, *, labels: str = "", fields: str = ""
    ) -> AsyncIterator[tuple[str, Object]]:
        """Yield (ADDED | MODIFIED | DELETED | BOOKMARK, object) until the server ends the stream.

        Raises ApiError with code 410 when `version` is too old: list again.
        """
        query = [
            ("watch", "1"),
            ("resourceVersion", version),
            ("allowWatchBookmarks", "true"),
            ("timeoutSeconds", str(WATCH_S)),
            *_selectors(labels, fields),
        ]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_S, sock_read=WATCH_SILENT_S)
        response = await self._send("GET", path, query, timeout)
        async with _answering(response):
            if response.status != 200:
                await self._answer(response)
            try:
                rest = b""
                async for piece in response.content.iter_any():
                    *lines, rest = (rest + piece).split(b"\n") if b"\n" in piece else (rest + piece,)
                    for line in lines:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise _api_error(event["object"].get("code", 500), event["object"])
                        yield event["type"], event["object"]
            except (aiohttp.ClientError, OSError, ValueError) as exc:
                log.debug("watch of %s cut: %r", path, exc)

    async def log(self, pod: str, container: str, *, follow: bool) -> AsyncIterator[bytes]:
        """Yield what a container has printed, in pieces. Raises ClusterError."""
        path = f"{self.collection('pods')}/{pod}/log"
        query = [("container", container), *([("follow", "true")] if follow else [])]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_S)
        response = await self._send("GET", path, query, timeout)
        async with _answering(response):
            if response.status != 200:
                await self._answer(response)
            try:
                async for piece in response.content.iter_any():
                    yield piece
            except (aiohttp.ClientError, OSError) as exc:
                raise self._unreachable(exc) from exc

    async def exec(
        self,
        pod: str,
        container: str,
        command: Sequence[str],
        factory: Callable[[], asyncio.BaseProtocol],
    ) -> "ExecTransport":
        """Run a command in a container; its stdin and stdout are the protocol's. Raises OSError.

        Source: remotecommand protocol v5.channel.k8s.io (KEP-4006): one channel number before each
        message, a message (255, channel) closes one of them.
        """
        path = f"{self.collection('pods')}/{pod}/exec"
        query = [
            ("container", container),
            *(("command", word) for word in command),
            *((stream, "true") for stream in ("stdin", "stdout", "stderr")),
        ]
        for last in (False, True):
            api = self._client()
            _, url, headers, _, _ = await self._serialize("GET", path, query)
            try:
                websocket = await _session(api).ws_connect(
                    "ws" + url.removeprefix("http"),
                    protocols=(_EXEC_PROTOCOL,),
                    headers=headers,
                    proxy=api.configuration.proxy,
                    server_hostname=api.configuration.tls_server_name,
                    max_msg_size=0,
                    autoping=True,
                )
            except aiohttp.WSServerHandshakeError as exc:
                if exc.status == 401 and not last:
                    await self._load_again(api)
                    continue
                raise OSError(f"exec in {pod} refused: {exc.status} {exc.message}") from exc
            except (aiohttp.ClientError, TimeoutError, ssl.SSLError) as exc:
                raise OSError(f"exec in {pod}: {_words(exc)}") from exc
            if websocket.protocol != _EXEC_PROTOCOL:
                await websocket.close()
                raise OSError(f"the API server does not speak {_EXEC_PROTOCOL} (Kubernetes 1.30 does)")
            _keep_alive(websocket)
            return ExecTransport(websocket, factory())
        raise AssertionError

    # ---- within

    def _client(self) -> ApiClient:
        if self._api is None:
            raise ClusterError("the connection to the cluster has been closed")
        return self._api

    async def _load(self) -> None:
        """Read the credentials."""
        _check_seal(self._target)
        found = await kubeconfig.load(
            self._target.kubeconfig, self._target.context, Path(tempfile.mkdtemp(dir=self._files.name))
        )
        self.context = found.context
        self.namespace = self._target.namespace or found.namespace
        self.host = found.configuration.host
        try:
            self._api = ApiClient(found.configuration)
            _session(self._api)  # reads keys and certificates
        except (OSError, ValueError) as exc:  # ssl.SSLError is one
            raise ClusterError(
                f"the key or certificate of context {self.context} cannot be used: {words.cause(exc)}"
            ) from exc

    async def _load_again(self, old: ApiClient) -> None:
        """The API server knows the credentials of `old` no more: they may have expired.

        Its connections go on: each has shown its credentials when it was made.
        """
        async with self._loading:
            if self._api is not old:
                return  # somebody else was first
            self._former.append(old)
            log.debug("reading the credentials again")
            await self._load()

    async def _serialize(
        self, method: str, path: str, query: Query, content_type: str = "application/json"
    ) -> tuple[str, str, dict[str, str], Any, Any]:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        result: tuple[str, str, dict[str, str], Any, Any] = await self._client().param_serialize(
            method,
            f"{path}?{urlencode(list(query))}" if query else path,
            header_params=headers,
            auth_settings=["BearerToken"],
        )
        return result

    async def _send(
        self,
        method: str,
        path: str,
        query: Query,
        timeout: aiohttp.ClientTimeout,
        *,
        data: str | None = None,
        content_type: str = "application/json",
    ) -> aiohttp.ClientResponse:
        for last in (False, True):
            api = self._client()
            _, url, headers, _, _ = await self._serialize(method, path, query, content_type)
            try:
                response = await _session(api).request(
                    method,
                    url,
                    data=data,
                    headers=headers,
                    timeout=timeout,
                    proxy=api.configuration.proxy,
                    server_hostname=api.configuration.tls_server_name,
                )
            except (aiohttp.ClientError, OSError) as exc:
                raise self._unreachable(exc) from exc
            if response.status != 401 or last:
                return response
            response.release()
            await self._load_again(api)
        raise AssertionError

    async def _answer(self, response: aiohttp.ClientResponse) -> Object:
        try:
            text = await response.read()
            answer = json.loads(text) if text else {}
        except (aiohttp.ClientError, OSError) as exc:
            raise self._unreachable(exc) from exc
        except ValueError:
            answer = {"message": text.decode(errors="replace").strip()[:200]}
        if response.status >= 400:
            raise _api_error(response.status, answer if isinstance(answer, dict) else {})
        assert isinstance(answer, dict)
        return answer

    def _unreachable(self, exc: BaseException) -> ClusterError:
        option = f" --context {self.context}" if self.context else ""
        return ClusterError(
            f"cannot reach the cluster at {self.host}: {_words(exc)}", f"kubectl{option} cluster-info"
        )


def _check_seal(target: Target) -> None:
    """Raises ClusterError for a kubeconfig that has changed, unless the user has accepted that, too."""
    if not target.seal:
        return
    path = target.kubeconfig
    try:
        found = seal(path)
    except TrustError as exc:
        raise ClusterError(exc.message, exc.hint) from exc
    if found != target.seal and not knows(found):
        raise ClusterError(
            f"the kubeconfig {path}, or a program that it names, has changed since you accepted it",
            "womm trust",
        )


@asynccontextmanager
async def _answering(response: aiohttp.ClientResponse) -> AsyncIterator[None]:
    """Let go of the connection at the end. One whose answer was not read to its end is of no more use:
    to say good-bye over TLS, and wait for the answer, would outlive the event loop."""
    try:
        yield
    finally:
        connection = response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        response.close()


def _session(api: ApiClient) -> aiohttp.ClientSession:
    rest = api.rest_client
    if rest.pool_manager is None:
        rest.pool_manager = rest._create_pool_manager()
    session: aiohttp.ClientSession = rest.pool_manager
    return session


def _keep_alive(websocket: aiohttp.ClientWebSocketResponse) -> None:
    """Have the kernel notice that the other side is out of reach, also when nothing is sent."""
    connection = websocket.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE:
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _selectors(labels: str, fields: str) -> list[tuple[str, str]]:
    given = (("labelSelector", labels), ("fieldSelector", fields))
    return [(name, value) for name, value in given if value]


def _api_error(code: int, status: Object) -> ApiError:
    """An API server's Status object (or what a proxy said instead) as an exception."""
    message = str(status.get("message") or f"the API server answers {code}")
    reason = str(status.get("reason") or "")
    hint = None
    if code == 401:
        hint = "kubectl auth whoami"
    elif code == 403 and "is forbidden: User" in message:
        hint = grant(message)
    return ApiError(message, code, reason, hint)


def _words(exc: BaseException) -> str:
    if isinstance(exc, TimeoutError):
        return "no answer"
    return words.cause(exc)
