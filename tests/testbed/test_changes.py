"""What counts as a change, how it is shown, and the perl program that looks."""

import subprocess

import pytest

from tests.secrets.planting import made
from womm.errors import ImageError
from womm.secrets import scan
from womm.testbed import changes
from womm.testbed.changes import Changes, Facts, File, Reader
from womm.testbed.container import Change

START_S = 1_000_000
DIRECTORY = Facts("d", 0o755, 0, 4096, START_S + 5)
FILE = Facts("f", 0o644, 0, 10, START_S + 5)


def found(*listed: tuple[str, str, Facts]) -> Changes:
    facts = {path: facts for _, path, facts in listed}
    return changes.found([Change(kind, path) for kind, path, _ in listed], facts, START_S)


def test_folders_above_a_file_are_no_changes():
    seen = found(("C", "/usr", DIRECTORY), ("A", "/usr/x", DIRECTORY), ("A", "/usr/x/a", FILE))
    assert seen.files == (File("/usr/x/a", 10, "A"),)
    assert seen.folders == ("/usr/x",)


def test_folder_with_a_new_time_alone_is_nothing():
    assert found(("C", "/tmp", DIRECTORY)).nothing


def test_folder_with_other_rights_is_a_change():
    # chmod(2) leaves the time as it was in the image.
    seen = found(("C", "/srv", Facts("d", 0o700, 0, 4096, START_S - 100_000)))
    assert seen.files == (File("/srv", 0, "C", "d"),)


def test_new_empty_folder_is_a_change():
    seen = found(("A", "/data", DIRECTORY), ("A", "/data/in", DIRECTORY))
    assert [file.path for file in seen.files] == ["/data/in"]
    assert seen.folders == ("/data",)


def test_leftovers_of_shells_are_no_change_but_kept_in_mind():
    seen = found(
        ("C", "/root", DIRECTORY),
        ("A", "/root/.bash_history", FILE),
        ("A", "/root/.local", DIRECTORY),
        ("A", "/root/.local/share", DIRECTORY),
        ("A", "/root/.local/share/nano", DIRECTORY),
        ("A", "/root/.local/share/nano/search_history", FILE),
    )
    assert seen.nothing
    assert [file.path for file in seen.leftovers] == [
        "/root/.bash_history",
        "/root/.local/share/nano/search_history",
    ]


def test_removed_file_is_a_change():
    seen = found(("C", "/etc", DIRECTORY), ("D", "/etc/motd", FILE))
    assert seen.removed == ("/etc/motd",)
    assert not seen.nothing
    assert seen.lines() == ["removed: /etc/motd"]


def test_file_that_is_gone_meanwhile_has_no_size():
    assert found(("A", "/a", Facts("-", 0, 0, 0, 0))).size_bytes == 0


def test_lines_name_the_largest_folders_first():
    files = [File(f"/usr/lib/jq/{name}", 1000, "A") for name in "abc"]
    files += [File("/usr/bin/jq", 2_000_000, "A"), File("/a", 1, "A")]
    files += [File(f"/{name}/x/file", 0, "A") for name in "bcdefg"]
    assert Changes(files=tuple(files), removed=tuple(f"/r/{number}" for number in range(9))).lines() == [
        "/usr/bin              1 file  2 MB",
        "/usr/lib/jq          3 files  3 kB",
        "/                     1 file  1 B",
        "/b/x                  1 file  0 B",
        "/c/x                  1 file  0 B",
        "/d/x                  1 file  0 B",
        "and 3 other folders  3 files  0 B",
        "removed: /r/0, /r/1, /r/2, /r/3, /r/4, /r/5 and 3 more",
    ]


def test_name_from_the_image_does_nothing_to_the_terminal():
    assert "\x1b" not in "".join(Changes(files=(File("/a\x1b[2J/b", 1, "A"),), removed=("/\x1b[2J",)).lines())


def answer(paths) -> bytes:
    """Run look.pl here, as the testbed does."""
    result = subprocess.run(
        changes.program(), input=changes.questions(paths), capture_output=True, check=True
    )
    assert result.stderr == b""
    return result.stdout


def read(paths, data: bytes) -> tuple[Reader, dict[str, bytes]]:
    reader = Reader(paths)
    texts = {path: text for path, text, _ in reader.feed(data)}
    assert reader.complete
    return reader, texts


def test_perl_tells_sizes_and_sends_texts_with_a_secret(tmp_path):
    secret = ("password = " + made(20)).encode()
    files = {
        "plain": b"x" * 100,
        "telling": secret,
        "binary": b"\0" + secret,
        "large": secret + b"\n" * scan.LARGEST_TEXT,
        "address": b"http://me:word@host",
        ".netrc": b"nothing",
        "odd \n name": secret,
        "empty": b"",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("telling")
    paths = [str(tmp_path / name) for name in (*files, "folder", "link", "missing")]
    reader, texts = read(paths, answer(paths))
    assert [facts.size_bytes for facts in reader.facts[: len(files)]] == list(map(len, files.values()))
    assert "".join(facts.type for facts in reader.facts) == "f" * len(files) + "dl-"
    assert reader.facts[len(files)].mode == 0o750
    sent = {path.rpartition("/")[2] for path, text in texts.items() if text}
    assert sent == {"telling", "address", ".netrc", "odd \n name"}
    assert texts[str(tmp_path / "odd \n name")] == secret


def test_perl_knows_when_the_container_began():
    # Here it is process 1 of this machine or container.
    reader, _ = read([], answer([]))
    assert reader.start_s > 0


def test_answer_in_single_bytes_is_the_same():
    token = scan.keywords().index(b"token")
    data = b"100\nf 420 0 5 7 5\nhellod 493 0 1 7 0\nf 420 0 3 7 3 %d\na\nb" % token
    reader = Reader(["/a", "/b", "/c"])
    texts = [pair for byte in data for pair in reader.feed(bytes([byte]))]
    assert reader.complete
    assert texts == [("/a", b"hello", []), ("/c", b"a\nb", [b"token"])]
    assert reader.facts[1] == Facts("d", 493, 0, 1, 7)


@pytest.mark.parametrize(
    "data",
    [
        b"secret\n",
        b"1\nf 1 2 3\n",
        b"1\nf 420 0 1 7 1 999\n",
        b"1\nf 420 0 1 7 99999999\n",
        b"1\nf 420 0 1 7 -1\n",
        b"1\nf 420 0 1 7 0\nf 420 0 1 7 0\n",
        b"1\n" + b"x" * 300,
    ],
)
def test_garbled_answer_is_an_error_that_does_not_show_it(data):
    with pytest.raises(ImageError, match="does not tell what has changed") as caught:
        list(Reader(["/a"]).feed(data))
    assert "secret" not in caught.value.message


def test_cut_answer_is_not_complete():
    reader = Reader(["/a"])
    assert list(reader.feed(b"1\nf 420 0 5 7 5\nhel")) == []
    assert not reader.complete


@pytest.mark.slow
def test_look_tells_what_a_testbed_has_changed(beds):
    with beds.open(beds.bases.debian()) as testbed:
        assert changes.look(testbed).nothing

        def do(script: str) -> Changes:
            finished = testbed.run(["sh", "-c", script])
            assert finished.status == 0, finished.err
            return changes.look(testbed)

        assert do("touch /tmp/a && rm /tmp/a && echo ls > /root/.bash_history").nothing
        token = "ghp_" + made(36)
        found = do(
            f"mkdir -p /opt/app/empty && echo 'TOKEN = \"{token}\"' > /opt/app/main.py && chmod 700 /srv"
            " && head -c 1000000 /dev/zero > /opt/app/data && ln -s /etc/passwd /opt/link && rm /etc/issue"
        )
        assert [(file.path, file.type) for file in found.files] == [
            ("/opt/app/data", "f"),
            ("/opt/app/empty", "d"),
            ("/opt/app/main.py", "f"),
            ("/opt/link", "l"),
            ("/srv", "d"),
        ]
        assert found.removed == ("/etc/issue",)
        assert found.lines()[0].startswith("/opt/app  3 files  1 MB")
        assert {(finding.path, finding.line) for finding in found.findings} == {
            ("/opt/app/main.py", 1),
            ("/root/.bash_history", 1),
        }
        assert token not in repr(found) + "".join(found.lines())


@pytest.mark.slow
def test_look_without_perl_is_a_clear_error(beds):
    with beds.open() as testbed:
        testbed.run(["touch", "/a"])
        with pytest.raises(ImageError, match="does not tell what has changed"):
            changes.look(testbed)
