"""This machine's programs where there are very many files, and on a node that has little memory."""

import os
import shutil
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.fileserver.lazy import write_secret
from tests.fileserver.process import FileServer, UserThread
from tests.nfs import uml
from tests.share.programs.machines import view
from womm.here.find import find_programs
from womm.here.programs import Programs, Root
from womm.here.roots import system
from womm.share.lazy.exported_folder import MOST_ROWS
from womm.share.lazy.ssh import TaskKeys

pytestmark = [pytest.mark.slow, pytest.mark.soak]

MIB = 1 << 20
PACKAGES = "lib/python3.12/site-packages"


@pytest.fixture
def serve(net, place):
    """Start a file server of programs with a user's side; what it gives has `server` and `mount`."""
    with ExitStack() as stack:

        def start(programs, said):
            keys = TaskKeys.make()
            secret = write_secret(place / "other", keys)
            paths = {"--programs": place / "p", "--programs-secret": secret, "--programs-cache": place / "c"}
            options = [str(word) for pair in paths.items() for word in pair]
            server = stack.enter_context(FileServer(place / "s", *options, prefix=net.command(), port=4998))
            user = UserThread("/", place / "p", lambda fence: view(fence, said, programs), keys)
            stack.callback(user.close)
            user.wait()

            def mount(guest, path, at):
                there = "/womm-" + (secret / "export").read_text() + path
                guest.mount(f"ro,port={server.port}", path=there, at=at)
                stack.callback(guest.run, f"umount {at} || umount -f -l {at}", 120, check=False)

            return SimpleNamespace(server=server, mount=mount)

        yield start


@pytest.fixture
def small_guest(net):
    with uml.Guest(net, memory="96M") as found:
        yield found


def memory(pid, what):
    """Return bytes of a line of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def conda():
    """The files of an environment, and its links: a name, and where it leads; a fifth of them is broken."""
    files = [f"conda-meta/p{n}-1.0-0.json" for n in range(400)]
    files += [f"bin/tool{n}" for n in range(1000)] + [f"lib/lib{n}.so.1.2" for n in range(1000)]
    files += [f"{PACKAGES}/p{n % 199}/m{n % 7}/f{n}.py" for n in range(55_000)]
    links = {f"lib/lib{n}.so": f"lib{n}.so.1.2" if n % 5 else f"gone{n}.so" for n in range(1000)}
    links |= {f"bin/link{n}": f"../lib/lib{n}.so" for n in range(1000)}
    links |= {f"{PACKAGES}/link{n}": f"p{n % 250}/m1" for n in range(600)}
    return files, links


def make(top, files, links):
    for folder in {os.path.dirname(name) for name in (*files, *links)}:
        os.makedirs(top / folder, exist_ok=True)
    for number, name in enumerate(files):
        (top / name).write_text(name * (number % 5))
    for name, target in links.items():
        os.symlink(target, top / name)


LIST = r"find . -type d -printf '%p\n' -o -printf '%p %y %Y %m %s %l\n' | LC_ALL=C sort | sha256sum"


def look(top):
    """A script: names that are there and that are not, and some files, before all of it is listed."""
    some = "find . -type f | LC_ALL=C sort | awk 'NR % 499 == 1'"
    found = subprocess.run(["bash", "-c", some], cwd=top, check=True, capture_output=True, text=True)
    names = found.stdout.split()
    assert len(names) > 100
    both = " ".join(f"{name} {name}.none" for name in names)
    return f"stat -c '%n %s' {both} 2> /dev/null || true; cat {' '.join(names)} | sha256sum; {LIST}"


def test_roots_of_very_many_files_are_seen_whole_in_bounded_memory(guest, serve, tmp_path):
    """One directory has more than one answer may have: its own row is one, too."""
    top = tmp_path / "machine"
    roots = {"flat": top / "flat", "tree": top / "tree", "conda": top / "home/me/conda"}
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, top, ignore_errors=True)
        make(roots["flat"], [f"f{n}" for n in range(MOST_ROWS)], {})
        make(roots["tree"], [f"d{n % 97}/e{n % 13}/f{n}" for n in range(100_000)], {})
        make(roots["conda"], *conda())
        paths = list(map(str, roots.values()))
        env = {"HOME": str(top / "home/me"), "PATH": f"{paths[2]}/bin:{paths[0]}:/usr/bin:/bin"}
        begin = time.monotonic()
        programs = find_programs(env, None, paths, named=paths[1:2])
        found_s = time.monotonic() - begin
        assert found_s < 60 and programs.env["PATH"] == env["PATH"]
        assert {root.path for root in programs.roots} >= set(paths)

        scripts = {name: look(root) for name, root in roots.items()}
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = memory("self", "VmRSS")
        said: list[str] = []
        served = serve(programs, said)
        begin = time.monotonic()
        for name, root in roots.items():
            served.mount(guest, str(root), f"/mnt/{name}")
        jobs = {name: guest.start(f"cd /mnt/{name}; {script}") for name, script in scripts.items()}
        seen = {name: job.wait(1800).out for name, job in jobs.items()}
        seen_s = time.monotonic() - begin
        user_bytes, server_bytes = memory("self", "VmHWM") - before, memory(served.server.pid, "VmHWM")
        print(f"\nfound in {found_s:.2f} s, seen in {seen_s:.0f} s; peaks: the server has")
        print(f"{server_bytes // MIB} MiB, the user's side has {user_bytes // MIB} MiB more than before")
        for name, root in roots.items():
            words = ["bash", "-c", f"set -eu -o pipefail; {scripts[name]}"]
            here = subprocess.run(words, cwd=root, check=True, capture_output=True, text=True)
            assert seen[name] == here.stdout, name
        assert not said
        assert server_bytes < 768 * MIB and user_bytes < 256 * MIB


PROGRAM = """
import hashlib, importlib, sys
sys.path.insert(0, sys.argv[1])
import asyncio, ctypes, decimal, email.message, multiprocessing, sqlite3, ssl, unittest, xml.dom.minidom
found = hashlib.sha256()
for number in range(32):
    module = importlib.import_module(f"large{number}")
    found.update(module.DATA)
    del sys.modules[module.__name__], module
print(found.hexdigest())
"""


def test_a_node_with_little_memory_imports_more_than_it_can_keep_twice(small_guest, serve, tmp_path):
    """Its kernel lets go of what it has read of the mount, and reads it again."""
    large = tmp_path / "large"
    large.mkdir()
    (large / "program.py").write_text(PROGRAM)
    for number in range(32):
        (large / f"large{number}.py").write_text(f'DATA = b"{os.urandom(2 * MIB).hex()}"\n')
    python = ["/usr/bin/python3", "-I", "-B", "-S"]
    subprocess.run([*python, "-m", "compileall", "-q", large], check=True)
    command = [*python, str(large / "program.py"), str(large)]
    right = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    roots, links = system()
    programs = Programs((*roots, Root(str(large), "conda", "")), tuple(links))
    served = serve(programs, [])
    for root in programs.roots:
        served.mount(small_guest, root.path, f"/mnt/p{root.path}")
    small_guest.run("".join(f"ln -sfn {target} /mnt/p{link}\n" for link, target in links))
    print("\n" + small_guest.run("head -n 3 /proc/meminfo").out)
    for _ in range(2):
        begin = time.monotonic()
        run = small_guest.run(f"env -i PATH=/usr/bin /usr/sbin/chroot /mnt/p {' '.join(command)}", 600)
        print(f"{time.monotonic() - begin:.1f} s")
        assert run.out == right
    told = small_guest.run("dmesg").out.lower()
    assert not any(word in told for word in ("out of memory", "oom-kill", "nfs: server"))
    print(f"the server has {memory(served.server.pid, 'VmHWM') // MIB} MiB at most")
