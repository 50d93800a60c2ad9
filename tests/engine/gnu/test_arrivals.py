"""The jobs that have come in: the first is named, a changed input is said once."""

from womm.engine.gnu.arrivals import Arrivals


def test_first_job_is_heard_of_and_a_warning_is_said_once():
    said: list[str] = []
    first: list[str] = []
    arrivals = Arrivals(
        said.append, first.append, lambda seq, command: f"{seq} {command}" if seq > 1 else None
    )
    arrivals.came(None, b"zero")
    for seq, command in ((1, b"one"), (2, b"tw\xff"), (3, b"three")):
        arrivals.came(seq, command)
    assert (first, said, arrivals.count) == (["zero"], ["2 tw\udcff"], 4)
