"""Requests whose answer is a stream of events: push, pull, build.

The status of the answer comes before the work is done, so errors come as events of the stream, and docker's
library raises none of them. Nothing limits the time between two events: a layer may take minutes to arrive
or to unpack. Leaving the block ends the request, and the engine drops the work.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import requests
from docker.errors import APIError, create_api_error_from_http_exception

from womm.image.daemon import NOT_DONE, Daemon, failed, words_of

Event: TypeAlias = Mapping[str, Any]
_CONNECT_S: Final = 30.0


@contextmanager
def events(
    daemon: Daemon,
    path: str,
    doing: str,
    *,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    data: Any = None,
) -> Iterator[Iterator[Event]]:
    """POST to a path of the engine's API; give the events of the answer as they come.

    doing: begins the message of an error, see daemon.failed. Raises ImageError, also while the events are
    read. A request that is refused gives one event, the error; error_of finds it.
    """
    api = daemon.client.api
    url = f"{api.base_url}/v{api.api_version}{path}"
    timeout = (_CONNECT_S, None)
    try:
        response = api.post(url, params=params, headers=headers, data=data, stream=True, timeout=timeout)
    except NOT_DONE as exc:
        raise failed(doing, exc) from exc
    with response:
        yield _read(response, doing)


def error_of(event: Event) -> str:
    """Return the error that an event tells; empty: none."""
    detail = event.get("errorDetail")
    message = detail.get("message") if isinstance(detail, Mapping) else None
    return str(message or event.get("error") or "")


def _read(response: Any, doing: str) -> Iterator[Event]:
    try:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.strip():
                event = json.loads(line)
                if isinstance(event, dict):
                    yield event
    except requests.HTTPError as exc:
        yield {"error": _words(exc)}
    except NOT_DONE as exc:
        raise failed(doing, exc) from exc


def _words(exc: requests.HTTPError) -> str:
    """Return what the engine says about a request that it refuses."""
    try:
        create_api_error_from_http_exception(exc)
    except APIError as found:
        return words_of(found)
    return words_of(exc)
