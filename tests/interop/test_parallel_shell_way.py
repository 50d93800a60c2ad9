"""The other way, a shim for each job, beside plain GNU parallel: a selection of what all other tests here do
in the direct way."""

import pytest

from tests.interop.plain import Pair, same

pytestmark = pytest.mark.slow

LINES = [
    "--tag 'echo {}; echo err {} >&2; exit {}' ::: 0 3",
    "--line-buffer 'echo {}; echo err >&2; printf end' ::: a b",
    "-u 'echo {}; echo err >&2' ::: a b",
    "--compress 'echo {}; echo e{} >&2' ::: a b",
    "--results r 'echo {}; echo e{} >&2' ::: a b",
    "--dry-run echo {} ::: a 'b c'",
    "--nice 7 --env FOO 'nice; echo $FOO $PARALLEL_SEQ' ::: a",
    "--halt now,fail=1 'echo {}; exit {}' ::: 0 1 0",
    "--timeout 1 'echo {}; sleep {}' ::: 0 30",
    "--retries 2 'echo x >>tried; false' ::: a",
    "--filter '{1} < {2}' echo {1}{2} ::: 1 2 ::: 1 2",
]
PIPES = [
    "--pipe -N1 'cat; echo {#}'",
    "--pipe --cat -N2 'wc -l <{}'",
    "--pipe --round-robin -N1 'cat | wc -l'",
]


@pytest.mark.parametrize("line", [*LINES, *PIPES])
def test_line_by_the_shell_way_is_as_plain(pair: Pair, line: str) -> None:
    pair.env = {"FOO": "bar baz", "WOMM_HANDOVER": "shell"}
    same(*pair.both("-k " + line, stdin=b"a\nb\nc\n" if line in PIPES else None))
