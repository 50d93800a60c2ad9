"""`womm doctor` on a cluster: its answers to some questions; and one worker's image, clock, link and share.

The caller gets each finding as soon as it is known; nothing stays behind. The worker is started as a task's
workers are, so a finding on it holds for them.
"""

import asyncio
import os
import shlex
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from womm import words
from womm.cluster.base import Loss, Pod
from womm.cluster.finding import Finding, Verdict
from womm.cluster.kubernetes.checkup import ask_cluster, hint_for, hopeless
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
from womm.settings import NO_SHARE, Settings
from womm.share.base import ShareEvents, TaskShare
from womm.task.clusters import Origin
from womm.task.readiness import saying_what_is_missing
from womm.task.session import TaskPods, TaskRequest, open_pods
from womm.task.targets import target_of
from womm.words import duration

SKEW_S: Final = 2.0
DATA_BYTES: Final = 32 << 20
PINGS: Final = 20
SHARE_BYTES: Final = 16 << 20
SHARE_FILES: Final = 200
_SESSION: Final = b"womm doctor ----"


@dataclass(frozen=True, slots=True)
class Listener:
    """Gets each finding as soon as it is known; `say` gets lines on what the doctor waits for meanwhile."""

    found: Callable[[Finding], None]
    say: Callable[[str], None]


async def check_cluster(
    settings: Settings, perl: str, folder: Path, listener: Listener, *, pod: bool
) -> None:
    """Ask the cluster that the settings name; `pod`: also start a worker there. Raises nothing of womm's."""
    shares = settings.share != NO_SHARE
    if await ask_cluster(target_of(settings), listener.found, shares=shares) and pod:
        await _worker(settings, perl, folder, listener)


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
        if (error := hopeless(reasons)) is not None and not self.pod.done():
            self.pod.set_exception(error)
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
    request = TaskRequest(
        origin=Origin("doctor", ("doctor",)),
        settings=replace(settings, orphan_timeout_s=min(300.0, settings.orphan_timeout_s)),
        folder=folder,
        perl=perl,
        shell=settings.shell or "/bin/sh",
        trial=True,
    )
    probe = _Probe()
    try:
        async with open_pods(request, _silent(probe)) as pods:
            try:
                await _look_at(pods, probe, settings, listener)
            except (ClusterError, SettingsError, ShareError) as exc:
                listener.found(_bad(exc))
            except TimeoutError:
                text = f"none after {duration(settings.ready_timeout_s)}: {probe.waits or 'no reason known'}"
                listener.found(Finding("worker", Verdict.BAD, text, hint_for(probe.waits)))
    except WommError as exc:  # they cannot be made, or not removed
        listener.found(_bad(exc))


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


async def _look_at(pods: TaskPods, probe: _Probe, settings: Settings, listener: Listener) -> None:
    began, found = time.monotonic(), listener.found
    cluster, share, spec = pods.cluster, pods.share, pods.spec
    async with (
        asyncio.timeout(settings.ready_timeout_s),
        saying_what_is_missing(probe, listener.say) as notices,
    ):
        await cluster.start(spec, probe)
        host = cluster.share_host
        await pods.begin_share()
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
            if share is not None and share.jobs is not None:
                await _share(link, probe, share, spec.task, found)
            elif share is not None and host is not None:
                how = "each pod gets a copy of its own of" if host.copies_into_pods else "the worker mounts"
                found(Finding("share", Verdict.GOOD, f"{how} {share.spec.folder}"))
        finally:
            await link.close()


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
            if probe.status or (why := await share.jobs.wait_written(4, "")):
                why = why if not probe.status else f"a pod cannot write into {writable}"
                return found(Finding("share", Verdict.BAD, why))
            write_s = time.monotonic() - began
            made_s = await _timed(
                link, probe, b"i=0; while [ $i -lt 50 ]; do : >%b/made.$i; i=$((i+1)); done" % place
            )
            await share.jobs.wait_written(4, "")
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
