"""Which cluster of this machine is whose.

There may be ten at once; a number decides names, addresses and the folder. Number 0 is that of who starts a
cluster by hand; a test run takes the first free one of the others. A run that was killed leaves its cluster
running: the next one to look ends it, since its owner, a process with a start time, is no more.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.realcluster import cgroups
from tests.realcluster.cache import locked
from tests.realcluster.daemons import boot_id
from tests.realcluster.network import INSTANCES, Network, collides
from womm import process

BASE = Path("/var/lib/womm-test")
_LOCK = Path("/run/lock/womm-test")


@dataclass(frozen=True, slots=True)
class Instance:
    number: int

    @property
    def folder(self) -> Path:
        return BASE / str(self.number)

    @property
    def network(self) -> Network:
        return Network(self.number)

    @property
    def group(self) -> str:
        """The name of its control group."""
        return f"womm-{self.number}"

    @property
    def is_there(self) -> bool:
        """Whether anything of it is left on the machine, running or not."""
        return self.folder.exists() or cgroups.exists(self.group) or self.network.is_there()

    def note_owner(self) -> None:
        """Make its folder, and note that it is to go with this process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        identity = process.identify(os.getpid())
        assert identity is not None
        note = {"pid": identity.pid, "start": identity.start, "boot": boot_id()}
        self._owner_file.write_text(json.dumps(note))

    def disown(self) -> None:
        """Let it stay when this process ends."""
        self._owner_file.unlink()

    @property
    def is_owned(self) -> bool:
        """Whether it is to go with a process that lives."""
        try:
            note = json.loads(self._owner_file.read_text())
        except (FileNotFoundError, ValueError):  # torn by a crash
            return False
        owner = process.ProcessIdentity(note["pid"], note["start"])
        return note["boot"] == boot_id() and process.is_alive(owner)

    @property
    def is_abandoned(self) -> bool:
        """Whether the process that it was to go with has gone."""
        return self._owner_file.exists() and not self.is_owned

    @property
    def _owner_file(self) -> Path:
        return self.folder / "owner.json"


def claim(number: int | None, remove: Callable[[Instance], None]) -> Instance:
    """Take an instance for this process: the given one, or the first free one but 0.

    What was abandoned is removed on the way. Raises RuntimeError when none is free.
    """
    _LOCK.parent.mkdir(parents=True, exist_ok=True)
    with locked(_LOCK):
        for instance in map(Instance, INSTANCES):
            if instance.is_there and instance.is_abandoned:
                remove(instance)
        wanted = [Instance(number)] if number is not None else [Instance(n) for n in INSTANCES if n]
        free = [one for one in wanted if not one.is_there and not collides(one.network)]
        if not free:
            numbers = ", ".join(str(one.number) for one in wanted)
            raise RuntimeError(f"no cluster is free: {numbers} are in use, or their addresses are")
        free[0].note_owner()
        return free[0]
