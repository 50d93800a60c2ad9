"""Large files and many files on a lazy share, on a real kernel: working directories that people have."""

import hashlib
import os
import subprocess

import pytest

from tests.soak import count

pytestmark = pytest.mark.slow

FOUR_GIB = 4 << 30
MARKS = (0, FOUR_GIB - 3, FOUR_GIB + 300_000_000)


def test_file_over_4_gib_is_read_written_and_cut(guest, share):
    lazy = share()
    with open(lazy.top / "big", "wb") as file:
        for at in MARKS:
            file.seek(at)
            file.write(b"mark %d" % at)
    size = os.stat(lazy.top / "big").st_size
    lazy.mount(guest)
    for at in MARKS:
        text = f"mark {at}"
        assert guest.run(f"head -c {len(text)} <(tail -c +{at + 1} /mnt/a/big)").out == text
    guest.run(
        f"""
        cd /mnt/a; [ $(stat -c %s big) = {size} ]
        printf over | dd of=big bs=1 seek={FOUR_GIB - 2} conv=notrunc status=none
        printf end >> big; truncate -s {FOUR_GIB + 1} cut; printf cut >> cut; sync big cut
        """
    )
    assert lazy.user.ask("flush")["ok"]
    with open(lazy.top / "big", "rb") as file:
        file.seek(FOUR_GIB - 3)
        assert file.read(5) == b"mover"
        file.seek(size)
        assert file.read() == b"end"
    with open(lazy.top / "cut", "rb") as file:
        file.seek(FOUR_GIB)
        assert file.read() == b"\0cut"
    assert os.stat(lazy.top / "cut").st_blocks < 10_000  # what was not written is a hole


FILL = f"""
cat > /tmp/fill.py <<'P'
import hashlib, random, sys
rnd, found = random.Random(4), hashlib.sha256()
with open(sys.argv[1], "wb") as file:
    for _ in range({(FOUR_GIB >> 20) + 100}):
        data = rnd.randbytes(1 << 20)
        found.update(data)
        file.write(data)
print(found.hexdigest())
P
python3 /tmp/fill.py /mnt/a/full
"""


@pytest.mark.soak
def test_file_over_4_gib_of_a_job_is_whole_in_the_folder(guest, share):
    lazy = share()
    lazy.mount(guest)
    made = guest.run(FILL, 3600)
    assert lazy.user.ask("flush")["ok"]
    with open(lazy.top / "full", "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == made.out.strip()


LIST = r"find . -type f -printf '%p %s %m %T@\n' | LC_ALL=C sort | sha256sum"
PLACES = 97 * 13


def _place(number):
    """A quarter of the files is in one directory, the others in many."""
    return f"all/f{number}" if number % 4 == 0 else f"d{number % 97}/e{number % 13}/f{number}"


def test_tree_of_200_000_files_is_seen_whole_and_its_changes_too(guest, share):
    files = count(3_000, 200_000)
    lazy = share()
    for number in range(files):
        path = lazy.top / _place(number)
        if number < 4 * PLACES:
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"%d" % number * (number % 5))
    lazy.mount(guest)

    def same():
        here = subprocess.run(["bash", "-c", LIST], cwd=lazy.top, check=True, capture_output=True, text=True)
        assert guest.run(f"cd /mnt/a; {LIST}", 1800).out == here.stdout

    same()
    changed = []
    for number in range(0, files, files // 20):
        path = lazy.top / _place(number)
        path.write_text("longer than before")
        new = path.with_name(f"new{number}")
        new.touch()
        gone = lazy.top / _place(number + 1)
        gone.unlink(missing_ok=True)
        changed += [path, new, gone]
    # What the user's side has seen is told before a job starts, and looked at by the agent.
    lazy.user.ask("changed", paths=[str(path.relative_to(lazy.top)) for path in changed])
    guest.run(
        "".join(f"stat /mnt/a/{path.relative_to(lazy.top)} > /dev/null 2>&1\n" for path in changed),
        check=False,
    )
    same()
    guest.run(
        "cd /mnt/a/all; ls -U > /tmp/names; head -n 100 /tmp/names | xargs rm; echo more > more; sync more"
    )
    assert lazy.user.ask("flush")["ok"]
    same()
    print(f"the server has {lazy.server.rss_bytes() >> 20} MiB")
    assert lazy.server.rss_bytes() < 512 << 20
