"""What a push or a pull shows: lines in a log, bars on a terminal, and a word when nothing moves."""

import functools
import os
import pty
import re
import select
import termios
import time

import pytest

from womm.image.progress import Progress


def at(name, status, current=0, total=0):
    detail = {"current": current, "total": total} if current else {}
    return {"id": name, "status": status, "progressDetail": detail}


PULL = [
    {"id": "12", "status": "Pulling from library/debian"},
    at("aaa", "Pulling fs layer"),
    at("bbb", "Pulling fs layer"),
    at("bbb", "Waiting"),
    at("aaa", "Downloading", 1_000_000, 30_000_000),
    at("aaa", "Downloading", 29_000_000, 30_000_000),
    at("aaa", "Verifying Checksum"),
    at("aaa", "Download complete"),
    at("aaa", "Extracting", 500_000, 30_000_000),
    at("aaa", "Pull complete"),
    {"id": "bbb", "status": "Already exists", "progressDetail": {}},
    {"status": "Digest: sha256:1234"},
]


def test_log_has_a_line_for_each_phase_and_not_for_each_event():
    said: list[str] = []
    progress = Progress(said.append)
    for event in PULL:
        progress.event(event)
    progress.close()
    assert said == [
        "12: Pulling from library/debian",
        "aaa: Downloading 1 MB/30 MB",
        "aaa: Extracting 500 kB/30 MB",
        "aaa: Pull complete",
        "bbb: Already exists",
        "Digest: sha256:1234",
    ]


def test_retries_are_one_line_and_not_one_for_each_second():
    said: list[str] = []
    progress = Progress(said.append)
    for left in (5, 4, 3, 2, 1):
        progress.event(at("aaa", f"Retrying in {left} seconds"))
    assert said == ["aaa: Retrying in 5 seconds"]


def test_output_of_a_build_comes_in_whole_lines():
    said: list[str] = []
    progress = Progress(said.append)
    for text in (
        "Step 1/2 : FROM ",
        "debian:12\n",
        " ---> 1234\n",
        "\n",
        " 10%\r \x1b[32m99%",
        "\x1b[0m\n",
        "end",
    ):
        progress.event({"stream": text})
    progress.event({"aux": {"ID": "sha256:1234"}})
    progress.close()
    assert said == ["Step 1/2 : FROM debian:12", " ---> 1234", " 99%", "end"]


@pytest.fixture
def terminal():
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (8, 60))
    settings = termios.tcgetattr(theirs)
    settings[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, settings)
    with os.fdopen(theirs, "w") as file:
        yield functools.partial(screen_of, ours, bytearray()), file
    os.close(ours)


def screen_of(fd, written):
    """Return the lines that stand on the screen: only what the bars use of a terminal is done."""
    while select.select([fd], [], [], 0.05)[0]:
        written += os.read(fd, 65536)
    lines, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[\d*[AKJ]|[\r\n]|[^\x1b\r\n]+", written.decode()):
        if part.endswith("A") and part[0] == "\x1b":
            row -= int(part[2:-1])
            assert row >= 0
        elif part == "\x1b[J":
            lines[row:] = [lines[row][:column]]
        elif part == "\x1b[K":
            lines[row] = lines[row][:column]
        elif part == "\r":
            column = 0
        elif part == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        else:
            assert column + len(part) < 60, "a line that is too long moves all others"
            lines[row] = lines[row][:column] + part + lines[row][column + len(part) :]
            column += len(part)
    return [line for line in lines if line]


def test_words_of_a_registry_do_nothing_to_a_terminal(terminal):
    screen, file = terminal
    said: list[str] = []
    for where in (None, file):
        progress = Progress(said.append, where)
        progress.event({"status": "\x1b[2Jgone"})
        progress.event({"id": "a\x1b]0;b", "status": "Pu\rshed"})
        progress.event({"id": 5, "status": ["no text"], "progressDetail": "none"})
        progress.close()
    assert said == ["\\x1b[2Jgone", "a\\x1b]0;b: Pu\\rshed", "\\x1b[2Jgone"]
    assert screen() == ["a\\x1b]0;b: Pu\\rshed"]


def test_terminal_has_a_bar_for_each_layer_in_its_place(terminal):
    screen, file = terminal
    progress = Progress(lambda text: print(f"womm: {text}", file=file, flush=True), file)
    for event in PULL[:5]:
        progress.event(event)
    time.sleep(0.11)  # bars move ten times a second
    progress.event(at("aaa", "Downloading", 15_000_000, 30_000_000))
    progress.event({"status": "a line between"})
    progress.event(at("bbb", "Downloading", 100, 0))
    assert screen() == [
        "womm: a line between",
        "12: Pulling from library/debian",
        "aaa: Downloading [=====>    ] 15 MB/30 MB",
        "bbb: Downloading 100 B",
    ]
    for event in PULL[5:]:
        progress.event(event)
    progress.close()
    progress.event(at("next", "Pushing", 1, 2))
    assert screen()[-4:] == [
        "12: Pulling from library/debian",
        "aaa: Pull complete",
        "bbb: Already exists",
        "next: Pushing [=====>    ] 1 B/2 B",
    ]


def test_layers_that_are_done_make_room_on_a_small_terminal(terminal):
    screen, file = terminal
    progress = Progress(lambda text: None, file)
    for number in range(20):
        progress.event(at(f"l{number}", "Pushed" if number < 15 else "Preparing"))
    assert screen() == [
        "l13: Pushed",
        "l14: Pushed",
        *(f"l{number}: Preparing" for number in range(15, 20)),
    ]


def test_terminal_that_is_gone_ends_the_bars_and_not_the_push(terminal):
    said: list[str] = []
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as file:
        os.close(ours)
        progress = Progress(said.append, file)
        progress.event(at("aaa", "Pushing", 1, 2))
        progress.event(at("aaa", "Pushed"))
    assert said == ["aaa: Pushed"]


def test_stall_is_told_again_only_when_it_has_doubled():
    said: list[str] = []
    progress = Progress(said.append, stall_s=0.1)
    with progress.watched("the.registry"):
        time.sleep(0.9)  # told after 0.1, 0.2, 0.4 and 0.8 s
    assert 1 <= len(said) <= 4
    assert said[0] == "nothing has moved for 0s: waiting for the.registry (Ctrl-C ends it)"
    with progress.watched("the.registry"):
        pass
    assert 1 <= len(said) <= 4
