"""What this machine's programs need of a node."""

import os
import platform
import struct
import sys

import pytest

from womm.errors import UsageError
from womm.here import machine
from womm.here.machine import Machine, this_machine, why_not


def test_this_machine_is_what_python_says_too():
    found = this_machine("/usr/bin/perl")
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    assert found.architecture == names.get(platform.machine(), found.architecture)
    if platform.libc_ver()[0] == "glibc":
        assert (2, 6) <= found.kernel <= tuple(map(int, os.uname().release.split("-")[0].split(".")))


def elf(machine_number, kernel, bits=64, order="<"):
    """Return a program with nothing but a header and an ABI tag."""
    note = struct.pack(order + "III4sIIII", 4, 16, 1, b"GNU\0", 0, *kernel)
    ident = b"\x7fELF" + bytes([2 if bits == 64 else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    if bits == 64:
        rest = struct.pack(order + "HHIQQQIHHHHHH", 2, machine_number, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        table = struct.pack(order + "IIQQQQQQ", 4, 0, 120, 0, 0, len(note), 0, 4)
    else:
        rest = struct.pack(order + "HHIIIIIHHHHHH", 2, machine_number, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        table = struct.pack(order + "IIIIIIII", 4, 84, 0, 0, len(note), 0, 0, 4)
    return ident + rest + table + note


@pytest.mark.parametrize(
    ("number", "bits", "order", "name"),
    [(62, 64, "<", "amd64"), (183, 64, "<", "arm64"), (40, 32, "<", "arm"), (22, 64, ">", "s390x")],
)
def test_this_machine_reads_programs_of_all_kinds(tmp_path, number, bits, order, name):
    path = tmp_path / "perl"
    path.write_bytes(elf(number, (5, 10, 0), bits, order))
    assert this_machine(str(path)) == Machine(name, (5, 10, 0))


@pytest.mark.parametrize("content", [b"", b"#!/bin/sh\n", elf(62, (3, 2, 0))[:60]])
def test_this_machine_what_is_no_program_is_refused(tmp_path, content):
    path = tmp_path / "perl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no program of Linux"):
        this_machine(str(path))


def test_why_not_compares_architecture_and_kernel():
    here = Machine("amd64", (5, 10, 0))
    assert why_not(here, "node1", "amd64", "5.10.0-33-cloud-amd64") == ""
    assert why_not(here, "node1", "", "") == ""
    assert why_not(here, "node1", "arm64", "6.1.0") == (
        "this machine's programs are for amd64, and node1 is arm64"
    )
    assert why_not(here, "node1", "amd64", "5.4.0-1-aws") == (
        "this machine's C library needs Linux 5.10.0 or newer, and node1 has 5.4.0-1-aws"
    )
    assert why_not(Machine("amd64"), "node1", "amd64", "2.6.32") == ""


def test_refuse_others_names_the_system():
    machine.refuse_others("linux")
    with pytest.raises(UsageError, match="pods run Linux, and the programs of this machine are macOS's"):
        machine.refuse_others("darwin")
    assert sys.platform == "linux"
