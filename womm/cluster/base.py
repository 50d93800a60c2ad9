"""The protocols between a task and a cluster.

A `Cluster` keeps a wanted number of pods alive, each with an agent in it, and tells a `PodObserver` about
them. It decides nothing about jobs: that is the dispatcher's pool. A `ShareHost` is the part of a cluster
that serves the task's folder to pods which do not have it; a cluster whose pods have it anyway needs none.
"""

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Protocol

from womm.link.client import Dial


class Loss(Enum):
    """Why a pod is gone, as far as the cluster knows. It decides how often the pod's jobs run again."""

    REMOVED = "removed"
    """It was deleted, evicted or preempted, or its node is lost: not the job's doing, so without limit."""
    CRASHED = "crashed"
    """It ended, and the cluster gives no reason: perhaps the job's doing."""
    OOM_KILLED = "out of memory"
    DISK = "the file server's disk is lost"
    """What the job wrote is lost with it. That is not the job's doing, and the pod is well."""


@dataclass(frozen=True, slots=True)
class Pod:
    """One life of a worker. `instance` grows each time that a pod of this name is started anew."""

    name: str
    instance: int
    slots: int
    pid: int = 0
    """The agent's process on this machine; 0 elsewhere."""
    node: str = ""
    """The machine that it is on; empty: this one."""


@dataclass(frozen=True, slots=True)
class ShareSpec:
    """The folder that the workers see, by way of a file server in the cluster.

    kind: `lazy`, `eager` or `eager-syncback`. folder: absolute, and where workers see it. secret: the files
    of the file server's `--secret` folder, by name; `export`, among them, is the 32 hex digits of the path
    that is mounted. claim: a PersistentVolumeClaim for what eager copies;
    store: the folder in it. cache_bytes: how much of the folder a lazy file server keeps. write: the only
    paths in the folder that pods may change; none: all of it.
    """

    kind: str
    folder: Path
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
class PodPython:
    """The python3 of a file server's pod: "3.13", "x86_64", "glibc 2.36" or "musl 1.2"."""

    version: str
    machine: str
    libc: str


class Bundles(Protocol):
    """Makes what a file server runs, for pods whose image has python3 and no womm."""

    def provide(
        self,
        python: PodPython,
        *,
        making: Callable[[], None] = lambda: None,
        stop: threading.Event | None = None,
    ) -> Path:
        """Return the file of the bundle for such a pod. May block for long. Raises ImageError.

        making: is called first if there is none yet. stop: ends it early once it is set.
        """


class Digests(Protocol):
    """Keeps the digests of images. It may block, and raises nothing."""

    def learn(self, image: str, image_id: str) -> None:
        """Take what a pod's status says of an image (`imageID`)."""

    def refuse(self, image: str) -> None:
        """Take note that the image cannot be pulled by its digest."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """The program of the file server's pod.

    image: has womm in it; or, with bundles, python3 alone: then the cluster brings a bundle into each pod.
    by_digest: the same image, to be tried first; empty: its digest is not known. digests: hear of it.
    """

    image: str
    bundles: Bundles | None = None
    by_digest: str = ""
    digests: Digests | None = None


@dataclass(frozen=True, slots=True)
class ProgramMount:
    """A folder of this machine in workers: `source` here, mounted at `path` there. Both absolute."""

    path: str
    source: str


@dataclass(frozen=True, slots=True)
class ProgramsSpec:
    """This machine's programs, as workers see them: read-only, by way of the file server.

    mounts: in the order in which they are mounted. secret: as ShareSpec's. env: variables of the workers that
    programs need. perl: the agents', absolute. cache_bytes: how much of them the file server keeps.
    machine: the architecture as Kubernetes names it; empty: any. least_kernel: what the C library needs.
    """

    mounts: tuple[ProgramMount, ...]
    secret: Mapping[str, bytes] = field(repr=False)
    env: Mapping[str, str] = field(default_factory=dict)
    perl: str = "/usr/bin/perl"
    cache_bytes: int = 4 << 30
    machine: str = ""
    least_kernel: tuple[int, ...] = ()

    @property
    def export(self) -> str:
        """As ShareSpec.export. `source` of a mount follows it."""
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
    """A task as a cluster knows it.

    pods, slots: counts. env: is added to the agents' environment, as are WOMM_TASK, WOMM_POD and
    WOMM_ATTEMPT=1 (a later attempt at a job says so itself). folder: jobs run in it if the pods have it, as
    on this machine, or with a share that the folder is a part of; else they run in the image's own.
    """

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
    server: ServerSpec | None = None
    """None: neither the share nor the programs need a file server."""
    programs: ProgramsSpec | None = None
    """None: the image has the programs."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where pods are: the kubeconfig's context (empty: from within the cluster) and the namespace.

    Both are empty for pods that are not in Kubernetes.
    """

    context: str = ""
    namespace: str = ""


class PodObserver(Protocol):
    """Hears of pods, on the event loop. Calls must neither block nor raise."""

    def pod_started(self, pod: Pod) -> None:
        """The pod's agent listens: it can be dialled."""

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        """The pod has ended, and every process of its jobs with it. `detail` is its own last words."""

    def pod_left(self, name: str, reason: str) -> None:
        """No pod of this name will be started any more."""

    def pod_vanished(self, name: str) -> None:
        """The pod is gone, or never came, and no pod of its name will come: its replacement has another."""

    def job_processes(self, pod: Pod) -> list[int]:
        """Return the process ids (and session ids) of the jobs that run in the pod now."""

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        """Pods that are wanted are not there yet: their counts by reason. Empty: no pod is missing."""

    def notice(self, text: str) -> None:
        """One line of other news for the user."""


class Cluster(Protocol):
    """A source of pods. `start` is called once; after `stop` nothing of the task is left.

    After an error of `start`, `stop` is still called, and removes what was made until then. After an error of
    `stop` something may be left, and another `stop` is of no use: `womm finish` removes it. The other calls
    raise nothing; what they cannot do they do not report, since the observer hears what becomes of the pods.
    """

    name: str

    @property
    def window_bytes(self) -> int:
        """How far a job's stream may be ahead of its consumer, with bytes on their way; at least WINDOW."""

    @property
    def wanted(self) -> int:
        """The count of pods that are there or may still come, without those that have left."""

    @property
    def where(self) -> Place:
        """Where the pods are."""

    def advice(self) -> str:
        """Return the next thing to type or to change when no pod becomes ready."""

    async def start(self, spec: TaskSpec, observer: PodObserver) -> None:
        """Begin to keep `spec.pods` pods alive. Raises ClusterError when there can never be one."""

    def dial(self, pod: Pod) -> Dial:
        """Return what connects to this pod's agent.

        To connect raises OSError when the pod is out of reach or has ended, Offline when the whole cluster is
        out of reach. Both may be tried again.
        """

    @property
    def share_host(self) -> "ShareHost | None":
        """The host of the task's share, from `start` on. None: the task's pods have no share."""

    async def end_pod(self, pod: Pod, reason: str) -> None:
        """End this pod and its jobs (it is unreachable or misbehaves). `pod_gone` follows."""

    def leave(self, name: str, reason: str) -> None:
        """Start no pod of this name any more. `pod_left` follows."""

    def drain(self) -> None:
        """Start no pods any more. Those that are there end when their agents get the word."""

    async def stop(self) -> None:
        """End every pod and remove all that the cluster made, however far `start` came. Idempotent.

        Raises ClusterError when something is left. Cancelled, it has still asked for the removal.
        """


class ShareHost(Protocol):
    """Serves the share of a task in the cluster: by a file server for all pods, or by a copy in each of them.

    It is valid from the cluster's `start` to its `stop`. No call changes anything when it raises: it may be
    repeated.
    """

    @property
    def where(self) -> Place:
        """Where the pods are."""

    @property
    def copies_into_pods(self) -> bool:
        """Each worker has a folder of its own, for a copy (see `copy_dial`): nodes cannot mount the share.

        Where the namespace refuses such mounts there is no file server, and this is known when the cluster
        has started; where mounts fail, it is known before the first worker starts.
        """

    def share_dial(self, command: Sequence[str] = (), *, last: bool = False) -> Dial:
        """Return what connects to the task's file server, whichever pod it is in at the time.

        command: is run beside the file server, and the connection is to its stdin and stdout; it waits until
        the file server is in one pod alone, and that one stays. last: it takes the pod that is to go instead,
        as long as that can be reached. Raises ClusterError where there is no file server. To connect raises
        OSError while the file server is out of reach, ShareError when it will not come back.
        """

    def copy_dial(self, pod: Pod, command: Sequence[str]) -> Dial:
        """Return what connects to stdin and stdout of a command that is run in this worker.

        To connect raises OSError while the worker is out of reach, and after its end.
        """

    def programs_dial(self) -> Dial:
        """Return what connects to the part of the file server that has this machine's programs.

        Raises ClusterError where the task has none. To connect raises as `share_dial`'s.
        """

    def release_workers(self) -> None:
        """Let the workers come: what they need to start is in the file server. Idempotent.

        Only a task with programs waits for this.
        """

    def before_share_ends(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do this once, while the task ends: no worker has the share, and its file server is still there.

        Several works are done at once. A WommError, TimeoutError or OSError of one is dropped, and the task's
        end goes on.
        """

    def when_share_moves(self, tell: Callable[[bool], None]) -> None:
        """Call this, too, from now on when the pod of the file server goes, and when another has come.

        What is on the pod's disk may go with it. tell(True): that pod is still there (see `last`).
        """
