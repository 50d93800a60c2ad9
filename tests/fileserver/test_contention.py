"""Two kernels that replace, remove and lock what the other one uses, on a folder that is behind SSH."""

import pytest

from tests.soak import count

pytestmark = [pytest.mark.slow, pytest.mark.timeout(count(600, 7200))]

REPLACER = r"""
cat > /tmp/replace.py <<'P'
import os, sys
top, how = sys.argv[1:]
number = 0
while not os.path.exists(f"{top}/stop"):
    number += 1
    with open(f"{top}/f.tmp", "w") as file:
        file.write(f"{number}\n" * 3000)
    if how == "remove":
        try:
            os.unlink(f"{top}/f")
        except FileNotFoundError:
            pass
    os.rename(f"{top}/f.tmp", f"{top}/f")
print(number)
P
"""
READER = r"""
cat > /tmp/read.py <<'P'
import os, sys, time
top, opens, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
failed = []
missing = 0
done = 0
while done < opens:
    try:
        with open(f"{top}/f", "rb", buffering=0) as file:
            head = file.read(3)
            rest = b""
            while more := file.read(1 << 20):
                rest += more
    except FileNotFoundError:
        missing += 1
        if how == "replace":
            failed.append("missing")
        time.sleep(0.01)
        continue
    except OSError as exc:
        failed.append(str(exc))
        done += 1
        continue
    done += 1
    lines = (head + rest).split()
    if len(lines) != 3000 or len(set(lines)) != 1:
        failed.append(f"{len(lines)} lines, {len(set(lines))} versions")
open(f"{top}/stop", "w").close()
print(done, "opens", missing, "missing", len(failed), "failed", failed[:5])
sys.exit(bool(failed))
P
"""


@pytest.mark.parametrize("how", ["replace", "remove"])
def test_file_that_another_kernel_replaces_is_read_without_an_error(guest, other_guest, share, how):
    lazy = share()
    (lazy.top / "f").write_text("0\n" * 3000)
    for each in (guest, other_guest):
        lazy.mount(each)
    writer = guest.start(REPLACER + f"python3 /tmp/replace.py /mnt/a {how}")
    opens = count(50, 10_000)
    found = other_guest.run(READER + f"python3 /tmp/read.py /mnt/a {opens} {how}", 3600, check=False)
    replaced = writer.wait(600).out
    assert found.status == 0, (found.out, replaced)


LINKER = r"""
cat > /tmp/linker.py <<'P'
import os, sys, time
how, top, rounds, who = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
lock, own = f"{top}/lock", f"{top}/own-{who}"
open(own, "w").close()
take = {
    "link": lambda: os.link(own, lock),
    "create": lambda: os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY)),
}[how]
began, refused = time.monotonic(), 0
for _ in range(rounds):
    while True:
        try:
            take()
            break
        except FileExistsError:
            refused += 1
            time.sleep(0.001)
    with open(f"{top}/held", "x"):
        pass
    os.unlink(f"{top}/held")
    os.unlink(lock)
print(f"{rounds} rounds in {time.monotonic() - began:.1f} s, {refused} refused")
P
"""


@pytest.mark.parametrize("how", ["link", "create"])
def test_lock_between_two_kernels_goes_to_one_at_a_time(guest, other_guest, share, how):
    lazy = share()
    for each in (guest, other_guest):
        lazy.mount(each)
    rounds = count(15, 500)
    jobs = [
        each.start(LINKER + f"python3 /tmp/linker.py {how} /mnt/a {rounds} {number}")
        for number, each in enumerate((guest, other_guest))
    ]
    found = [job.wait(3600).out for job in jobs]
    assert not (lazy.top / "lock").exists() and not (lazy.top / "held").exists(), found
