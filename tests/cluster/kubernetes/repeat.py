"""Doing harm at random instants while a task runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def again_and_again(work: Callable[[], None], every_s: Callable[[], float]) -> Iterator[None]:
    """Do something now and then, in a thread, while the block lasts; what it raises comes out here."""
    stop = threading.Event()
    problems: list[BaseException] = []

    def loop() -> None:
        while not stop.wait(every_s()):
            try:
                work()
            except BaseException as exc:
                problems.append(exc)
                return

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if problems:
        raise problems[0]
