"""Counts and times per operation, and what the server has open."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from womm.nfs.constants import Op


@dataclass(slots=True)
class OpMetrics:
    count: int = 0
    errors: int = 0
    ns: int = 0
    """Time from decoding to the result, waiting included."""


@dataclass(slots=True)
class Metrics:
    """Counters since the start; read them at any time."""

    operations: dict[int, OpMetrics] = field(default_factory=lambda: {op.value: OpMetrics() for op in Op})
    connections: int = 0
    """Open now."""
    connections_total: int = 0
    shed: int = 0
    """Connections that the server has closed: limits, garbage, clients that do not read."""
    requests: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    retries: int = 0
    """Requests of 4.0 that were answered from the reply cache."""

    def note(self, op: int, ns: int, *, failed: bool) -> None:
        found = self.operations[op]
        found.count += 1
        found.ns += ns
        if failed:
            found.errors += 1

    def as_dict(self) -> Mapping[str, int | Mapping[str, Mapping[str, float]]]:
        """Return all of it as JSON's types; operations that never came are left out."""
        return {
            "connections": self.connections,
            "connections_total": self.connections_total,
            "shed": self.shed,
            "requests": self.requests,
            "received_bytes": self.received_bytes,
            "sent_bytes": self.sent_bytes,
            "retries": self.retries,
            "operations": {
                Op(op).name: {"count": found.count, "errors": found.errors, "seconds": found.ns / 1e9}
                for op, found in self.operations.items()
                if found.count
            },
        }
