"""Asking a namespace, before anything is made there, whether it takes the pods of a task."""

import re
from dataclasses import replace
from typing import Final

from womm.cluster.base import TaskSpec
from womm.cluster.kubernetes import here_manifests, manifests, share_manifests
from womm.cluster.kubernetes.advice import advice_for, readable
from womm.cluster.kubernetes.client import ApiError, KubeClient
from womm.cluster.kubernetes.manifests import Object, WorkerSpec
from womm.errors import ClusterError
from womm.settings import EAGER

_NO_NFS: Final = re.compile(r'restricted volume type[s]? [^,;]*"nfs"')
NO_SERVER: Final = "192.0.2.1"
"""An address that no host has (RFC 5737): the file server has none yet."""


def refuses_nfs(message: str) -> bool:
    """Return whether a refusal is of NFS volumes (Pod Security `restricted`)."""
    return _NO_NFS.search(message) is not None


async def admitted(client: KubeClient, spec: WorkerSpec, task: TaskSpec) -> WorkerSpec:
    """Ask by a dry run whether the namespace takes such pods; return the spec that it does take.

    Raises ClusterError for what will never be admitted. A quota that is used up is waited for.
    """
    path = client.collection("pods")
    for _ in range(3):
        try:
            await client.request("POST", path, query=[("dryRun", "All")], body=_sample(spec, task))
            return spec
        except ApiError as exc:
            if task.programs is not None and _NO_NFS.search(exc.message):
                raise ClusterError(
                    f"namespace {client.namespace} refuses NFS volumes (Pod Security `restricted`), "
                    "and pods need one to see this machine's programs (`here`)",
                    "womm setup --image NAME: pods with the programs of an image; or a namespace that takes"
                    " pods of `baseline`",
                ) from exc
            if task.share is not None and _NO_NFS.search(exc.message):
                if not share_manifests.can_copy_into_pods(task.share):
                    kind = "eager with share-volume" if task.share.kind == EAGER else task.share.kind
                    raise ClusterError(
                        f"namespace {client.namespace} refuses NFS volumes (Pod Security `restricted`), "
                        f"and a share ({kind}) needs one",
                        "womm parallel --share eager ... copies the folder into each pod and brings nothing"
                        " back; or a namespace that takes pods of `baseline`",
                    ) from exc
                spec = replace(spec, restricted=True, copies_into_pods=True)
                continue
            if "violates PodSecurity" in exc.message and not spec.restricted:
                spec = replace(spec, restricted=True)
                continue
            may_not_ask = exc.code == 403 and "cannot create resource" in exc.message
            if may_not_ask or "exceeded quota" in exc.message or exc.code in {409, 429} or exc.code >= 500:
                return spec
            if exc.code == 404:
                raise ClusterError(
                    f"there is no namespace {client.namespace}",
                    "kubectl get namespaces; womm ... -n NAMESPACE",
                ) from exc
            raise ClusterError(
                f"the cluster refuses the pods: {readable(exc.message)}", advice_for([exc.message])
            ) from exc
    return spec


def _sample(spec: WorkerSpec, task: TaskSpec) -> Object:
    sample = manifests.sample_worker(spec)
    if task.share is not None and spec.copies_into_pods:
        return share_manifests.filled(sample, task.share)
    return here_manifests.served(sample, NO_SERVER, task)
