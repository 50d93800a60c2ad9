"""A hostile root on a real kernel, with the folder behind the lazy file server: it gets nowhere."""

import pytest

from tests.share.lazy.hostiles import broken, make_target, scripts
from tests.soak import count
from womm.share.control import Writable
from womm.share.ignore import Ignore
from womm.share.lazy.exported_folder import ExportedFolder
from womm.share.lazy.guard import Guard
from womm.share.lazy.watch import Watcher

pytestmark = [pytest.mark.slow, pytest.mark.timeout(count(300, 7200))]


def guarded(write):
    """As a task begins."""

    def export(fence):
        ignore = Ignore(fence)
        guard = Guard(fence, ignore, Writable.only(write))
        watcher = Watcher(fence, ignore, control=guard.note)
        watcher.start()
        watcher.close()
        ignore.begun()
        return ExportedFolder(fence, guard=guard)

    return export


@pytest.mark.parametrize("write", [(), (b"out",)], ids=["all", "share-write"])
def test_hostile_root_changes_nothing_of_womms_reads_nothing_hidden_and_gets_nowhere(
    guest, share, tmp_path, write
):
    top = tmp_path / "top"
    top.mkdir()
    target = make_target(top, tmp_path / "outside")
    lazy = share(top=top, export=guarded(write))
    lazy.mount(guest)
    script = scripts(guest.share)
    words = target.words(
        f"/host/{script}",
        "/mnt/a",
        write=bool(write),
        server=f"{guest.server}:{lazy.server.port}{lazy.server.path}",
    )
    found = guest.run(words, count(280, 7000))
    assert broken(found.out) == []
    reply = lazy.user.ask("flush")
    assert reply["ok"] and not reply.get("failed"), reply
    target.untouched(write=bool(write))
