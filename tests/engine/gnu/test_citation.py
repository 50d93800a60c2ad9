"""GNU parallel's citation notice: shown once, on a terminal, until the promise is made."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from womm.engine.gnu.citation import NOTICE, PROMISE, ask, folders, promised, show_notice


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs Python on a terminal of its own, with `citation`; `home`: the user's."""

    home: Path

    def run(self, code: str, typed: bytes = b"", **env: str) -> tuple[int, str]:
        """Return the exit status and what is shown."""
        usual = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(self.home)}
        leader, follower = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-c", f"import os\nfrom womm.engine.gnu import citation\n{code}"],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            env={**usual, **env},
            start_new_session=True,
        ) as process:
            os.close(follower)
            os.write(leader, typed)
            shown = b""
            with suppress(OSError):  # the terminal's last user has gone
                while piece := os.read(leader, 1000):
                    shown += piece
        os.close(leader)
        return process.returncode, shown.decode().replace("\r\n", "\n")


@pytest.fixture
def terminal(tmp_path):
    (tmp_path / "home").mkdir()
    return Terminal(tmp_path / "home")


ROOT = Path(__file__).parents[3]
ASK = "raise SystemExit(citation.ask(os.environ))"


def test_folders_are_gnu_parallels_and_the_last_is_written_to():
    """parallel(1): $PARALLEL_HOME, then the XDG folder, then ~/.parallel."""
    assert folders({"HOME": "/h"}) == [Path("/h/.config/parallel"), Path("/h/.parallel")]
    given = {"HOME": "/h", "XDG_CONFIG_HOME": "/x", "PARALLEL_HOME": "/p"}
    assert folders(given) == [Path("/p"), Path("/x/parallel"), Path("/h/.parallel")]
    assert folders({"XDG_CONFIG_HOME": "/x"}) == [Path("/x/parallel")]
    assert folders({}) == folders({"HOME": ""}) == []


@pytest.mark.parametrize("where", ["given", ".config/parallel", ".parallel"])
def test_promise_in_any_of_the_folders_counts(tmp_path, where):
    environ = {"HOME": str(tmp_path), "PARALLEL_HOME": str(tmp_path / "given")}
    assert not promised(environ)
    (tmp_path / where).mkdir(parents=True)
    assert not promised(environ)
    (tmp_path / where / "will-cite").touch()
    assert promised(environ)
    assert not promised({})


def test_notice_is_shown_on_a_terminal_once(terminal, tmp_path):
    shown = tmp_path / "state" / "womm" / "shown"
    code = f"from pathlib import Path\ncitation.show_notice(os.environ, Path({str(shown)!r}))"
    assert terminal.run(code) == (0, NOTICE)
    assert shown.exists()
    assert terminal.run(code) == (0, "")


def test_notice_where_it_cannot_be_remembered_is_shown_and_no_error(terminal):
    code = "from pathlib import Path\ncitation.show_notice(os.environ, Path('/dev/null/shown'))"
    assert terminal.run(code) == (0, NOTICE)
    (terminal.home / ".parallel").mkdir()
    (terminal.home / ".parallel" / "will-cite").touch()
    assert terminal.run(code) == (0, "")


def test_notice_without_a_terminal_is_not_shown(tmp_path, capsys):
    show_notice({}, tmp_path / "shown")
    assert capsys.readouterr().err == ""
    assert not (tmp_path / "shown").exists()


@pytest.mark.parametrize("typed", [b"will cite\n", b"WILL CITE\n", b"no\n\nI will cite it\n"])
def test_promise_is_asked_for_until_it_is_made_and_then_kept(terminal, typed):
    status, shown = terminal.run(ASK, typed)
    assert status == 0
    assert "@software{tange_2022_7347980," in shown
    assert shown.endswith("The notice is silenced; if it is for research, do cite.\n")
    assert shown.count("and press enter") == typed.count(b"\n")
    assert promised({"HOME": str(terminal.home)})
    assert (terminal.home / ".parallel" / "will-cite").exists()


def test_promise_goes_into_the_first_folder_that_is_there(terminal):
    folder = terminal.home / ".config" / "parallel"
    folder.mkdir(parents=True)
    assert terminal.run(ASK, b"will cite\n")[0] == 0
    assert (folder / "will-cite").exists()
    assert not (terminal.home / ".parallel").exists()


def test_promise_that_is_not_made_is_not_kept(terminal):
    status, _ = terminal.run(ASK, b"no\n\x04")
    assert status == 1
    assert not promised({"HOME": str(terminal.home)})


def test_promise_without_a_home_is_said_not_to_last(terminal):
    status, shown = terminal.run(ASK, b"will cite\n", HOME="")
    assert status == 1
    assert shown.endswith("womm: $HOME is not set: the promise cannot be remembered\n")


def test_citation_without_a_terminal_is_printed_and_nothing_asked(capsys, monkeypatch):
    with open(os.devnull) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert ask({}) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == NOTICE.splitlines()[0]
    assert "@software{" in printed.out
    assert repr(PROMISE) in printed.err
