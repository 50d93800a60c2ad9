"""The links to pods by themselves: the coordinator without GNU parallel, on Kubernetes. A process of its own.

    python -m bench.poddriver KUBECONFIG NAMESPACE IMAGE CPU FOLDER

One worker. Each line of stdin is a job, and the answer is one line of JSON: bytes of output, seconds from
its submission to its end, and the coordinator's seconds of CPU. It ends at the end of stdin.
"""

import asyncio
import json
import resource
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

from bench.driver import cpu_s, new_dispatcher, submit_all
from womm.cluster.base import TaskSpec
from womm.cluster.kubernetes.client import KubeClient, Target
from womm.cluster.kubernetes.cluster import KubernetesCluster, PodOptions
from womm.cluster.kubernetes.manifests import About

READY_S = 60.0
TASK = "benchpod"


def about(spec: TaskSpec) -> About:
    """Return the TaskSpec of a benchmark's task."""
    words = ("parallel", "--", "true")
    folder = str(spec.folder)
    return About(
        "parallel", words, folder, "bench", "bench", spec.pods, spec.slots, spec.cpu, spec.mem, time.time()
    )


async def serve(kubeconfig: str, namespace: str, image: str, cpu: str, folder: Path) -> None:
    """Answer the lines of stdin."""
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    async with AsyncExitStack() as stack:
        client = await KubeClient.connect(Target(namespace=namespace, kubeconfig=kubeconfig), folder)
        cluster = KubernetesCluster(client, PodOptions(image), about)
        dispatcher = new_dispatcher(TASK, cluster, stack, folder)
        ready = asyncio.Event()
        dispatcher.follow(lambda: ready.set() if dispatcher.pool.slots else None)
        await cluster.start(TaskSpec(TASK, folder, 1, 1, cpu, "256Mi", "/bin/sh", 60.0), dispatcher.workers)
        await asyncio.wait_for(ready.wait(), READY_S)
        while command := (await asyncio.to_thread(sys.stdin.readline)).strip():
            before, began = cpu_s(resource.RUSAGE_SELF), time.perf_counter()
            size = await submit_all(dispatcher, 1, 1, command)
            took_s = time.perf_counter() - began
            print(json.dumps([size, took_s, cpu_s(resource.RUSAGE_SELF) - before]), flush=True)


if __name__ == "__main__":
    _, kubeconfig, namespace, image, cpu, folder = sys.argv
    asyncio.run(serve(kubeconfig, namespace, image, cpu, Path(folder)))
