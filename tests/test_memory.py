"""A process keeps the memory of its freed buffers."""

import platform
import subprocess
import sys

import pytest

BUFFERS = """
import resource
from womm.memory import keep_memory
{first}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def fill():
    return bytearray(b"x") * (4 << 20)
fill()
before = faults()
for _ in range(50):
    fill()
print(faults() - before)
"""


def faults(first: str) -> int:
    words = [sys.executable, "-c", BUFFERS.format(first=first)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="asks glibc")
def test_keep_memory_spares_the_page_faults_of_the_next_buffer():
    assert faults("keep_memory()") * 10 < faults("")
