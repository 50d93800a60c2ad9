"""What `womm doctor` asks a cluster: rights, quota, versions; and, by one worker, image, clock and link.

Each finding is a sentence with a verdict, told as soon as it is known; nothing stays behind. The worker is
started as a task's workers are, so what holds for it holds for them.
"""

import asyncio
import os
import shlex
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Final

from womm import words
from womm.cluster.base import Cluster, Loss, Pod, TaskSpec
from womm.cluster.kubernetes.advice import NO_NFS_CLIENT, advice_for, grant_line
from womm.cluster.kubernetes.client import ApiError, KubeClient
from womm.cluster.kubernetes.rbac import USER_RULES
from womm.errors import ClusterError, SettingsError, ShareError, WommError
from womm.link.client import Link
from womm.link.frames import (
    FrameType,
    RunRequest,
    decode_ended,
    encode,
    encode_credit,
    encode_run,
)
from womm.settings import LAZY, NO_SHARE, Settings
from womm.share.base import ShareEvents, TaskShare
from womm.share.nfs_secret import nfs_secret
from womm.task.clusters import Origin, make_cluster, share_spec, shared_folder
from womm.task.listing import target_of
from womm.task.parallel import new_task_id, say_what_is_missing
from womm.task.runtime import runtime_folder
from womm.task.shares import make_share
from womm.words import duration

OLDEST_MINOR: Final = 30
"""Kubernetes 1.30 is the first whose exec can close stdin (v5.channel.k8s.io)."""
SKEW_S: Final = 2.0
DATA_BYTES: Final = 32 << 20
PINGS: Final = 20
SHARE_BYTES: Final = 16 << 20
SHARE_FILES: Final = 200
_SESSION: Final = b"womm doctor ----"


class Verdict(Enum):
    GOOD = "good"
    BAD = "bad"
    """womm does not work so."""
    WEAK = "weak"
    """It works, but not well, or not always."""


@dataclass(frozen=True, slots=True)
class Finding:
    name: str
    verdict: Verdict
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears of each finding when it is there, and in between what is waited for."""

    found: Callable[[Finding], None]
    say: Callable[[str], None]


async def check_cluster(
    settings: Settings, perl: str, folder: Path, listener: Listener, *, pod: bool
) -> None:
    """Ask the cluster that the settings name; `pod`: also start a worker there. Raises nothing of womm's."""
    found = listener.found
    try:
        client = await KubeClient.connect(target_of(settings))
    except ClusterError as exc:
        return found(Finding("kubeconfig", Verdict.BAD, exc.message, exc.hint or ""))
    where = f"{client.context or 'from within a cluster'}, namespace {client.namespace}"
    found(Finding("kubeconfig", Verdict.GOOD, where))
    try:
        version = await _version(client)
        found(version)
        rights = await _rights(client, settings)
        found(rights)
        found(await _quota(client))
    except ClusterError as exc:
        return found(Finding("API server", Verdict.BAD, exc.message, exc.hint or ""))
    finally:
        await client.close()
    if pod and Verdict.BAD not in (version.verdict, rights.verdict):
        await _worker(settings, perl, folder, listener)
    return None


async def _version(client: KubeClient) -> Finding:
    began = time.monotonic()
    version = await client.request("GET", "/version")
    took_ms = (time.monotonic() - began) * 1000
    text = f"{version.get('gitVersion')} at {client.host}, answers in {took_ms:.0f} ms"
    minor = "".join(filter(str.isdigit, str(version.get("minor", ""))))
    if version.get("major") == "1" and minor and int(minor) < OLDEST_MINOR:
        hint = f"a cluster of Kubernetes 1.{OLDEST_MINOR} or newer"
        return Finding("API server", Verdict.BAD, f"{text}: its exec cannot close stdin", hint)
    return Finding("API server", Verdict.GOOD, text)


async def _rights(client: KubeClient, settings: Settings) -> Finding:
    """A SelfSubjectAccessReview for each verb that a task needs."""
    optional = _OPTIONAL | (_OF_SHARES if settings.share == NO_SHARE else frozenset())
    asked = [
        (group, resource, verb)
        for group, resources, verbs in USER_RULES
        for resource in resources
        for verb in verbs
        if resource not in optional
    ]
    answers = await asyncio.gather(*(_may(client, *what) for what in asked))
    denied: dict[str, list[str]] = {}
    for (_, resource, verb), may in zip(asked, answers, strict=True):
        if not may:
            denied.setdefault(resource, []).append(verb)
    if denied:
        hint = grant_line(client.namespace, await _user(client))
        missing = ", ".join(f"{resource} ({', '.join(verbs)})" for resource, verbs in denied.items())
        return Finding("permissions", Verdict.BAD, f"missing: {missing}", hint)
    kinds = words.counted(len({resource for _, resource, _ in asked}), "kind of object", "kinds of objects")
    text = f"all that a task needs here: {len(asked)} rights on {kinds}"
    return Finding("permissions", Verdict.GOOD, text)


async def _user(client: KubeClient) -> str:
    """As whom the cluster knows us; NAME where it does not say (before Kubernetes 1.28)."""
    group = "authentication.k8s.io/v1"
    body = {"apiVersion": group, "kind": "SelfSubjectReview"}
    try:
        answer = await client.request("POST", f"/apis/{group}/selfsubjectreviews", body=body)
    except ApiError:
        return "NAME"
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "NAME")


_OPTIONAL: Final = frozenset(["events", "resourcequotas", "limitranges", "pods/log"])
_OF_SHARES: Final = frozenset(["services", "secrets"])


async def _may(client: KubeClient, group: str, resource: str, verb: str) -> bool:
    name, _, part = resource.partition("/")
    attributes = {
        "namespace": client.namespace,
        "verb": verb,
        "group": group,
        "resource": name,
        **({"subresource": part} if part else {}),
    }
    answer = await client.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        body={
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        },
    )
    return bool((answer.get("status") or {}).get("allowed"))


async def _quota(client: KubeClient) -> Finding:
    try:
        quotas, _ = await client.list(f"/api/v1/namespaces/{client.namespace}/resourcequotas")
    except ApiError as exc:
        return Finding("quota", Verdict.WEAK, f"cannot be read: {exc.reason or exc.code}")
    words = []
    for quota in quotas:
        status = quota.get("status") or {}
        used = status.get("used") or {}
        words += [
            f"{name} {used.get(name, '0')} of {hard}" for name, hard in (status.get("hard") or {}).items()
        ]
    return Finding("quota", Verdict.GOOD, ", ".join(words) or "none")


_PASSING: Final = frozenset(["ContainerCreating", "Pending"])


class _Probe:
    """The observer of one worker, and the handler of the link to it."""

    def __init__(self) -> None:
        self.pod: asyncio.Future[Pod] = asyncio.get_running_loop().create_future()
        self.pod.add_done_callback(lambda pod: pod.cancelled() or pod.exception())  # also if nobody waits
        self.up = asyncio.Event()
        self.waits = ""
        self._reasons: Mapping[str, int] = {}
        self.pong = asyncio.Event()
        self.ended = asyncio.Event()
        self.out = bytearray()
        self.size = 0
        self.status = 0

    def pod_started(self, pod: Pod) -> None:
        if not self.pod.done():
            self.pod.set_result(pod)

    def pod_gone(self, pod: Pod, loss: Loss, detail: str) -> None:
        self.waits = f"it ended: {detail}"

    def pod_left(self, name: str, reason: str) -> None:
        self.waits = reason

    def pod_vanished(self, name: str) -> None:
        pass

    def job_processes(self, pod: Pod) -> list[int]:
        return []

    def pods_wait(self, reasons: Mapping[str, int]) -> None:
        self._reasons = reasons
        for reason in reasons:
            if NO_NFS_CLIENT in reason and not self.pod.done():  # no waiting mends that
                self.pod.set_exception(ClusterError(f"none will come: {reason}", advice_for([reason])))
        # A pod that is replaced is created again: what was wrong with the last one says more.
        telling = [reason for reason in reasons if reason not in _PASSING]
        if telling or not self.waits:
            self.waits = ", ".join(telling or reasons)

    def waiting_for(self) -> str:
        return ", ".join(f"{count} {reason}" for reason, count in self._reasons.items())

    def notice(self, text: str) -> None:
        pass

    def link_up(self, link: Link) -> None:
        self.up.set()

    def link_cut(self, link: Link, reason: str) -> None:
        self.waits = reason

    def link_lost(self, link: Link, reason: str) -> None:
        self.waits = reason

    def link_frame(self, link: Link, kind: int, job: int, payload: memoryview | bytes) -> None:
        if kind == FrameType.PONG:
            self.pong.set()
        elif kind in (FrameType.OUT, FrameType.ERR):
            self.size += len(payload)
            if len(self.out) < 1000:
                self.out += payload
            link.send(encode_credit(job, 1 if kind == FrameType.OUT else 2, len(payload)))
        elif kind == FrameType.ENDED:
            self.status = decode_ended(payload).value
            self.ended.set()


async def _worker(settings: Settings, perl: str, folder: Path, listener: Listener) -> None:
    task = new_task_id()
    with runtime_folder(task, os.environ, shared_folder(settings, folder)) as runtime:
        try:
            cluster = await make_cluster(settings, runtime, perl, Origin("doctor", ("doctor",)))
        except WommError as exc:
            return listener.found(_bad(exc))
        probe = _Probe()
        share: TaskShare | None = None
        try:
            spec = _spec(settings, task, folder)
            if settings.share == LAZY:
                share = await make_share(settings, folder, task, _silent(probe))
                spec = replace(spec, share=share.spec if share is not None else None)
            elif (eager := share_spec(settings, folder, nfs_secret())) is not None:
                # Whether it can be mounted: nothing is copied, and no volume of the user's is touched.
                spec = replace(spec, share=replace(eager, claim="", store=""))
            await _look_at(cluster, share, probe, settings, spec, listener=listener)
        except (ClusterError, SettingsError, ShareError) as exc:
            listener.found(_bad(exc))
        except TimeoutError:
            text = f"none after {duration(settings.ready_timeout_s)}: {probe.waits or 'no reason known'}"
            advice = advice_for([probe.waits])
            listener.found(Finding("worker", Verdict.BAD, text, advice if advice != advice_for([]) else ""))
        finally:
            await cluster.stop()
            if share is not None:
                await share.close()
    return None


def _spec(settings: Settings, task: str, folder: Path) -> TaskSpec:
    return TaskSpec(
        task=task,
        folder=folder,
        pods=1,
        slots=1,
        cpu=settings.kube_cpu,
        mem=settings.kube_mem,
        shell=settings.shell or "/bin/sh",
        orphan_timeout_s=min(300.0, settings.orphan_timeout_s),
    )


def _silent(probe: _Probe) -> ShareEvents:
    def lost(reason: str) -> None:
        probe.waits = reason

    def disk_lost() -> bool:
        lost("the file server's disk is lost")
        return False

    return ShareEvents(
        lambda text: None, lost, disk_lost, None, lambda *count_bytes: None, lambda unsent: None
    )


def _bad(exc: WommError) -> Finding:
    return Finding("worker", Verdict.BAD, exc.message, exc.hint or "")


async def _look_at(
    cluster: Cluster,
    share: TaskShare | None,
    probe: _Probe,
    settings: Settings,
    spec: TaskSpec,
    *,
    listener: Listener,
) -> None:
    began, found = time.monotonic(), listener.found
    async with asyncio.timeout(settings.ready_timeout_s), _saying(probe, listener.say) as notices:
        await cluster.start(spec, probe)
        if share is not None:
            await share.begin(cluster)
        pod = await probe.pod
        link = Link(pod.name, cluster.dial(pod), _SESSION, probe)
        link.start()
        try:
            await probe.up.wait()
            notices.cancel()
            ready_s = time.monotonic() - began
            perl = await _run(link, probe, 1, b"perl -e 'printf q(%vd), $^V'; echo; id -u")
            version, _, user = perl.partition(" ")
            text = f"{settings.image} runs after {ready_s:.1f} s, as uid {user}, with perl {version}"
            found(Finding("image", Verdict.GOOD, text))
            found(await _clock(link, probe))
            found(await _round_trip(link, probe))
            found(await _speed(link, probe))
            if share is not None:
                await _share(link, probe, share, spec.task, found)
            elif spec.share is not None:
                how = (
                    "each pod gets a copy of its own of" if cluster.copies_into_pods else "the worker mounts"
                )
                found(Finding("share", Verdict.GOOD, f"{how} {spec.share.folder}"))
        finally:
            await link.close()


@asynccontextmanager
async def _saying(probe: _Probe, say: Callable[[str], None]) -> AsyncIterator["asyncio.Task[None]"]:
    """Say meanwhile why no worker is there, as a task does."""
    notices = asyncio.create_task(say_what_is_missing(probe, say))
    try:
        yield notices
    finally:
        notices.cancel()
        await asyncio.wait([notices])


async def _run(link: Link, probe: _Probe, job: int, command: bytes) -> str:
    probe.ended.clear()
    probe.out.clear()
    probe.size = 0
    link.send(encode_run(job, RunRequest(command)))
    await probe.ended.wait()
    return " ".join(probe.out.decode(errors="replace").split())


async def _clock(link: Link, probe: _Probe) -> Finding:
    before = time.time()
    text = await _run(link, probe, 2, b"date +%s.%N")
    middle = (before + time.time()) / 2
    try:
        skew = float(text.removesuffix("N")) - middle
    except ValueError:
        return Finding("clock", Verdict.WEAK, f"the image's date says {text!r}")
    words = f"the node's is {abs(skew):.1f} s {'ahead' if skew > 0 else 'behind'}"
    if abs(skew) > SKEW_S:
        return Finding("clock", Verdict.WEAK, words, "timedatectl")
    return Finding("clock", Verdict.GOOD, words)


async def _round_trip(link: Link, probe: _Probe) -> Finding:
    times = []
    for _ in range(PINGS):
        probe.pong.clear()
        began = time.monotonic()
        link.send(encode(FrameType.PING))
        await probe.pong.wait()
        times.append((time.monotonic() - began) * 1000)
    times.sort()
    text = f"{times[PINGS // 2]:.1f} ms there and back (up to {times[-1]:.1f})"
    return Finding("link", Verdict.GOOD, text)


async def _speed(link: Link, probe: _Probe) -> Finding:
    began = time.monotonic()
    await _run(link, probe, 3, b"head -c %d /dev/zero" % DATA_BYTES)
    took = time.monotonic() - began
    return Finding("link", Verdict.GOOD, f"{probe.size / took / 1e6:.0f} MB/s from a job to here")


async def _share(
    link: Link, probe: _Probe, share: TaskShare, task: str, found: Callable[[Finding], None]
) -> None:
    """Time the share with files of our own, in a folder that is removed again."""
    places = [share.spec.folder / path for path in share.spec.write or (".",)]
    writable = None if share.spec.read_only else next(filter(Path.is_dir, places), None)
    folder = (writable or share.spec.folder) / f".womm-doctor-{task}"
    assert share.jobs is not None
    try:
        await asyncio.to_thread(_make_samples, folder)
        await share.jobs.refresh()
        place = os.fsencode(shlex.quote(str(folder)))
        first_s = await _timed(link, probe, b"head -c 1 %b/first" % place)
        read_s = await _timed(link, probe, b"cat %b/data >/dev/null" % place)
        look_s = await _timed(link, probe, b"ls -l %b/many >/dev/null" % place)
        text = (
            f"first byte of a file after {first_s * 1000:.0f} ms, {SHARE_BYTES / read_s / 1e6:.0f} MB/s to a"
        )
        text += f" pod, {words.counted(round(SHARE_FILES / look_s), 'file')} a second looked at"
        found(Finding("share", Verdict.GOOD, text))
        if writable is not None:
            began = time.monotonic()
            await _run(link, probe, 4, b"head -c %d /dev/zero >%b/written" % (SHARE_BYTES, place))
            if probe.status or (why := await share.jobs.settle(4, "")):
                why = why if not probe.status else f"a pod cannot write into {writable}"
                return found(Finding("share", Verdict.BAD, why))
            write_s = time.monotonic() - began
            made_s = await _timed(
                link, probe, b"i=0; while [ $i -lt 50 ]; do : >%b/made.$i; i=$((i+1)); done" % place
            )
            await share.jobs.settle(4, "")
            text = (
                f"{SHARE_BYTES / write_s / 1e6:.0f} MB/s from a pod into the folder,"
                f" {words.counted(round(50 / made_s), 'file')}"
            )
            found(Finding("share", Verdict.GOOD, f"{text} a second made"))
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
    return None


def _make_samples(folder: Path) -> None:
    (folder / "many").mkdir(parents=True)
    (folder / "first").write_bytes(b"1")
    (folder / "data").write_bytes(os.urandom(SHARE_BYTES))
    for number in range(SHARE_FILES):
        (folder / "many" / str(number)).touch()


async def _timed(link: Link, probe: _Probe, command: bytes) -> float:
    """Return the seconds that a command takes, with its start."""
    began = time.monotonic()
    await _run(link, probe, 5, command)
    return time.monotonic() - began
