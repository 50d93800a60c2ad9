"""What this machine's programs need of a node: its architecture, and a kernel that is new enough.

Both are read from the perl that runs the agents: its ELF header, and the note in which the C library says
with which kernel it works (`.note.ABI-tag`; the loader ends a program with "kernel too old").
"""

import os
import re
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from womm.errors import UsageError

_MACHINES: Final = {
    3: "386",
    21: "ppc64le",
    22: "s390x",
    40: "arm",
    62: "amd64",
    183: "arm64",
    243: "riscv64",
    258: "loong64",
}
"""e_machine (elf.h), and how Kubernetes and Go call the architecture."""
_INTERPRETER: Final = 3
_NOTE: Final = 4
_ABI_TAG: Final = 1
_LINUX: Final = 0
_LARGEST: Final = 1 << 20
"""Headers and notes are at the beginning."""


@dataclass(frozen=True, slots=True)
class Machine:
    """architecture: as Kubernetes names it. kernel: the oldest that the programs run with; empty: any."""

    architecture: str
    kernel: tuple[int, ...] = ()


def refuse_others(platform: str = sys.platform) -> None:
    """Raise UsageError where programs are not Linux's."""
    if not platform.startswith("linux"):
        system = "macOS" if platform == "darwin" else platform
        raise UsageError(
            f"--image here: pods run Linux, and the programs of this machine are {system}'s",
            "womm setup makes an image; or --image NAME names one",
        )


def this_machine(perl: str) -> Machine:
    """Look at a program of this machine, and at its C library. Raises UsageError for what is no program."""
    try:
        program = _Elf(perl)
    except (OSError, ValueError, struct.error) as exc:
        raise UsageError(
            f"--image here: {perl} is no program of Linux: {exc}", "apt-get install --reinstall perl-base"
        ) from exc
    architecture = _MACHINES.get(program.machine, f"ELF machine {program.machine}")
    return Machine(architecture, max(program.kernel, _kernel_of_library(program.interpreter)))


def loader_of(program: str) -> str:
    """Return the loader that a program names; empty: it is static, or no program of Linux."""
    try:
        return _Elf(program).interpreter
    except (OSError, ValueError, struct.error):
        return ""


def why_not(machine: Machine, node: str, architecture: str, kernel: str) -> str:
    """Return why this machine's programs do not run on a node, as a sentence; empty: they do.

    architecture, kernel: as a node's status has them; empty: not known.
    """
    if architecture and architecture != machine.architecture:
        return f"this machine's programs are for {machine.architecture}, and {node} is {architecture}"
    found = re.match(r"\d+(?:\.\d+)*", kernel)
    if found and tuple(map(int, found[0].split("."))) < machine.kernel:
        least = ".".join(map(str, machine.kernel))
        return f"this machine's C library needs Linux {least} or newer, and {node} has {kernel}"
    return ""


def _kernel_of_library(interpreter: str) -> tuple[int, ...]:
    """Return the oldest kernel for the C library that a program's loader belongs to."""
    if not interpreter:
        return ()
    folder = os.path.dirname(os.path.realpath(interpreter))
    try:
        return _Elf(os.path.join(folder, "libc.so.6")).kernel
    except (OSError, ValueError, struct.error):  # musl's has another name, and no such note
        return ()


class _Elf:
    """The header of an ELF file. interpreter: the program's loader; empty: none."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self._data = file.read(_LARGEST)
        if self._data[:4] != b"\x7fELF":
            raise ValueError("not an ELF file")
        self._is_long = self._data[4] == 2
        self._order = "<" if self._data[5] == 1 else ">"
        self.machine: int = self._read("H", 18)[0]
        self.interpreter = ""
        self.kernel: tuple[int, ...] = ()
        for kind, start, size in self._segments():
            if kind == _INTERPRETER:
                self.interpreter = os.fsdecode(self._data[start : start + size].rstrip(b"\0"))
            elif kind == _NOTE:
                self.kernel = max(self.kernel, self._kernel(start, start + size))

    def _read(self, form: str, at: int) -> tuple[int, ...]:
        return struct.unpack_from(self._order + form, self._data, at)

    def _segments(self) -> Iterator[tuple[int, int, int]]:
        table = self._read("Q", 32)[0] if self._is_long else self._read("I", 28)[0]
        size, count = self._read("HH", 54 if self._is_long else 42)
        for place in range(table, table + size * count, size):
            if self._is_long:
                kind, _, start, _, _, length = self._read("IIQQQQ", place)
            else:
                kind, start, _, _, length = self._read("IIIII", place)
            yield kind, start, length

    def _kernel(self, at: int, end: int) -> tuple[int, ...]:
        """Return what an ABI tag among the notes says; empty: there is none."""
        while at + 12 <= end:
            names, length, kind = self._read("III", at)
            name = self._data[at + 12 : at + 12 + names]
            body = at + 12 + (names + 3) // 4 * 4
            if name == b"GNU\0" and kind == _ABI_TAG and length >= 16:
                system, *kernel = self._read("IIII", body)
                return tuple(kernel) if system == _LINUX else ()
            at = body + (length + 3) // 4 * 4
        return ()
