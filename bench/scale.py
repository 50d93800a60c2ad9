"""Very many pods that are only objects: whether the watch and the login file keep up; the cost of a pod."""

import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.kube import Kube, Unable
from bench.report import Figure, Section, absolute
from bench.run import Place, Talk, talking
from bench.stats import spread
from bench.tracked import Tracked

_LABELS = "womm/task={task},app.kubernetes.io/component=worker"


def scheduled(place: Place, kube: Kube) -> Section:
    """Pods of a Deployment, as a task makes them."""
    pods = 40 if place.quick else 200
    few = pods // 10
    found, sent = _tracked(place, kube, [few, pods], scheduled=True)
    last = max(sent[name] for name in found[-1].heard)
    first = min(sent[name] for name in found[-1].heard)
    return Section(
        f"Kubernetes: {pods} pods of a task",
        f"{pods} pods of a Deployment on simulated nodes (objects of the API, their pods' status set by a"
        " program, their agents one of Python), through controller and scheduler; dispatcher, links, login"
        " file and width file as in a task. The clock of a pod starts when its status is sent to the API"
        " server.",
        [
            absolute("from the first pod to the last", spread([last - first]), "s"),
            absolute("until the observer hears of a pod", spread(_lags(found[-1], sent)), "ms"),
            absolute(
                "until the login file has all, after the last",
                spread([(found[-1].logins_written - last) * 1000]),
                "ms",
            ),
            *_costs(found, [few, pods]),
        ],
    )


def tracked(place: Place, kube: Kube) -> Section:
    """Pods that are made with a node: the control plane's own making would take minutes."""
    pods = 500 if place.quick else 5000
    few = pods // 10
    found, sent = _tracked(place, kube, [few, pods], scheduled=False)
    order = sorted(found[-1].heard, key=sent.__getitem__)
    lags = _lags(found[-1], sent)
    took_s = sent[order[-1]] - sent[order[0]]
    tenth = len(order) // 10
    ordered = [(found[-1].heard[name] - sent[name]) * 1000 for name in order]
    return Section(
        f"Kubernetes: {pods:,} pods tracked",
        f"{pods:,} simulated pods, made as fast as the API server takes them; the driver's watch and its"
        " PodBook with an observer that notes when it hears of each, without links. The clock of a pod starts"
        " when its status is sent, so the API server's own time is in it. The driver keeps up if the last"
        " tenth waits no longer than the first.",
        [
            absolute("rate at which pods started", spread([len(order) / took_s]), "/s"),
            absolute("until the observer hears of a pod", spread(lags), "ms"),
            absolute("the same, 99 of 100", spread([statistics.quantiles(lags, n=100)[-1]]), "ms"),
            absolute("the same, the first tenth", spread(ordered[:tenth]), "ms"),
            absolute("the same, the last tenth", spread(ordered[-tenth:]), "ms"),
            *_costs(found, [few, pods]),
        ],
    )


def _lags(found: Tracked, sent: dict[str, float]) -> list[float]:
    return [(heard - sent[name]) * 1000 for name, heard in found.heard.items()]


def _costs(found: list[Tracked], counts: list[int]) -> list[Figure]:
    (a, b), pods = found, counts[1] - counts[0]
    return [
        absolute("CPU of the coordinator", spread([(b.cpu_s - a.cpu_s) / pods * 1000]), "ms/pod"),
        absolute("memory of the coordinator", spread([(b.rss_kib - a.rss_kib) / pods]), "KiB/pod"),
    ]


def _tracked(
    place: Place, kube: Kube, counts: list[int], *, scheduled: bool
) -> tuple[list[Tracked], dict[str, float]]:
    """Let pods start; return what the coordinator knew at each count, and when each status was sent."""
    if not kube.own:
        raise Unable("nodes are simulated in a cluster of the benchmark's own only")
    with kube.project(place) as project, tempfile.TemporaryDirectory(dir=place.folder) as near:
        where = project.place
        beside = replace(where, folder=Path(near))  # its stderr
        at = [str(kube.kubectl.kubeconfig), project.namespace]
        simulation = [sys.executable, "-m", "tests.cluster.kubernetes.simulation", "--socket", f"{near}/a"]
        simulation += ["--kubeconfig", at[0], "--namespace", at[1]]
        socket = [f"{near}/a"] if scheduled else []
        pods = str(counts[-1]) if scheduled else "0"
        words = [sys.executable, "-m", "bench.tracked", *at, pods, str(where.folder), *socket]
        with talking(beside, simulation) as nodes:
            nodes.hear()
            with talking(where, words) as coordinator:
                task = coordinator.hear()
                labels = "" if scheduled else _LABELS.format(task=task)
                found = _at(coordinator, nodes, labels, counts)
                sent: dict[str, float] = nodes.ask("times")
                if labels:
                    nodes.ask(f"remove {labels}")
    return found, sent


def _at(coordinator: Talk, nodes: Talk, labels: str, counts: list[int]) -> list[Tracked]:
    """Ask what the coordinator knows at each count; with labels, after so many pods were made."""
    found, before = [], 0
    for count in counts:
        if labels:
            nodes.ask(f"create {count - before} {labels}")
        found.append(Tracked(**coordinator.ask(str(count))))
        before = count
    return found
