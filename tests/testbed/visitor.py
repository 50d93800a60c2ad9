"""A program for the tests: a visit to a testbed as `womm setup` makes one, on the terminal that it is given.

It runs in a process of its own, and imports nothing of the tests. The environment says what is to be done:

VISIT_HOST, VISIT_IMAGE, VISIT_PROJECT: the engine, the image, the folder. VISIT_RESULT: the file for what
came of it, as JSON. VISIT_UID, VISIT_GROUP: the user that it becomes,
and another group of that user. VISIT_KEEP: the container stays. Its words are the
command; `left` alone: no visit, but what earlier ones have left.
"""

import dataclasses
import json
import os
import sys
import time
from pathlib import Path

from womm import signals
from womm.errors import WommError
from womm.image.bases import find
from womm.image.daemon import connect
from womm.image.endpoint import Endpoint
from womm.image.progress import Progress
from womm.testbed import ownership, shell_files
from womm.testbed.opening import opened
from womm.testbed.state import State
from womm.testbed.visit import left, visit


def say(text: str) -> None:
    print(text, file=sys.stderr)


def become(uid: int) -> None:
    """Become another user. What is imported late must be there before: the user may not read this python."""
    for name in ("bashrc", "shrc"):
        shell_files._resource(name)
    shell_files.start_script()
    with connect("docker", endpoints=[Endpoint(os.environ["VISIT_HOST"], "tests")]):
        os.setgroups([int(os.environ["VISIT_GROUP"])])
        os.setgid(uid)
        os.setuid(uid)


def main() -> int:
    signals.end_cleanly()
    env, command = os.environ, sys.argv[1:]
    project = Path(env["VISIT_PROJECT"])
    result: dict[str, object] = {}
    if env.get("VISIT_UID"):
        become(int(env["VISIT_UID"]))
    try:
        with connect("docker", endpoints=[Endpoint(env["VISIT_HOST"], "tests")]) as daemon:
            state = State.of(project)
            with state.locked():
                base = find(daemon, env["VISIT_IMAGE"], Progress(say))
                with opened(daemon, base, state, say=say) as testbed:
                    result["container"] = testbed.id
                    testbed.kept = bool(env.get("VISIT_KEEP"))
                    record = state.load()
                    if record.root_owned is None:
                        record = dataclasses.replace(record, root_owned=ownership.root_owned(project))
                        state.save(record)
                    try:
                        if command == ["left"]:
                            seen = left(testbed, state)
                        else:
                            seen = visit(testbed, state, command=command)
                        result |= dataclasses.asdict(seen)
                    finally:
                        begin = time.monotonic()
                        result["given"] = ownership.give_back(
                            testbed, project, record.root_owned or frozenset()
                        )
                        result["given_s"] = time.monotonic() - begin
                        state.save(dataclasses.replace(state.load(), root_owned=None))
                    result["changes"] = [change.path for change in testbed.changes()]
        return seen.status
    except WommError as exc:
        result["error"], result["hint"] = exc.message, exc.hint
        say(f"womm: {exc.message}")
        return exc.status
    finally:
        Path(env["VISIT_RESULT"]).write_text(json.dumps(result))


sys.exit(main())
