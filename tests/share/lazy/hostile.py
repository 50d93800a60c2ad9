"""A hostile pod: root in a container tries everything that a share must not let it do.

    python3 hostile.py FOLDER [--above FOLDER] [--protected PATH...] [--read-only PATH...] [--hidden PATH...]
                       [--outside FILE] [--server HOST:PORT/EXPORT] [--rounds N] [--guesses N]

Stands alone, since it runs where there is nothing of ours. Prints one JSON object: how many `attempts` were
made, and `broke`, what has worked although it must not.
"""

import argparse
import ctypes
import json
import mmap
import os
import secrets
import stat

LIBC = ctypes.CDLL(None, use_errno=True)
OWN = b"hostile-"
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
broke: list[str] = []
attempts = [0]


def any_answer(found):
    return True


def attempt(name, call, *words, worked=any_answer):
    """Make one; it has broken out if it ends without an error, and `worked`."""
    attempts[0] += 1
    try:
        found = call(*words)
    except (OSError, ValueError):
        return
    if worked(found):
        broke.append(name)


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def rename2(old, new, flags):
    checked(LIBC.renameat2(AT_FDCWD, old, AT_FDCWD, new, ctypes.c_uint(flags)))


def write(path, flags=0, data=b"hostile\n"):
    fd = os.open(path, os.O_WRONLY | flags, 0o644)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)


def through_mapping(path):
    fd = os.open(path, os.O_RDWR)
    try:
        with mmap.mmap(fd, 1) as mapped:
            mapped[:1] = b"X"
            mapped.flush()
        os.fsync(fd)
    finally:
        os.close(fd)


def by_reader(path, call):
    """A file that is open for reading has attributes, too."""
    fd = os.open(path, os.O_RDONLY)
    try:
        call(fd)
    finally:
        os.close(fd)


def by_handle(path):
    """open_by_handle_at: no name leads there."""

    class FileHandle(ctypes.Structure):
        _fields_ = [("size", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]

    found, mount = FileHandle(128, 0), ctypes.c_int()
    checked(LIBC.name_to_handle_at(AT_FDCWD, path, ctypes.byref(found), ctypes.byref(mount), 0))
    top = os.open(os.path.dirname(path) or b".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fd = checked(LIBC.open_by_handle_at(top, ctypes.byref(found), os.O_WRONLY | os.O_TRUNC))
        os.write(fd, b"hostile")
        os.fsync(fd)
        os.close(fd)
    finally:
        os.close(top)


def linked_in(path):
    """A file without a name gets this one."""
    fd = os.open(os.path.dirname(path) or b".", os.O_TMPFILE | os.O_RDWR, 0o644)
    try:
        name = b"/proc/self/fd/%d" % fd
        checked(LIBC.linkat(AT_FDCWD, name, AT_FDCWD, path, AT_SYMLINK_FOLLOW))
    finally:
        os.close(fd)


def fresh(above):
    """A file of our own, where there can be one."""
    path = os.path.join(above, OWN + secrets.token_hex(4).encode())
    write(path, os.O_CREAT | os.O_EXCL)
    return path


def change(label, path, above):
    """Everything that changes what is at a path, or puts something there; in `above` we may write."""
    name = os.path.basename(path)
    own = fresh(above)
    away = os.path.join(above, OWN + b"away-" + name)
    calls = {
        "create": lambda: write(path, os.O_CREAT),
        "create exclusively": lambda: write(path, os.O_CREAT | os.O_EXCL),
        "write": lambda: write(path),
        "append": lambda: write(path, os.O_APPEND),
        "open with truncation": lambda: os.close(os.open(path, os.O_RDONLY | os.O_TRUNC)),
        "truncate": lambda: os.truncate(path, 0),
        "mapping": lambda: through_mapping(path),
        "handle": lambda: by_handle(path),
        "nameless file": lambda: linked_in(path),
        "chmod": lambda: os.chmod(path, 0o755),
        "utime": lambda: os.utime(path, (1, 1)),
        "fchmod": lambda: by_reader(path, lambda fd: os.fchmod(fd, 0o755)),
        "futime": lambda: by_reader(path, lambda fd: os.utime(fd, (1, 1))),
        "mkdir": lambda: os.mkdir(path),
        "fifo": lambda: os.mkfifo(path),
        "symlink": lambda: os.symlink(b"elsewhere", path),
        "link to": lambda: os.link(own, path),
        "link from": lambda: os.link(path, away),
        "rename to": lambda: os.rename(own, path),
        "rename to nothing": lambda: rename2(own, path, RENAME_NOREPLACE),
        "exchange": lambda: rename2(own, path, RENAME_EXCHANGE),
        "rename from": lambda: os.rename(path, away),
        "unlink": lambda: os.unlink(path),
        "rmdir": lambda: os.rmdir(path),
        "xattr": lambda: os.setxattr(path, b"user.x", b"x"),
    }
    for what, call in calls.items():
        attempt(f"{label}: {what} {path!r}", call)


def detours(path, above):
    """Other ways to say the same path."""
    directory, name = os.path.split(path)
    link, short = os.path.join(above, OWN + b"dir"), os.path.join(above, OWN + b"file")
    for target, where in ((os.path.abspath(directory or b"."), link), (os.path.abspath(path), short)):
        if os.path.lexists(where):
            os.unlink(where)
        os.symlink(target, where)
    yield os.path.join(directory, b".", name)
    yield os.path.join(os.path.abspath(directory), b"..", os.path.basename(os.path.abspath(directory)), name)
    yield os.path.join(link, name)
    yield short
    yield b"/proc/self/cwd/" + path
    yield b"/proc/self/root" + os.path.abspath(path)


def twins(path):
    directory, name = os.path.split(path)
    for twin in (name.upper(), name.title(), name + b".", name.replace(b"o", "\u200bo".encode(), 1)):
        yield os.path.join(directory, twin)


def above_all(path):
    """The directories that a path is in, but not the share itself."""
    while path := os.path.dirname(path):
        yield path


# -- womm's own files, and hidden files ----------------------------------------------------------------
def own_files(protected, above, rounds):
    for path in protected:
        change("own", path, above)
        for way in detours(path, above):
            attempt(f"own: write by {way!r}", write, way, os.O_CREAT)
            attempt(f"own: truncate by {way!r}", os.truncate, way, 0)
        for twin in twins(path):
            attempt(f"own: twin {twin!r}", write, twin, os.O_CREAT)
            attempt(f"own: twin {twin!r}", os.rename, fresh(above), twin)
        for directory in above_all(path) if os.path.lexists(path) else ():
            moved = os.path.join(above, OWN + b"moved")
            attempt(f"own: rename {directory!r}", os.rename, directory, moved)
            os.makedirs(os.path.join(above, OWN + b"d"), exist_ok=True)
            attempt(
                f"own: exchange {directory!r}",
                rename2,
                directory,
                os.path.join(above, OWN + b"d"),
                RENAME_EXCHANGE,
            )
    race(above, rounds)


def renamed_in(place):
    os.rename(fresh(place), os.path.join(place, b".womm"))


def race(above, rounds):
    """One process moves directories, another makes and moves things in them."""
    one, two = (os.path.join(above, OWN + name) for name in (b"one", b"two"))
    os.makedirs(one, exist_ok=True)
    child = os.fork()
    if child == 0:
        for _ in range(rounds):
            for old, new in ((one, two), (two, one)):
                try:
                    os.rename(old, new)
                except OSError:
                    pass
        os._exit(0)
    for number in range(rounds):
        for place in (one, two):
            attempt("race: create", write, os.path.join(place, b".womm"), os.O_CREAT)
            attempt("race: link", os.symlink, b"x", os.path.join(place, b".wommignore"))
            if number % 10 == 0:
                attempt("race: rename", renamed_in, place)
    os.waitpid(child, 0)


def linked(path, to):
    checked(LIBC.linkat(AT_FDCWD, path, AT_FDCWD, to, AT_SYMLINK_FOLLOW))


def read(path):
    with open(path, "rb") as file:
        return file.read()


def is_file(path):
    return stat.S_ISREG(os.lstat(path).st_mode)


def hidden_files(hidden, above):
    seen = {os.path.join(top, name)[2:] for top, dirs, files in os.walk(b".") for name in (*dirs, *files)}
    for path in hidden:
        attempt(f"hidden: listed {path!r}", seen.__contains__, path, worked=bool)
        for way in (path, *twins(path), *detours(path, above)):
            attempt(f"hidden: read {way!r}", read, way)
            attempt(f"hidden: lstat {way!r}", is_file, way, worked=bool)
            attempt(f"hidden: link {way!r}", linked, way, os.path.join(above, OWN + b"l"))
        attempt(f"hidden: rename {path!r}", os.rename, path, os.path.join(above, OWN + b"seen"))
        for directory in above_all(path):
            moved = os.path.join(above, OWN + b"shown")
            try:
                os.rename(directory, moved)
            except OSError:
                continue
            found = os.path.join(moved, os.path.relpath(path, directory))
            attempt(f"hidden: read {found!r}", read, found)
            os.rename(moved, directory)


# -- out of the folder --------------------------------------------------------------------------------
def way_out(outside, above, rounds):
    """What leads out is resolved here: nothing of the user's machine is behind it."""
    depth = b"../" * 20
    place = os.path.join(above, OWN + b"out")
    os.makedirs(os.path.join(place, b"a/b"), exist_ok=True)
    targets = [outside, depth + outside.lstrip(b"/"), b"/proc/self/root" + outside]
    for number, target in enumerate(targets):
        link = os.path.join(place, b"a/b/l%d" % number)
        os.symlink(target, link)
        moved = os.path.join(place, b"m%d" % number)
        os.rename(link, moved)
        os.link(moved, os.path.join(place, b"h%d" % number), follow_symlinks=False)
        for path in (moved, os.path.join(place, b"h%d" % number)):
            attempt(f"out: read {path!r}", read, path)
            attempt(f"out: write {path!r}", write, path)
    swapped = os.path.join(place, b"swapped")
    os.mkdir(swapped)
    os.symlink(os.path.dirname(outside), os.path.join(place, b"link"))
    child = os.fork()
    if child == 0:
        for _ in range(rounds):
            try:
                rename2(swapped, os.path.join(place, b"link"), RENAME_EXCHANGE)
            except OSError:
                names = (swapped, os.path.join(place, b"t"), os.path.join(place, b"link"))
                for old, new in zip(names, (*names[1:], swapped), strict=True):
                    try:
                        os.rename(old, new)
                    except OSError:
                        pass
        os._exit(0)
    for _ in range(rounds):
        for path in (swapped, os.path.join(place, b"link")):
            attempt("out: race", read, os.path.join(path, os.path.basename(outside)))
    os.waitpid(child, 0)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--above", default=".", help="where we may write")
    parser.add_argument("--protected", nargs="*", default=[])
    parser.add_argument("--hidden", nargs="*", default=[])
    parser.add_argument("--read-only", nargs="*", default=[])
    parser.add_argument("--outside", default="")
    parser.add_argument("--server", default="")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--guesses", type=int, default=100)
    options = parser.parse_args()
    os.chdir(options.folder)
    protected, hidden, read_only = (
        [os.fsencode(path) for path in paths]
        for paths in (options.protected, options.hidden, options.read_only)
    )
    above = os.fsencode(options.above)
    if options.server:
        from hostile_wire import the_wire  # type: ignore[import-not-found]

        own = os.path.basename(fresh(above))
        paths = protected + read_only, hidden
        the_wire(attempt, options.server, paths, options.guesses, (above, own))
    own_files(protected, above, options.rounds)
    for path in read_only:
        change("read-only", path, above)
        attempt(f"read-only: left behind {path!r}", write, path, os.O_CREAT)
    hidden_files(hidden, above)
    if options.outside:
        way_out(os.fsencode(options.outside), above, options.rounds)
    print(json.dumps({"attempts": attempts[0], "broke": broke}))


if __name__ == "__main__":
    main()
