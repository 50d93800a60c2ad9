"""Calls with the errors and effects that POSIX gives them, as a table; run by root on a mounted directory.

    python3 posix.py DIR [--lazy]    says each row that is not as it should be; 1 if there is one

`--lazy`: what a lazy share leaves out by design (docs/fileserver.md). On a local disk all rows hold, too.
"""

# mypy: disable-error-code="redundant-expr,func-returns-value"
import errno
import fcntl
import mmap
import os
import stat
import sys
import time

LAZY = "--lazy" in sys.argv
LONG = "n" * 255
failures: list[str] = []


def fresh(name):
    """An empty directory to work in."""
    os.mkdir(name)
    os.chdir(name)


def make(path, content=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    os.write(fd, content)
    os.close(fd)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def close(fd):
    os.close(fd)


def errors():
    """(what is done, the error or None).

    `f` is a file, `d` a directory with `d/x` in it, `e` an empty one, `l` a link to f, `dangling` one to
    nothing, `loop` one to itself, `p` a FIFO.
    """
    make("f", b"0123456789")
    os.mkdir("d")
    make("d/x")
    os.mkdir("e")
    os.symlink("f", "l")
    os.symlink("nothing", "dangling")
    os.symlink("loop", "loop")
    os.mkfifo("p")
    new = os.O_CREAT | os.O_EXCL | os.O_WRONLY
    return [
        ("open f new", lambda: os.open("f", new), errno.EEXIST),
        ("open l new", lambda: os.open("l", new), errno.EEXIST),
        ("open dangling new", lambda: os.open("dangling", new), errno.EEXIST),
        ("open nothing", lambda: os.open("nothing", os.O_RDONLY), errno.ENOENT),
        ("open d for writing", lambda: os.open("d", os.O_WRONLY), errno.EISDIR),
        ("open f/x", lambda: os.open("f/x", os.O_RDONLY), errno.ENOTDIR),
        ("open loop", lambda: os.open("loop", os.O_RDONLY), errno.ELOOP),
        ("open l nofollow", lambda: os.open("l", os.O_RDONLY | os.O_NOFOLLOW), errno.ELOOP),
        ("open f as directory", lambda: os.open("f", os.O_RDONLY | os.O_DIRECTORY), errno.ENOTDIR),
        ("open a name of 256", lambda: os.open(LONG + "n", new), errno.ENAMETOOLONG),
        ("mkdir f", lambda: os.mkdir("f"), errno.EEXIST),
        ("mkdir d", lambda: os.mkdir("d"), errno.EEXIST),
        ("mkdir dangling", lambda: os.mkdir("dangling"), errno.EEXIST),
        ("mkdir nothing/x", lambda: os.mkdir("nothing/x"), errno.ENOENT),
        ("mkdir f/x", lambda: os.mkdir("f/x"), errno.ENOTDIR),
        ("mkdir a name of 256", lambda: os.mkdir(LONG + "n"), errno.ENAMETOOLONG),
        ("rmdir d", lambda: os.rmdir("d"), errno.ENOTEMPTY),
        ("rmdir f", lambda: os.rmdir("f"), errno.ENOTDIR),
        ("rmdir l", lambda: os.rmdir("l"), errno.ENOTDIR),
        ("rmdir nothing", lambda: os.rmdir("nothing"), errno.ENOENT),
        ("rmdir e/.", lambda: os.rmdir("e/."), errno.EINVAL),
        ("rmdir d/..", lambda: os.rmdir("d/.."), errno.ENOTEMPTY),
        ("unlink e", lambda: os.unlink("e"), errno.EISDIR),
        ("unlink nothing", lambda: os.unlink("nothing"), errno.ENOENT),
        ("unlink f/x", lambda: os.unlink("f/x"), errno.ENOTDIR),
        ("link to f", lambda: os.link("d/x", "f"), errno.EEXIST),
        ("link of d", lambda: os.link("d", "new"), errno.EPERM),
        ("link of nothing", lambda: os.link("nothing", "new"), errno.ENOENT),
        ("link to nothing/x", lambda: os.link("f", "nothing/x"), errno.ENOENT),
        ("link to a name of 256", lambda: os.link("f", LONG + "n"), errno.ENAMETOOLONG),
        ("symlink f", lambda: os.symlink("x", "f"), errno.EEXIST),
        ("symlink dangling", lambda: os.symlink("x", "dangling"), errno.EEXIST),
        ("symlink nothing/x", lambda: os.symlink("x", "nothing/x"), errno.ENOENT),
        ("readlink f", lambda: os.readlink("f"), errno.EINVAL),
        ("readlink d", lambda: os.readlink("d"), errno.EINVAL),
        ("mkfifo f", lambda: os.mkfifo("f"), errno.EEXIST),
        ("rename f to e", lambda: os.rename("f", "e"), errno.EISDIR),
        ("rename e to f", lambda: os.rename("e", "f"), errno.ENOTDIR),
        ("rename e to d", lambda: not_empty(lambda: os.rename("e", "d")), None),
        ("rename d to d/y", lambda: os.rename("d", "d/y"), errno.EINVAL),
        ("rename nothing", lambda: os.rename("nothing", "new"), errno.ENOENT),
        ("rename f to nothing/x", lambda: os.rename("f", "nothing/x"), errno.ENOENT),
        ("rename f to f", lambda: os.rename("f", "f"), None),
        ("rename to a name of 256", lambda: os.rename("f", LONG + "n"), errno.ENAMETOOLONG),
        ("chmod nothing", lambda: os.chmod("nothing", 0o600), errno.ENOENT),
        ("chmod dangling", lambda: os.chmod("dangling", 0o600), errno.ENOENT),
        ("truncate d", lambda: os.truncate("d", 0), errno.EISDIR),
        ("truncate nothing", lambda: os.truncate("nothing", 0), errno.ENOENT),
        ("truncate f below nothing", lambda: os.truncate("f", -1), errno.EINVAL),
        ("truncate f to 2^63-1", lambda: os.truncate("f", 2**63 - 1), errno.EFBIG),
        ("utime nothing", lambda: os.utime("nothing", (1, 1)), errno.ENOENT),
        ("listdir f", lambda: os.listdir("f"), errno.ENOTDIR),
        ("stat f/", lambda: os.stat("f/"), errno.ENOTDIR),
        ("write at 2^50", write_far, errno.EFBIG),
        ("a name of 255", lambda: make(LONG), None),
    ]


def not_empty(call):
    """NFS has one status for what POSIX has two errors for."""
    try:
        call()
    except OSError as exc:
        if exc.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return
        raise
    raise OSError(0, "no error")


def write_far():
    """Said by the write, the sync or the close, whichever is first."""
    fd = os.open("far", os.O_CREAT | os.O_WRONLY)
    try:
        os.pwrite(fd, b"x", 1 << 50)
        os.fsync(fd)
    finally:
        os.close(fd)


def times_of(path):
    found = os.lstat(path)
    return found.st_mtime_ns, found.st_ctime_ns


def moves(path, work, which):
    """Do the named times of a path (m, c) change with `work`, and no others?"""
    before = times_of(path)
    time.sleep(0.02)
    work()
    after = times_of(path)
    return "".join(name for name, old, new in zip("mc", before, after, strict=False) if old != new) == which


def effects():
    """(what is done, whether it is as it should be)."""
    make("a", b"0123456789", 0o640)
    rows = [
        ("mode of a new file", lambda: os.stat("a").st_mode == stat.S_IFREG | 0o640),
        ("mkdir touches its directory", lambda: moves(".", lambda: os.mkdir("d"), "mc")),
        ("mkdir adds a link", lambda: os.stat("d").st_nlink == 2),
        ("link adds one", lambda: os.link("a", "b") or os.stat("a").st_nlink == 2),
        ("both are one", lambda: os.path.samefile("a", "b")),
        ("link changes ctime", lambda: moves("a", lambda: os.link("a", "c"), "c")),
        ("unlink takes one", lambda: os.unlink("c") or os.stat("a").st_nlink == 2),
        ("unlink touches its directory", lambda: moves(".", lambda: os.unlink("b"), "mc")),
        ("chmod changes ctime", lambda: moves("a", lambda: os.chmod("a", 0o600), "c")),
        ("chmod", lambda: os.stat("a").st_mode & 0o7777 == 0o600),
        ("truncate changes both", lambda: moves("a", lambda: os.truncate("a", 5), "mc")),
        ("truncate", lambda: content("a") == b"01234"),
        ("truncate up", lambda: os.truncate("a", 8) or content("a") == b"01234\0\0\0"),
        ("write changes both", lambda: moves("a", lambda: append("a", b"x"), "mc")),
        ("append", lambda: content("a") == b"01234\0\0\0x"),
        ("utime", lambda: os.utime("a", ns=(123456789, 987654321)) or os.stat("a").st_mtime_ns == 987654321),
        ("utime of access", lambda: os.stat("a").st_atime_ns == 123456789),
        ("utime before 1970", lambda: os.utime("a", ns=(0, -100)) or os.stat("a").st_mtime_ns == -100),
        ("symlink", lambda: os.symlink("../" * 300 + "x", "s") or os.readlink("s") == "../" * 300 + "x"),
        ("size of a symlink", lambda: os.lstat("s").st_size == 901),
        ("rename keeps the inode", lambda: same_inode("a", "r")),
        ("rename over a file", over),
        ("rename over an empty directory", over_directory),
        ("rename of two names of one file", one_file),
        ("setgid directory", setgid),
        ("sticky directory", lambda: mode_of_directory(0o1777)),
        ("removed and open", removed_and_open),
        ("replaced and open", replaced_and_open),
        ("O_APPEND of two", appended),
        ("O_TRUNC", truncated),
        ("sparse", sparse),
        ("FIFO", lambda: os.mkfifo("p", 0o600) or stat.S_ISFIFO(os.stat("p").st_mode)),
        ("map is shared", mapped),
        ("map and write agree", mapped_and_written),
        ("locks of ranges", lambda: locked(fcntl.lockf)),
        ("locks of files", lambda: locked(fcntl.flock)),
        ("listing of many", listing),
        ("seek to data and hole", holes),
        ("write at an offset", offsets),
        ("mode 000 is kept", lambda: os.chmod("r", 0) or os.stat("r").st_mode & 0o7777 == 0),
    ]
    if not LAZY:
        rows.append(("setuid", lambda: os.chmod("r", 0o4755) or os.stat("r").st_mode & 0o7777 == 0o4755))
    return rows


def append(path, data):
    with open(path, "ab") as file:
        file.write(data)


def same_inode(old, new):
    number = os.stat(old).st_ino
    os.rename(old, new)
    return os.stat(new).st_ino == number and not os.path.exists(old)


def over():
    make("one", b"1")
    make("two", b"2")
    fd = os.open("two", os.O_RDONLY)
    os.rename("one", "two")
    found = content("two") == b"1" and os.read(fd, 9) == b"2" and not os.path.exists("one")
    os.close(fd)
    return found


def over_directory():
    os.mkdir("from")
    make("from/x", b"x")
    os.mkdir("to")
    os.rename("from", "to")
    return content("to/x") == b"x" and not os.path.exists("from")


def one_file():
    make("h1", b"h")
    os.link("h1", "h2")
    os.rename("h1", "h2")
    return os.path.exists("h1") and os.path.exists("h2")


def setgid():
    os.mkdir("g")
    os.chmod("g", 0o2775)
    os.mkdir("g/x", 0o755)
    make("g/x/f")
    wanted = 0o2755, 0o644
    return (os.stat("g/x").st_mode & 0o7777, os.stat("g/x/f").st_mode & 0o7777) == wanted


def mode_of_directory(mode):
    os.mkdir("m")
    os.chmod("m", mode)
    return os.stat("m").st_mode & 0o7777 == mode


def removed_and_open():
    fd = os.open("gone", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"before")
    os.unlink("gone")
    os.write(fd, b" after")
    os.lseek(fd, 0, os.SEEK_SET)
    found = os.read(fd, 99)
    os.close(fd)
    return found == b"before after" and not os.path.exists("gone")


def replaced_and_open():
    make("t", b"old")
    fd = os.open("t", os.O_RDONLY)
    make("t.new", b"new")
    os.replace("t.new", "t")
    found = os.read(fd, 9), content("t")
    os.close(fd)
    return found == (b"old", b"new")


def appended():
    one, two = (os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND) for _ in range(2))
    for number in range(10):
        os.write(one, b"a%d\n" % number)
        os.write(two, b"b%d\n" % number)
    os.close(one)
    os.close(two)
    return content("log") == b"".join(b"a%d\nb%d\n" % (number, number) for number in range(10))


def truncated():
    make("full", b"x" * 10000)
    os.close(os.open("full", os.O_WRONLY | os.O_TRUNC))
    return os.stat("full").st_size == 0


def sparse():
    with open("sparse", "wb") as file:
        file.seek(5 << 30)
        file.write(b"end")
    with open("sparse", "rb") as file:
        file.seek((5 << 30) - 3)
        return os.stat("sparse").st_size == (5 << 30) + 3 and file.read() == b"\0\0\0end"


def mapped():
    make("map", bytes(3 * 4096))
    with open("map", "r+b") as file, mmap.mmap(file.fileno(), 0) as one, mmap.mmap(file.fileno(), 0) as two:
        one[4096:4100] = b"page"
        seen = two[4096:4100] == b"page"
        one.flush()
    return seen and content("map") == bytes(4096) + b"page" + bytes(2 * 4096 - 4)


def mapped_and_written():
    with open("map", "r+b", buffering=0) as file, mmap.mmap(file.fileno(), 0) as area:
        file.write(b"written")
        return area[:7] == b"written"


def locked(lock):
    make(lock.__name__)
    with open(lock.__name__, "r+b") as file:
        lock(file, fcntl.LOCK_EX)
        child = os.fork()
        if not child:
            status = 1
            with open(lock.__name__, "r+b") as other:
                try:
                    lock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    status = 0
            os._exit(status)
        refused = os.waitpid(child, 0)[1] == 0
        lock(file, fcntl.LOCK_UN)
    with open(lock.__name__, "r+b") as file:
        lock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return refused


def listing():
    os.mkdir("many")
    names = {f"name-{number}" for number in range(700)}
    for name in names:
        os.close(os.open("many/" + name, os.O_CREAT | os.O_WRONLY))
    seen = os.listdir("many")
    return len(seen) == len(names) and set(seen) == names


def holes():
    fd = os.open("sparse", os.O_RDONLY)
    try:
        end = os.lseek(fd, 0, os.SEEK_HOLE)
        return os.lseek(fd, 0, os.SEEK_DATA) in range((5 << 30) + 3) and end in range((5 << 30) + 4)
    finally:
        os.close(fd)


def offsets():
    fd = os.open("off", os.O_RDWR | os.O_CREAT)
    for offset, data in ((10, b"abc"), (0, b"xyz"), (11, b"B"), (4096, b"far")):
        os.pwrite(fd, data, offset)
    os.close(fd)
    return content("off") == b"xyz" + bytes(7) + b"aBc" + bytes(4083) + b"far"


def main():
    os.umask(0o022)
    os.chdir(sys.argv[1])
    fresh("errors")
    for name, call, wanted in errors():
        try:
            found = call()
            if isinstance(found, int) and not isinstance(found, bool) and found > 2:
                os.close(found)
            number = None
        except OSError as exc:
            number = exc.errno
        if number != wanted:
            said = errno.errorcode.get(number or 0), errno.errorcode.get(wanted or 0)
            failures.append(f"{name}: {said[0]}, not {said[1]}")
    os.chdir("..")
    fresh("effects")
    for name, check in effects():
        try:
            if not check():
                failures.append(f"{name}: no")
        except OSError as exc:
            failures.append(f"{name}: {exc!r}")
    os.chdir("..")
    for line in failures:
        print(line)
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
