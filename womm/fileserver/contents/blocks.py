"""Blocks of the user's files: the newest in memory, the others in one file of slots.

Strategy: the callers know which version of a file a block is of, and drop the blocks of others; here are only
bytes. The slots' file is not kept over a restart: a block without its version is worth nothing. Blocks of
pinned files stay in memory, beside the others.
"""

import os
from collections import OrderedDict
from pathlib import Path
from typing import Final

BLOCK_BYTES: Final = 1 << 18
MEMORY_BYTES: Final = 128 << 20

Key = tuple[int, int]
"""The file's number, the block's number."""


class Blocks:
    """A cache of blocks; `folder` None: in memory only."""

    def __init__(self, folder: Path | None, limit_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        self._memory: OrderedDict[Key, bytes] = OrderedDict()
        self._memory_bytes = 0
        self._memory_limit = memory_bytes
        self._slots: OrderedDict[Key, tuple[int, int]] = OrderedDict()
        self._free: list[int] = []
        self._made = 0
        self._slot_limit = max(0, limit_bytes // BLOCK_BYTES)
        self._fd = -1
        self.limit_bytes = max(limit_bytes if folder is not None else 0, memory_bytes)
        self._of_file: dict[int, set[int]] = {}
        self._pins: set[int] = set()
        self._pinned: dict[Key, bytes] = {}
        self.pinned_bytes = 0
        if folder is not None and self._slot_limit:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / "blocks"
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            path.unlink()  # it goes with the process

    def __repr__(self) -> str:
        return f"<Blocks {len(self._memory)} in memory, {len(self._slots)} on disk>"

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def get(self, fileid: int, number: int) -> bytes | None:
        key = fileid, number
        data = self._memory.get(key)
        if data is not None:
            self._memory.move_to_end(key)
            return data
        if key in self._pinned:
            return self._pinned[key]
        slot = self._slots.get(key)
        if slot is None:
            return None
        self._slots.move_to_end(key)
        data = os.pread(self._fd, slot[1], slot[0] * BLOCK_BYTES)
        if len(data) != slot[1]:
            return None
        self._remember(key, data)
        return data

    def has(self, fileid: int, number: int) -> bool:
        key = fileid, number
        return key in self._memory or key in self._slots or key in self._pinned

    def put(self, fileid: int, number: int, data: bytes) -> None:
        key = fileid, number
        self._forget_slot(key)
        if fileid in self._pins:
            self._forget_memory(key)
            self._unpin(key)
            self._pinned[key] = data
            self.pinned_bytes += len(data)
        else:
            self._remember(key, data)
        self._of_file.setdefault(fileid, set()).add(number)

    def pin(self, fileid: int) -> None:
        """Keep all blocks of a file, those to come too, until `drop`."""
        self._pins.add(fileid)
        for number in list(self._of_file.get(fileid, ())):
            data = self.get(fileid, number)
            if data is not None and (fileid, number) not in self._pinned:
                self.put(fileid, number, data)

    def _forget_memory(self, key: Key) -> None:
        old = self._memory.pop(key, None)
        if old is not None:
            self._memory_bytes -= len(old)

    def _unpin(self, key: Key) -> None:
        self.pinned_bytes -= len(self._pinned.pop(key, b""))

    def _remember(self, key: Key, data: bytes) -> None:
        self._forget_memory(key)
        self._memory[key] = data
        self._memory_bytes += len(data)
        while self._memory_bytes > self._memory_limit and len(self._memory) > 1:
            oldest, rest = self._memory.popitem(last=False)
            self._memory_bytes -= len(rest)
            if oldest not in self._slots:
                self._save(oldest, rest)

    def _save(self, key: Key, data: bytes) -> None:
        if self._fd < 0:
            self._gone(key)
            return
        if self._free:
            slot = self._free.pop()
        elif self._made < self._slot_limit:
            slot = self._made
            self._made += 1
        else:
            oldest, (slot, _) = self._slots.popitem(last=False)
            self._gone(oldest)
        try:
            whole = os.pwrite(self._fd, data, slot * BLOCK_BYTES) == len(data)
        except OSError:
            whole = False
        if not whole:  # its disk is full: it is only a cache
            self._free.append(slot)
            self._gone(key)
            return
        self._slots[key] = slot, len(data)

    def _gone(self, key: Key) -> None:
        if key in self._memory or key in self._slots:
            return
        numbers = self._of_file.get(key[0])
        if numbers is not None:
            numbers.discard(key[1])
            if not numbers:
                del self._of_file[key[0]]

    def _forget_slot(self, key: Key) -> None:
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._free.append(slot[0])

    def drop(self, fileid: int, first: int = 0) -> None:
        """Forget a file's blocks from the number `first` on."""
        numbers = self._of_file.get(fileid)
        if numbers is None:
            return
        for number in [number for number in numbers if number >= first]:
            key = fileid, number
            self._forget_memory(key)
            self._unpin(key)
            self._forget_slot(key)
            numbers.discard(number)
        if not numbers:
            del self._of_file[fileid]
