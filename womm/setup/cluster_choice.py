"""Which cluster, context and namespace; and for which machines an image must be made.

Nothing is sent to the cluster before the questions have been answered: to read a kubeconfig is enough.

womm does not check that a pull secret exists. It would need the right to read secrets, which womm's users do
not have, and the answer would bring the secret's content here. `womm doctor` starts a worker, which shows it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from womm import words
from womm.cluster.kubernetes import contexts
from womm.errors import ClusterError
from womm.settings import KUBERNETES, LOCAL
from womm.setup.asking import Asker

log = logging.getLogger(__name__)

_NODES_S: Final = 10.0
"""How long to wait for the list of the nodes: it only spares the user a mistake."""
_HERE: Final = "this machine, without Kubernetes"
_POD: Final = "the cluster of this pod"
LOCAL_KEY: Final = " "
"""The choice of this machine: neither the name of a context, nor can somebody type it."""
OF_KUBERNETES: Final = ("context", "namespace", "kubeconfig", "image", "pull-secret")
"""Options that select Kubernetes, as they do for every command."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """cluster: `local` or `kubernetes`. namespace: the context's own."""

    cluster: str
    context: str = ""
    namespace: str = ""


def choose(
    asker: Asker, given: Mapping[str, object], before: Mapping[str, object], *, again: bool, hinted: bool
) -> Chosen:
    """Return the cluster, and its context, resolved: `.womm` shall mean the same tomorrow.

    given: keys that options name; before: those of `.womm`. again: ask in spite of `.womm`.
    hinted: other options ask for Kubernetes. Raises ClusterError, click.Abort.
    """
    hinted = hinted or any(given.get(key) for key in OF_KUBERNETES)
    wanted = str(given.get("cluster") or (KUBERNETES if hinted else ""))
    was = str(before.get("cluster") or "")
    asks = asker.asks and not wanted
    if wanted == LOCAL or (was == LOCAL and not (wanted or asks)):
        return Chosen(LOCAL)
    kubeconfig = str(given.get("kubeconfig") or before.get("kubeconfig") or "")
    context = str(given.get("context") or ("" if was == LOCAL and asks else before.get("context")) or "")
    try:
        found = contexts.known(kubeconfig, context)
    except ClusterError:
        if was == LOCAL and asks:
            return Chosen(LOCAL)
        raise
    if asker.asks and not given.get("context") and (again or not context):
        context = _asked(asker, found, LOCAL if was == LOCAL and asks else context, offers_local=asks)
        if context == LOCAL_KEY:
            return Chosen(LOCAL)
    return Chosen(KUBERNETES, *found.resolved(context, ""))


def _asked(asker: Asker, found: contexts.Contexts, default: str, *, offers_local: bool) -> str:
    """Ask for a context, or this machine, if there is a choice."""
    choices = {name: f"context {words.name(name)}" if name else _POD for name in found.namespaces}
    if len(choices) < 2 and default != LOCAL:
        return default or next(iter(choices), "")
    if offers_local:
        choices[LOCAL_KEY] = _HERE
    default = LOCAL_KEY if default == LOCAL else default or found.current
    return asker.choose("Where do the jobs of this folder run?", choices, default, option="--context")


def architectures(context: str, kubeconfig: str, selector: Mapping[str, str]) -> frozenset[str] | None:
    """Return the architectures (`amd64`) of the nodes that pods may get; None: unknown.

    selector: labels that a node must have. Users often may not read nodes.
    """
    import asyncio

    from womm.cluster.kubernetes.client import KubeClient, Target
    from womm.task.targets import run_apart

    async def find() -> frozenset[str]:
        client = await KubeClient.connect(Target(context, "", kubeconfig))
        try:
            labels = ",".join(f"{name}={value}" for name, value in selector.items())
            nodes, _ = await client.list("/api/v1/nodes", labels=labels)
            found = [(node["metadata"].get("labels") or {}).get("kubernetes.io/arch") for node in nodes]
            return frozenset(map(str, filter(None, found)))
        finally:
            await client.close()

    async def find_soon() -> frozenset[str]:
        async with asyncio.timeout(_NODES_S):
            return await find()

    try:
        return run_apart(find_soon()) or None
    except (ClusterError, TimeoutError) as exc:
        log.debug("no architectures of nodes: %s", exc)
        return None
