"""What pods see of a machine, and that it is all that they see."""

import asyncio
import errno
import os
import stat
import threading

import pytest

from tests.fileserver.client import content, names
from tests.fileserver.lazy import Lazy
from tests.share.programs.machines import FILES, PROGRAMS, SECRET, TOKEN, make_machine, view
from tests.soak import count
from womm.fileserver import sftp
from womm.here.programs import Programs, Root
from womm.share.programs.mounts import Mounts
from womm.share.programs.view import ProgramsFolder
from womm.wire.attributes import NewAttributes, read_stat
from womm.wire.extensions import (
    Access,
    Get,
    Got,
    Hardlink,
    Lsetstat,
    Mknod,
    PosixRename,
    Put,
    Rows,
    Stats,
    Tree,
)
from womm.wire.fields import U32, string
from womm.wire.sftp import Disposition, Kind


@pytest.fixture
def machine(tmp_path):
    return make_machine(tmp_path / "machine")


@pytest.fixture
def seen(machine):
    said: list[str] = []
    folder = view(machine, said)
    folder.said = said
    yield folder
    folder.close()


def everything(folder):
    """All paths that a recursive listing shows, with their modes."""
    packed, whole = folder.tree(b"", 10000)
    assert whole
    found = {}
    for entry in packed:
        size = int.from_bytes(entry[:4], "big")
        found[entry[4 : 4 + size]] = read_stat(entry, 4 + size)[0]
    return {name: attributes for name, attributes in found.items() if not name.endswith(b"/.")}


def test_pods_see_programs_and_the_way_to_them_and_nothing_else(seen):
    shown = everything(seen)
    assert sorted(shown) == [
        b"bin",
        b"etc",
        b"etc/hostname",
        b"etc/hosts",
        b"etc/passwd",
        b"etc/resolv.conf",
        b"etc/ssl",
        b"etc/ssl/certs",
        b"etc/ssl/certs/ca.pem",
        b"home",
        b"home/u",
        b"home/u/conda",
        b"home/u/conda/bin",
        b"home/u/conda/bin/python",
        b"usr",
        b"usr/bin",
        b"usr/bin/su",
        b"usr/bin/tool",
        b"usr/lib",
        b"usr/lib/away",
        b"usr/lib/broken",
        b"usr/lib/lib.so.1",
        b"usr/lib/lib.so.1.2",
        b"usr/lib/out",
        b"usr/local",
        b"usr/local/etc",
        b"usr/local/etc/tool.conf",
        b"usr/share",
    ]
    modes = {name: stat.S_IMODE(found.mode) for name, found in shown.items()}
    assert (modes[b"usr/bin/tool"], modes[b"usr/bin/su"], modes[b"home/u"]) == (0o755, 0o755, 0o755)
    for name in shown:
        assert seen.lstat(name).st_ino == shown[name].ino, name
    assert seen.said == ["pods do not see /usr/share/keys.p12: it looks like a secret (key store)"]


def test_directories_on_the_way_tell_neither_owner_nor_times(seen, machine):
    if os.getuid() == 0:
        os.chown(machine / "home/u", 1234, 1234)
    for path in (b"home/u", b"home", b"etc", b""):
        found = seen.lstat(path)
        fd = seen.open_directory(path)
        assert seen.fstat(fd, path) == found
        os.close(fd)
        assert (found.st_uid, found.st_gid, found.st_size) == (0, 0, 0)
        assert found.st_atime_ns == found.st_mtime_ns == found.st_ctime_ns == 0
        assert found.st_ino == (machine / os.fsdecode(path)).stat().st_ino  # which one it is


@pytest.mark.parametrize(
    "path",
    [
        b"usr/lib/private",
        b"usr/lib/private/key",
        b"usr/lib/mine",
        b"usr/lib/fifo",
        b"usr/share/keys.p12",
        b"home/u/.ssh",
        b"home/u/.ssh/id_ed25519",
        b"etc/shadow",
        b"etc/ssl/private/ca.pem",
        b"outside",
        b"usr/none",
    ],
)
def test_what_is_hidden_is_not_there_for_any_request(seen, path):
    for look in (
        seen.lstat,
        seen.readlink,
        seen.open_directory,
        lambda path: seen.get(path, 0, 100),
        lambda path: seen.access(path, os.R_OK),
        lambda path: seen.seek(path, 0, True),
        lambda path: seen.tree(path, 10),
    ):
        with pytest.raises(FileNotFoundError):
            look(path)


def test_the_first_hidden_path_of_each_kind_is_told(seen):
    secret = b"usr/local/etc/tool.conf"
    for path in (b"usr/lib/mine", b"usr/lib/private/key", secret, secret):
        with pytest.raises(FileNotFoundError):
            seen.get(path, 0, 100)
    assert seen.said == [
        "pods do not see /usr/lib/mine: not every user of this machine may read it (chmod o+rX shows it)",
        "pods do not see /usr/local/etc/tool.conf: it looks like a secret (GitHub token)",
    ]
    assert b"usr/local/etc/tool.conf" not in everything(seen)


def test_placeholders_are_empty_whatever_is_there(seen, machine):
    for name in (b"etc/hosts", b"etc/hostname", b"etc/resolv.conf"):
        found = seen.lstat(name)
        assert (found.st_mode, found.st_size) == (stat.S_IFREG | 0o644, 0)
        got = Got.read(seen.get(name, 0, 100), 0)
        assert (got.data, got.at_end, got.stat.ino) == (b"", True, found.st_ino)


def test_symbolic_links_are_shown_and_lead_nowhere(seen):
    assert seen.readlink(b"bin") == b"usr/bin"
    assert seen.readlink(b"usr/lib/out") == b"../../outside"
    assert seen.readlink(b"usr/lib/broken") == b"nowhere"
    for path in (b"bin/tool", b"usr/lib/away/id_ed25519", b"usr/lib/out"):
        with pytest.raises(OSError) as caught:
            seen.get(path, 0, 100)
        assert caught.value.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR), path


def test_a_root_of_its_users_alone_is_not_shown(machine):
    (machine / "home/u/conda").chmod(0o700)
    folder = view(machine)
    assert not folder.shows(b"home/u/conda") and folder.shows(b"usr")
    folder.close()


def test_what_is_no_disk_is_hidden():
    folder = view("/", programs=Programs((Root("/var", "kind", "why"),)))
    assert folder.shows(b"var/lib")
    folder._mounts._known[os.stat("/var/lib").st_dev] = True
    assert not folder.shows(b"var/lib")
    folder.close()


def test_a_file_that_becomes_private_or_secret_is_hidden_from_then_on(seen, machine):
    file = machine / "home/u/conda/bin/python"
    assert Got.read(seen.get(b"home/u/conda/bin/python", 0, 100), 0).data == b"python\n"
    file.write_text(TOKEN)
    with pytest.raises(FileNotFoundError):
        seen.get(b"home/u/conda/bin/python", 0, 100)
    file.write_text("python\n")
    assert seen.get(b"home/u/conda/bin/python", 0, 100)
    file.chmod(0o600)
    with pytest.raises(FileNotFoundError):
        seen.get(b"home/u/conda/bin/python", 0, 100)


async def test_hostile_requests_read_and_change_nothing(machine, place):
    before = {path: os.lstat(path) for path in machine.rglob("*")}
    said: list[str] = []
    async with Lazy(machine, place, export=lambda fence: view(fence, said)) as lazy:
        session = lazy.link.session()
        new = NewAttributes(size=0, permissions=0o777, force=True)
        for path in (b"usr/bin/tool", b"usr/bin/new", b"etc/passwd", b"outside", b"/../outside"):
            for request in (
                session.extended(Put(path, 31, 0, b"x", new)),
                session.extended(Lsetstat(path, new)),
                session.extended(PosixRename(path, b"usr/bin/x")),
                session.extended(PosixRename(b"usr/bin/tool", path)),
                session.extended(Hardlink(path, b"usr/bin/x")),
                session.extended(Mknod(path, 0o644 | stat.S_IFIFO)),
                session.open(path, Disposition.OPEN_OR_CREATE, write=True, mode=0o666, force=True),
                session.open(path, Disposition.TRUNCATE_EXISTING, write=False),
                session.open(path, Disposition.OPEN_EXISTING, write=False),
                session.remove(path),
                session.rmdir(path),
                session.send(Kind.MKDIR, string(path), new.pack()),
                session.send(Kind.SETSTAT, string(path), new.pack()),
                session.send(Kind.LINK, string(path), string(b"/outside"), b"\1"),
                session.extended(Access(path, os.W_OK)),
            ):
                kind, _ = reply = await request
                with pytest.raises(OSError):
                    sftp.as_done(reply)
                assert kind == Kind.STATUS
        hidden = [name.encode() for name, text in FILES.items() if text in (SECRET, TOKEN)]
        for path in (
            *hidden,
            b"usr/../outside",
            b"/outside",
            b"../outside",
            b"usr/bin/../../outside",
            b"usr\0x",
        ):
            for request in (
                session.extended(Get(path, 0, 100)),
                session.extended(Tree(path, 10)),
                session.extended(Rows(path, 10)),
                session.send(Kind.OPENDIR, string(path)),
                session.send(Kind.READLINK, string(path)),
            ):
                kind, packet = await request
                assert SECRET.encode() not in packet and TOKEN.encode() not in packet, path
                assert kind == Kind.STATUS or path == b"etc/hosts", path
        found, _ = sftp.as_names(await session.extended(Stats(tuple(hidden))))
        assert [name for name, _ in found] == [b"etc/hosts"]
        # A handle of a directory opens no file.
        handle = sftp.as_handle(await session.send(Kind.OPENDIR, string(b"usr")))
        for kind in (Kind.READ, Kind.WRITE):
            with pytest.raises(OSError):
                sftp.as_data(await session.send(kind, string(handle), bytes(8), U32.pack(10)))
        # A file server that means no harm reads all of it.
        usr = await lazy.fs.lookup(lazy.fs.root(), b"usr")
        lib = await lazy.fs.lookup(usr, b"lib")
        assert b"private" not in await names(lazy.fs, lib)
        assert await content(lazy.fs, await lazy.fs.lookup(lib, b"lib.so.1.2")) == b"library\n"
    changed = [path for path, found in before.items() if os.lstat(path).st_mtime_ns != found.st_mtime_ns]
    assert not changed and before.keys() == set(machine.rglob("*"))


async def test_a_mount_that_is_dead_holds_up_nothing_else_and_not_the_end(machine, place, tmp_path):
    gate = threading.Event()
    (tmp_path / "mountinfo").write_text("26 22 0:42 / /usr/share rw - nfs4 server:/share rw\n")

    class Dead(ProgramsFolder):
        def get(self, path, offset, most):
            if path.startswith(b"usr/share/"):
                gate.wait(60)
            return super().get(path, offset, most)

    def export(fence):
        return Dead(fence, PROGRAMS, Mounts(str(tmp_path / "mountinfo")), print)

    try:
        async with asyncio.timeout(30), Lazy(machine, place, export=export) as lazy:
            session = lazy.link.session()
            hung = [asyncio.ensure_future(session.extended(Get(b"usr/share/x", 0, 9))) for _ in range(50)]
            await asyncio.sleep(0)
            kind, _ = await session.extended(Get(b"usr/bin/tool", 0, 100))
            assert kind == Kind.EXTENDED_REPLY and not any(one.done() for one in hung)
            for one in hung:
                one.cancel()
        assert not gate.is_set()
    finally:
        gate.set()


def test_no_race_of_links_and_directories_leads_out(seen, machine):
    """A user of this machine swaps a directory for a link, and a file for one, while pods read."""
    inside, link, spare = machine / "usr/lib/swap", machine / "usr/lib/link", machine / "usr/lib/spare"
    inside.mkdir(mode=0o755)
    (inside / "id_ed25519").write_text("harmless\n")
    (inside / "id_ed25519").chmod(0o644)
    link.symlink_to(machine / "home/u/.ssh")
    ended = threading.Event()

    def swap():
        while not ended.is_set():
            os.rename(inside, spare)
            os.rename(link, inside)
            os.rename(inside, link)
            os.rename(spare, inside)

    swapper = threading.Thread(target=swap)
    swapper.start()
    read = 0
    try:
        for _ in range(count(2000, 100_000)):
            try:
                got = seen.get(b"usr/lib/swap/id_ed25519", 0, 100)
            except OSError:
                continue
            assert SECRET.encode() not in got
            read += 1
    finally:
        ended.set()
        swapper.join()
    assert read
