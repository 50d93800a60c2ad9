"""From what a watch says of a task's workers to what follows from it. Pure: no requests, no clock.

A worker is one life of a pod's container: its instance is the container's restart count plus one. A
container that was restarted under the same name is a lost worker and a new one.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from womm import words
from womm.cluster.base import Loss, Pod
from womm.cluster.kubernetes.advice import pull_words
from womm.cluster.kubernetes.manifests import WORKER, Object

_DISRUPTED: Final = frozenset(
    [
        "Evicted",
        "Preempting",
        "Preempted",
        "NodeShutdown",
        "Shutdown",
        "Terminated",
        "NodeLost",
        "NodeAffinity",
    ]
)
"""Reasons of a failed pod that are not its containers' doing."""
_NOT_STARTED: Final = frozenset(["StartError", "ContainerCannotRun", "RunContainerError"])
"""Reasons of containers whose program could not be started: the message is the runtime's."""
_OWN_WORDS: Final = re.compile(
    r"^womm agent: (?!listening)| at \S*agent\.pl line [0-9]+|^exec \S*perl: exec format error$"
    r"|^FATAL: kernel too old$|^\S*perl: error while loading shared libraries: "
)
"""Lines of the agent, the runtime's for a perl of another architecture, and the loader's."""
_WORDS_LIMIT: Final = 200


@dataclass(frozen=True, slots=True)
class Started:
    """The worker's container runs."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class Gone:
    """The worker has ended, and every process in it."""

    pod: Pod
    loss: Loss
    detail: str


@dataclass(frozen=True, slots=True)
class Replace:
    """Delete this pod: it is of no use, and the Deployment makes a better one."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Vanished:
    """There is no such pod any more; its replacement has another name."""

    name: str


PodChange: TypeAlias = Started | Gone | Replace | Vanished


@dataclass(slots=True)
class _Known:
    live: Pod | None = None
    leaving: str = ""
    """Why it is being removed, once it is."""
    replaced: bool = False
    waits: str = ""
    text: str = ""
    instance: int = 1
    node: str = ""


class PodBook:
    """The workers of one task. `slots` per worker; `mem` is the memory limit, for words; `container` is
    the one that counts.

    `replace` takes a whole list (at first, and after a watch has lost its place), `apply` and
    `remove` single events; all of them return what has changed, in order.
    """

    def __init__(self, slots: int, mem: str, container: str = WORKER) -> None:
        self._slots = slots
        self._mem = mem
        self._container = container
        self._pods: dict[str, _Known] = {}
        self._trouble: tuple[str, str] | None = None
        """Why the last pod was replaced that never stayed up: so its successor is in for the same."""
        self._creating: dict[str, None] = {}

    def __repr__(self) -> str:
        return f"<PodBook {len(self.live)}/{len(self._pods)} live>"

    @property
    def live(self) -> list[Pod]:
        return [known.live for known in self._pods.values() if known.live is not None]

    @property
    def names(self) -> list[str]:
        """All pods that the cluster has of this task, also those that are on their way out."""
        return list(self._pods)

    @property
    def creating(self) -> list[str]:
        """Pods with a node whose container is not made yet: events may tell what holds it up."""
        return list(self._creating)

    def is_creating(self, name: str) -> bool:
        return name in self._creating

    def node(self, name: str) -> str:
        """Where a pod is; empty: not known yet."""
        known = self._pods.get(name)
        return known.node if known is not None else ""

    def is_live(self, pod: Pod) -> bool:
        known = self._pods.get(pod.name)
        return known is not None and known.live == pod

    def reasons(self) -> Counter[str]:
        """Why workers are not there, as counts by reason."""
        return Counter(reason for reason, _ in map(self._why, self._pods.values()) if reason)

    def texts(self) -> dict[str, str]:
        """The cluster's own words for each reason: one example of each."""
        return {reason: text for reason, text in map(self._why, self._pods.values()) if reason and text}

    def _why(self, known: _Known) -> tuple[str, str]:
        if known.waits == "ContainerCreating" and self._trouble is not None:
            return self._trouble
        return known.waits, known.text

    def replace(self, items: Iterable[Object]) -> list[PodChange]:
        changes: list[PodChange] = []
        seen = set()
        for item in items:
            seen.add(item["metadata"]["name"])
            changes += self.apply(item)
        for name in [name for name in self._pods if name not in seen]:
            changes += self.remove(name)
        return changes

    def remove(self, name: str) -> list[PodChange]:
        """The object is gone from the API server."""
        known = self._pods.pop(name, None)
        self._creating.pop(name, None)
        if known is None:
            return []
        if known.live is None:
            return [Vanished(name)]
        return [Gone(known.live, Loss.REMOVED, known.leaving or "deleted"), Vanished(name)]

    def answered(self, name: str) -> list[PodChange]:
        """The worker's agent answers: the worker has started, whatever the watch has said so far."""
        if name not in self._creating:
            return []
        del self._creating[name]
        known = self._pods[name]
        known.live, known.waits = Pod(name, known.instance, self._slots, node=known.node), ""
        return [Started(known.live)]

    def expect_end(self, pod: Pod, why: str) -> None:
        """womm itself ends this pod: what follows is its own doing."""
        if (known := self._pods.get(pod.name)) is not None:
            known.leaving = known.leaving or why

    def give_up(self, pod: Pod) -> list[PodChange]:
        """Whatever the cluster says, this worker counts as gone: nobody can ask its node."""
        known = self._pods.get(pod.name)
        if known is None or known.live != pod:
            return []
        known.live = None
        return [Gone(pod, Loss.REMOVED, known.leaving or "unreachable")]

    def apply(self, item: Object) -> list[PodChange]:
        metadata, status = item["metadata"], item.get("status") or {}
        name = metadata["name"]
        known = self._pods.setdefault(name, _Known())
        container = _container_status(status, self._container)
        state = container.get("state") or {}
        instance = known.instance = int(container.get("restartCount") or 0) + 1
        known.node = str((item.get("spec") or {}).get("nodeName") or "")
        if not known.leaving:
            known.leaving = _why_leaving(item)
        changes: list[PodChange] = []
        live = known.live
        ended = "terminated" in state or status.get("phase") in {"Failed", "Succeeded"}
        if live is not None and (ended or instance > live.instance):
            last = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
            known.live = None
            changes.append(Gone(live, *self._loss(known, status, last)))
        fresh = known.live is None and not known.leaving
        if fresh and "running" in state and status.get("phase") == "Running":
            known.live = Pod(name, instance, self._slots, node=known.node)
            self._trouble = None
            changes.append(Started(known.live))
        waits, text = _waiting(item, container)
        if not text and waits == known.waits == "ImagePullBackOff":  # older kubelets say why only once
            text = known.text
        known.waits = "" if known.live is not None or known.leaving else waits
        known.text = text
        if known.waits == "ContainerCreating" and known.node:
            self._creating[name] = None
        else:
            self._creating.pop(name, None)
        looping = _reason(state.get("waiting")) == "CrashLoopBackOff"
        if (
            (looping or status.get("phase") == "Failed")
            and not known.replaced
            and "deletionTimestamp" not in metadata
        ):
            known.replaced = True
            if looping:
                self._trouble = known.waits, known.text
            changes.append(Replace(name, known.waits or str(status.get("reason") or "failed")))
        return changes

    def _loss(self, known: _Known, status: Object, last: Object) -> tuple[Loss, str]:
        if last.get("reason") == "OOMKilled":
            return Loss.OOM_KILLED, f"memory limit {self._mem}"
        if known.leaving:
            return Loss.REMOVED, known.leaving
        if not last:
            return Loss.CRASHED, str(status.get("message") or "it ended, and nobody knows why")
        return Loss.CRASHED, _last_words(last)


def _container_status(status: Object, name: str) -> Object:
    for container in status.get("containerStatuses") or ():
        if container.get("name") == name:
            return dict(container)
    return {}


def _why_leaving(item: Object) -> str:
    """Why a pod is going away for a reason that is not its own; empty: it is not."""
    status = item.get("status") or {}
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            return _short(condition.get("message") or condition.get("reason") or "disrupted")
    if status.get("phase") == "Failed" and status.get("reason") in _DISRUPTED:
        return _short(status.get("message") or status["reason"])
    return "deleted" if "deletionTimestamp" in item["metadata"] else ""


def _last_words(terminated: Object) -> str:
    """How a container ended. Its log may hold what jobs have printed, so only the agent's own lines count."""
    detail = f"exit status {terminated.get('exitCode', '?')}"
    if _reason(terminated) not in {"", "Error", "Completed"}:
        detail += f", {terminated['reason']}"
    text = str(terminated.get("message") or "")
    if _reason(terminated) in _NOT_STARTED:
        return f"{detail}: {_short(text)}"
    own = [line for line in text.splitlines() if _OWN_WORDS.search(line)]
    return detail + (f": {_short(own[-1])}" if own else "")


def _reason(state: Object | None) -> str:
    return str((state or {}).get("reason") or "")


def _waiting(item: Object, container: Object) -> tuple[str, str]:
    """Why a pod has no running worker: one word, and the cluster's sentence for it."""
    status, state = item.get("status") or {}, container.get("state") or {}
    last = state.get("terminated") or (container.get("lastState") or {}).get("terminated")
    if _reason(last) in _NOT_STARTED and "running" not in state:
        return "RunContainerError", _short(str((last or {}).get("message") or ""))
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason") or "Unschedulable"), _short(condition.get("message") or "")
    waiting = state.get("waiting") or {}
    reason = _reason(waiting)
    if "running" in state:
        return "", ""
    if "terminated" in state:
        return "restarting", _last_words(state["terminated"])
    if reason == "CrashLoopBackOff" and last:
        return reason, _last_words(last)
    if reason in {"", "PodInitializing"}:
        for init in status.get("initContainerStatuses") or ():
            first = (init.get("state") or {}).get("waiting") or {}
            if first.get("reason"):
                return str(first["reason"]), _short(first.get("message") or "")
        return ("ContainerCreating" if (item.get("spec") or {}).get("nodeName") else "Pending"), ""
    text = str(waiting.get("message") or "")
    if reason in {"ErrImagePull", "ImagePullBackOff"}:  # the two alternate
        reason, text = "ImagePullBackOff", pull_words(_image(item, container), text)
    return reason, _short(text)


def _image(item: Object, container: Object) -> str:
    """The image of a container as the pod names it."""
    for one in (item.get("spec") or {}).get("containers") or ():
        if one.get("name") == container.get("name"):
            return str(one.get("image") or "")
    return str(container.get("image") or "")


def _short(text: str) -> str:
    """One line; never the path of an export, which is its only lock."""
    line = re.sub(r"[^\s:]+:/\S*", "...", " ".join(text.split())) if "mount" in text.lower() else text
    line = " ".join(line.split())
    return words.abridged(line, _WORDS_LIMIT)
