"""Workers on Kubernetes: beside kubectl, beside local workers, and the cost of the coordinator itself."""

import os
import selectors
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from bench.counting import counted
from bench.kube import Kube, Project
from bench.report import Section, absolute, compared
from bench.run import (
    TIMEOUT_S,
    BenchError,
    Place,
    Run,
    interleave,
    last_words,
    measure,
    running,
    talking,
)
from bench.stats import Target, spread, steady_rate
from bench.tracked import rss_kib

_FIRST = Target(most=2.0)
_OVER_KUBECTL = Target(least=10.0)
_OVER_LOCAL = Target(least=0.85)
_STREAM = Target(least=0.6)
_IDLE_CPU = Target(most=1.0, unit="%")
_IDLE_REQUESTS = Target(most=0.0, unit="/s")

PODS, SLOTS = 4, 2
PODS_CPU = "450m"
"""For each of four pods: a node of two CPUs has no room for more; a lower limit would be the bottleneck."""
ONE_POD_CPU = "1500m"
STREAM_BYTES = 64 << 20


def first_output(place: Place, kube: Kube) -> Section:
    with kube.project(place, kube_cpu="200m") as project:
        where = project.place
        ours = [place.womm, "parallel", "--kube-pods", "1", "--", "echo", ":::", "1"]
        candidates: Mapping[str, Callable[[], Run]] = {
            "womm": lambda: measure(where, ours),
            "kubectl": partial(_run_wait_exec, project),
        }
        for candidate in candidates.values():
            candidate()
        found = interleave(candidates, rounds=2 if place.quick else 6, budget_s=55)
    first = {name: [_first_s(run) for run in runs] for name, runs in found.items()}
    after = [run.wall_s - _first_s(run) for run in found["womm"]]
    return Section(
        "Kubernetes: time to first output",
        "From the start of the command to the first byte on stdout: `womm parallel --kube-pods 1 -- echo"
        " ::: 1` beside `kubectl run` with the same image, `kubectl wait --for=condition=Ready` and `kubectl"
        f" exec ... echo 1`; the image is on the node; {len(after)} rounds.",
        [
            compared("first byte, beside kubectl", first["womm"], first["kubectl"], "s", _FIRST),
            absolute("until nothing is left, after that", spread(after), "s"),
        ],
    )


def _first_s(run: Run) -> float:
    if run.first_s is None:
        raise BenchError("nothing on stdout")
    return run.first_s


def _run_wait_exec(project: Project) -> Run:
    """The commands that people type to run one command in a pod; the pod goes when the clock has stopped."""
    pod = f"plain-{uuid.uuid4().hex[:8]}"
    kubectl = " ".join(project.kubectl())
    script = (
        f"{kubectl} run {pod} --image={project.kube.image} --restart=Never --command -- sleep 1000 >&2"
        f" && {kubectl} wait --for=condition=Ready --timeout=60s pod/{pod} >&2"
        f" && {kubectl} exec {pod} -- echo 1"
    )
    try:
        return measure(project.place, ["sh", "-c", script])
    finally:
        project.kube.kubectl.run("delete", "pod", pod, "-n", project.namespace, "--grace-period=1")


def small_jobs(place: Place, kube: Kube) -> Section:
    jobs, kubectl_jobs = (400, 24) if place.quick else (1000, 64)
    width = PODS * SLOTS
    with kube.project(place, kube_cpu=PODS_CPU) as project, kube.project(place) as plain:
        for number in range(PODS):
            kube.kubectl.run_pod(plain.namespace, f"plain-{number}", kube.image, "sleep", "100000")
        for number in range(PODS):
            kube.kubectl.wait_ready(plain.namespace, f"plain-{number}")
        ours = ["--kube-pods", str(PODS), "--procs-per-pod", str(SLOTS), "--", "echo {}"]
        command = " ".join(plain.kubectl("exec", f"plain-$(({{}} % {PODS}))", "--", "echo", "{}"))
        theirs = ["xargs", f"-P{width}", "-I{}", "sh", "-c", command]
        candidates = {
            "womm": partial(_jobs_per_s, project.place, [place.womm, "parallel", *ours], jobs),
            "local": partial(_jobs_per_s, place, [place.womm, "parallel", *ours], jobs),
            "kubectl": partial(_jobs_per_s, place, theirs, kubectl_jobs),
        }
        found = interleave(candidates, rounds=1 if place.quick else 4, budget_s=70)
    return Section(
        "Kubernetes: small jobs",
        f"`echo {{}}` with {PODS} pods of {SLOTS} jobslots (`--kube-cpu {PODS_CPU}`), {jobs:,} lines on"
        f" stdin, beside `xargs -P{width}` with a `kubectl exec` for each of {kubectl_jobs} jobs, into"
        f" {PODS} pods that run already and have no limit, and beside the same command on the built-in local"
        " cluster; the rate of the last three quarters of the output, so without start-up and end;"
        f" {len(found['womm'])} rounds.",
        [
            compared("beside kubectl exec", found["womm"], found["kubectl"], "jobs/s", _OVER_KUBECTL),
            compared("beside local workers", found["womm"], found["local"], "jobs/s", _OVER_LOCAL),
        ],
    )


def _jobs_per_s(where: Place, command: list[str], jobs: int) -> float:
    run = measure(where, command, where.numbers(jobs))
    size = where.numbers(jobs).stat().st_size
    if run.out_bytes != size:
        raise BenchError(f"{run.out_bytes} bytes of output instead of {size}")
    return steady_rate(run.marks) * jobs / size


def stream(place: Place, kube: Kube) -> Section:
    text, size = "/womm/run/text", 15 << 20  # a pod's folder in memory has 16 MiB
    copies = STREAM_BYTES // size
    with kube.project(place) as project:
        where = project.place
        words = [sys.executable, "-m", "bench.poddriver", str(kube.kubectl.kubeconfig), project.namespace]
        words += [kube.image, ONE_POD_CPU, str(where.folder)]
        with talking(where, words) as talk:
            line = "x" * 63
            talk.ask(f"yes {line} | head -c {size} > {text}")
            (pod,) = project.pods()
            cat = f"cat {' '.join([text] * copies)}"
            exec_words = project.kubectl("exec", pod, "-c", "worker", "--", *cat.split())
            plain = replace(where, folder=place.folder)
            costs: list[float] = []

            def ours() -> float:
                found, took_s, cpu = talk.ask(cat)
                _check(found, copies * size)
                costs.append(cpu / (found / 1e6) * 1000)
                return float(found / took_s / 1e6)

            def theirs() -> tuple[float, float]:
                run = measure(plain, exec_words)
                _check(run.out_bytes, copies * size)
                return run.out_bytes / (run.wall_s - _first_s(run)) / 1e6, run.out_bytes / run.wall_s / 1e6

            candidates: dict[str, Callable[[], float | tuple[float, float]]] = {
                "womm": ours,
                "kubectl": theirs,
            }
            for candidate in candidates.values():
                candidate()
            costs.clear()
            found = interleave(candidates, rounds=3 if place.quick else 8, budget_s=30)
    links = [value for value in found["womm"] if isinstance(value, float)]
    pairs = [value for value in found["kubectl"] if isinstance(value, tuple)]
    return Section(
        "Kubernetes: output over a bare link",
        f"One job prints {copies * size / 1e6:.0f} MB (`cat`) through the dispatcher, without GNU parallel,"
        " to a sink that counts it, from submission to end; beside `kubectl exec` of the same command in the"
        f" same pod (limit: {ONE_POD_CPU}) from its first byte to its end, and from its start;"
        f" {len(links)} rounds.",
        [
            compared("beside kubectl exec cat", links, [pair[0] for pair in pairs], "MB/s", _STREAM),
            compared("beside kubectl exec cat with its start", links, [pair[1] for pair in pairs], "MB/s"),
            absolute("CPU of the coordinator", spread(costs), "ms/MB"),
        ],
    )


def _check(size: int, expected: int) -> None:
    if size != expected:
        raise BenchError(f"{size} bytes of output instead of {expected}")


def idle(place: Place, kube: Kube) -> Section:
    window_s = 5.0 if place.quick else 20.0
    with (
        kube.project(place) as outer,
        counted(kube.kubectl.kubeconfig, outer.place.folder) as (proxy, config),
        kube.project(place, kubeconfig=str(config), kube_cpu="100m") as project,
        running(project.place, _resting(place, PODS)) as process,
    ):
        _await_lines(process, project.place, PODS)
        time.sleep(5.0)
        before, before_cpu, began = len(proxy.requests), _cpu_s(process.pid), time.perf_counter()
        time.sleep(window_s)
        took_s = time.perf_counter() - began
        cpu = (_cpu_s(process.pid) - before_cpu) / took_s * 100
        new = proxy.requests[before:]
    watches = [request for request in new if request.is_watch]
    others = [request for request in new if not request.is_watch]
    return Section(
        "Kubernetes: an idle coordinator",
        f"{PODS} pods with a job that sleeps in each, {window_s:g} s that begin 5 s after the last of them"
        " has started: CPU of the coordinator (the Python process) in /proc, and the requests that pass a"
        " proxy in front of the API server.",
        [
            absolute("CPU", spread([cpu]), "%", _IDLE_CPU),
            absolute("requests besides watches", spread([len(others) / took_s]), "/s", _IDLE_REQUESTS),
            absolute("watches that began again", spread([float(len(watches))]), ""),
        ],
        [f"{len(proxy.requests)} requests in all, from start to end."]
        + [f"Requests: {', '.join(sorted({str(request) for request in others}))}."] * bool(others),
    )


def cost_of_a_pod(place: Place, kube: Kube) -> Section:
    few, many = (1, 4) if place.quick else (2, 22)
    with kube.project(place, kube_cpu="60m", kube_mem="32Mi") as project:

        def at_rest(pods: int) -> tuple[float, float]:
            with running(project.place, _resting(place, pods)) as process:
                _await_lines(process, project.place, pods)
                time.sleep(1.0)
                return _cpu_s(process.pid) * 1000, rss_kib(process.pid)

        candidates = {str(pods): partial(at_rest, pods) for pods in (few, many)}
        found = interleave(candidates, rounds=1 if place.quick else 2, budget_s=60)
    pairs = list(zip(found[str(few)], found[str(many)], strict=True))
    return Section(
        "Kubernetes: the coordinator's cost per pod",
        f"CPU and resident memory of the coordinator (the Python process) with {many} pods minus those with"
        f" {few}, per pod: watch, exec, link and one job that sleeps, from the start to 1 s after the last"
        f" job began; {len(pairs)} rounds.",
        [
            absolute("CPU", spread([(b[0] - a[0]) / (many - few) for a, b in pairs]), "ms/pod"),
            absolute("memory", spread([(b[1] - a[1]) / (many - few) for a, b in pairs]), "KiB/pod"),
        ],
    )


def _resting(place: Place, pods: int) -> list[str]:
    """A task whose jobs say so when they run, and then sleep."""
    numbers = [str(number) for number in range(pods)]
    return [
        place.womm,
        "parallel",
        "--kube-pods",
        str(pods),
        "--",
        "-u",
        "echo {}; sleep 1000",
        ":::",
        *numbers,
    ]


def _await_lines(process: "subprocess.Popen[bytes]", place: Place, count: int) -> None:
    """Read stdout until so many lines have come."""
    assert process.stdout is not None
    deadline, lines = time.monotonic() + TIMEOUT_S, 0
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while lines < count:
            readable = selector.select(max(0.0, deadline - time.monotonic()))
            data = os.read(process.stdout.fileno(), 65536) if readable else b""
            if not data:
                raise BenchError(f"womm parallel: {lines} of {count} jobs began{last_words(place)}")
            lines += data.count(b"\n")


def _cpu_s(pid: int) -> float:
    """Return the CPU time of a process itself, without its children."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
