"""Counts of operations, connections and bytes."""

import json

from tests.nfs import builder as b
from tests.nfs.peer import Peer, record_of, serving
from womm.nfs.constants import Op
from womm.nfs.metrics import Metrics


async def test_metrics_count_operations():
    async with serving() as server:
        peer = await Peer.connect(server)
        await peer.ask(record_of(b.putrootfh(), b.lookup(b"none")))
        found = server.metrics.as_dict()
        assert found["requests"] == 1
        operations = found["operations"]
        assert operations["PUTROOTFH"]["count"] == 1
        assert (operations["LOOKUP"]["count"], operations["LOOKUP"]["errors"]) == (1, 1)
        assert found["received_bytes"] > 0 < found["sent_bytes"]
        await peer.close()


def test_counters_are_json_and_leave_out_what_never_came():
    metrics = Metrics()
    assert metrics.as_dict()["operations"] == {}
    metrics.note(Op.READ, 1_500_000_000, failed=False)
    metrics.note(Op.READ, 500_000_000, failed=True)
    metrics.note(Op.ILLEGAL, 0, failed=True)
    found = json.loads(json.dumps(metrics.as_dict()))
    assert found["operations"] == {
        "READ": {"count": 2, "errors": 1, "seconds": 2.0},
        "ILLEGAL": {"count": 1, "errors": 1, "seconds": 0.0},
    }
    assert Metrics().operations[Op.READ].count == 0
