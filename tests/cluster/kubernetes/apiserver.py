"""As much of an API server as a unit needs: it writes down requests and answers as the test says."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from womm.cluster.kubernetes.client import KubeClient, Target

NAMESPACE = "lab"


@dataclass
class ApiServer:
    """`requests` are (method, path with query, body). answer: gets such a one, returns (status, JSON)."""

    answer: Callable[[str, str, Any], tuple[int, Any]] = lambda method, path, body: (200, {})
    requests: list[tuple[str, str, Any]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        text = await request.text()
        one = request.method, request.path_qs, json.loads(text) if text else None
        self.requests.append(one)
        status, body = self.answer(*one)
        return web.json_response(body, status=status)


@asynccontextmanager
async def connected(server: ApiServer, folder: Path) -> AsyncIterator[KubeClient]:
    """A client of the server, closed at the end."""
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", server.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (address,) = runner.addresses
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{address[1]}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
        "current-context": "x",
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    client = await KubeClient.connect(Target(kubeconfig=str(path)), folder)
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()
