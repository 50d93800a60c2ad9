"""What a task needs of a cluster.

A cluster keeps a wanted number of pods alive, each with an agent in it, and tells an observer about
them. It decides nothing about jobs: that is the coordinator's pool.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from womm.link.client import Dial


class Loss(Enum):
    """Why a pod is gone, as far as the cluster knows: it decides how often its jobs run again."""

    REMOVED = "removed"
    """Deleted, evicted, preempted, its node lost: not the job's doing, so without limit."""
    CRASHED = "crashed"
    """Ended for a reason nobody told: perhaps the job's doing."""
    OOM_KILLED = "out of memory"
    DISK = "the file server's disk is lost"
    """And with it what the job wrote: not its doing either, and its pod is well."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One life of a worker. `instance` grows each time that a pod of this name is started anew."""

    name: str
    instance: int
    slots: int
    pid: int = 0
    """The agent's process on this machine; 0 elsewhere."""
    node: str = ""
    """The machine that it is on, where pods of one task may be on several; empty: this one."""


@dataclass(frozen=True, slots=True)
class ShareSpec:
    """The folder that the workers are to see, by way of a file server in the cluster.

    kind: `lazy`, `eager` or `eager-syncback`. folder: absolute, and where workers see it. image: the
    file server's. secret: the files of its `--secret` folder, by name; `export`, among them, is the 32
    hex digits of the path that is mounted. claim: a PersistentVolumeClaim for what eager copies;
    store: the folder in it. cache_bytes: how much of the folder a lazy file server keeps. write: the only
    paths in the folder that pods may change; none: all of it.
    """

    kind: str
    folder: Path
    image: str
    secret: Mapping[str, bytes] = field(repr=False)
    cache_bytes: int = 1 << 30
    read_only: bool = False
    write: tuple[str, ...] = ()
    claim: str = ""
    store: str = ""

    @property
    def export(self) -> str:
        """The path that NFS clients mount. It is the export's only lock: never to be logged or shown."""
        return "/womm-" + self.secret["export"].decode("ascii").strip()


@dataclass(frozen=True, slots=True)
class SharePaths:
    """Where a cluster keeps what an eager share needs.

    store: the folder of its copies, in the file server's pod. state: the file server's own folder there,
    which lasts as long as its disk. copy_into_pod: the command that fills the folder of its argument, in a
    worker.
    """

    store: str
    state: str
    copy_into_pod: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What a cluster needs to know of a task. `pods` and `slots` are counts; `env` is added to the
    agents' environment, as are WOMM_TASK, WOMM_POD and WOMM_ATTEMPT=1 (a later attempt at a job says
    so itself). Jobs run in `folder` where the pods have it: on this machine, or with a share, of which
    it is a part; else in the image's own."""

    task: str
    folder: Path
    pods: int
    slots: int
    cpu: str
    mem: str
    shell: str
    orphan_timeout_s: float
    local_slots: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    share: ShareSpec | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Of Kubernetes: the kubeconfig's context (empty: from within the cluster) and the namespace."""

    context: str = ""
    namespace: str = ""


class PodObserver(Protocol):
    """Hears of pods, on the event loop. Calls must not block."""

    def pod_started(self, pod: Pod) -> None:
        """Its agent listens: it can be dialled."""

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        """It has ended, and every process of its jobs with it. `detail` is its own last words."""

    def pod_left(self, name: str, reason: str) -> None:
        """No pod of this name will be started any more."""

    def pod_vanished(self, name: str) -> None:
        """It is gone, or never came, and none of its name will come: its replacement has another."""

    def job_processes(self, pod: Pod) -> list[int]:
        """Return the process ids (and session ids) of the jobs that run in the pod now."""

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        """Why pods that are wanted are not there yet, as counts by reason. Empty: none is missing."""

    def notice(self, text: str) -> None:
        """Something else that the user is to know: one line."""


class Cluster(Protocol):
    """A source of pods. `start` is called once; after `stop` nothing of the task is left."""

    name: str

    @property
    def window_bytes(self) -> int:
        """How far a job's stream may be ahead of its consumer, with what is on its way: WINDOW or more."""

    @property
    def wanted(self) -> int:
        """Pods that are there or may still come: those that have left are not counted."""

    @property
    def where(self) -> Place:
        """Where the pods are."""

    def advice(self) -> str:
        """What to type, or to change, when no pod becomes ready."""

    async def start(self, spec: TaskSpec, observer: PodObserver) -> None:
        """Begin to keep `spec.pods` pods alive. Raises ClusterError when none can ever be."""

    def dial(self, pod: Pod) -> Dial:
        """Return what connects to this pod's agent."""

    @property
    def share_host(self) -> "ShareHost | None":
        """What the task's share needs of the cluster, from `start` on. None: pods have no share."""

    async def end_pod(self, pod: Pod, reason: str) -> None:
        """End this pod and its jobs (it is unreachable or misbehaves). `pod_gone` follows."""

    def leave(self, name: str, reason: str) -> None:
        """Start no pod of this name any more. `pod_left` follows."""

    def drain(self) -> None:
        """Start no pods any more; those that are there end when their agents are told to."""

    async def stop(self) -> None:
        """End every pod and remove all that the cluster made. Idempotent, tolerant of half-made state.

        Raises ClusterError when something is left.
        """


class ShareHost(Protocol):
    """What serves the share of a task in the cluster: a file server for all pods, or a copy in each of them.

    A cluster whose pods have the folder anyway has none. No call changes anything when it raises: it may be
    repeated.
    """

    @property
    def where(self) -> Place:
        """Where the pods are."""

    @property
    def copies_into_pods(self) -> bool:
        """Each worker has a folder of its own, to be filled (see `copy_dial`): nodes cannot mount the share.

        Where the namespace refuses such mounts there is no file server, and this is known when the cluster
        has started; where they fail, it is known before the first worker is.
        """

    def share_dial(self, command: Sequence[str] = (), *, last: bool = False) -> Dial:
        """Return what connects to the task's file server, whichever pod it is in at the time.

        With a command: to its stdin and stdout, run beside the file server, once that is in a pod that is to
        stay, and in no other; `last`: as long as it can be reached, in one that is to go. Raises ClusterError
        where there is none. To connect raises OSError while it is out of reach, ShareError when it will not
        come back.
        """

    def copy_dial(self, pod: Pod, command: Sequence[str]) -> Dial:
        """Return what connects to stdin and stdout of a command that is run in this worker.

        To connect raises OSError while the worker is out of reach, and after its end.
        """

    def before_share_ends(self, work: Callable[[], Awaitable[None]]) -> None:
        """Have this done while the task ends: when no worker has the share any more, and its file
        server is still there. An exception of it ends nothing else."""

    def when_share_moves(self, tell: Callable[[bool], None]) -> None:
        """Have this called from now on when the pod of the file server goes, and when another has come: what
        is on its disk may go with it. True: it is still there (see `last`)."""
