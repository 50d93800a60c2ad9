"""Counts of operations, connections and bytes."""

from tests.nfs import builder as b
from tests.nfs.peer import Peer, record_of, serving


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
