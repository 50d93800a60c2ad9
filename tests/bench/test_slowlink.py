"""The link that benchmarks slow down: how much it carries, how long it takes, and what it counts."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bench.run import environment, place
from bench.slowlink import SlowLink, slow_link

SIZE = 1_000_000


@contextmanager
def echo() -> Iterator[int]:
    """A server that answers with what it is sent, as often as somebody connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    while data := connection.recv(65536):
                        connection.sendall(data)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def link(tmp_path: Path) -> Iterator[SlowLink]:
    where = place(tmp_path, quick=True)
    where = replace(where, env=environment(tmp_path))
    config = tmp_path / "kubeconfig"
    with echo() as port:
        cluster = {"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}"}}
        config.write_text(yaml.safe_dump({"clusters": [cluster]}))
        with slow_link(where, config) as made:
            yield made


def there_and_back_s(link: SlowLink, data: bytes) -> float:
    (cluster,) = yaml.safe_load(link.kubeconfig.read_text())["clusters"]
    port = int(cluster["cluster"]["server"].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        began = time.monotonic()
        sender = threading.Thread(target=connection.sendall, args=(data,))
        sender.start()
        found = b""
        while len(found) < len(data):
            found += connection.recv(65536)
        took_s = time.monotonic() - began
        sender.join()
    assert found == data
    return took_s


def test_bytes_of_both_directions_are_counted(link: SlowLink) -> None:
    there_and_back_s(link, bytes(SIZE))
    assert link.passed() == (SIZE, SIZE)


def test_link_with_a_rate_carries_no_more(link: SlowLink) -> None:
    link.set(mb_per_s=4)
    assert there_and_back_s(link, bytes(SIZE)) > 0.9 * SIZE / 4e6


def test_link_with_a_round_trip_delays_small_and_large(link: SlowLink) -> None:
    link.set(round_trip_s=0.2)
    assert there_and_back_s(link, b"x") >= 0.2
    assert there_and_back_s(link, bytes(SIZE)) >= 0.2
