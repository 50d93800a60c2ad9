"""Whether a namespace takes the pods of a task: asked by a dry run before anything is made."""

from pathlib import Path
from typing import Any

import pytest

from tests.cluster.kubernetes.apiserver import ApiServer, connected
from tests.cluster.kubernetes.test_here_manifests import programs
from tests.cluster.kubernetes.test_manifests import spec
from tests.cluster.kubernetes.test_share_manifests import share
from womm.cluster.base import ProgramsSpec, ShareSpec, TaskSpec
from womm.cluster.kubernetes.admission import admitted
from womm.cluster.kubernetes.client import ApiError
from womm.cluster.kubernetes.manifests import WorkerSpec
from womm.cluster.kubernetes.share_manifests import VOLUME
from womm.errors import ClusterError

NO_NFS = (
    'pods "womm-task-x" is forbidden: violates PodSecurity "restricted:latest": restricted volume types'
    ' (volume "share" uses restricted volume type "nfs"), runAsNonRoot != true'
)
ROOT_USER = 'pods "w" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
ADMITTED: tuple[int, Any] = (200, {})


class Namespace:
    """Answers one dry run after the other as the test says; `pods` are those that were asked about."""

    def __init__(self, *answers: tuple[int, str] | tuple[int, Any]) -> None:
        self._answers = [*answers]
        self.pods: list[Any] = []
        self.server = ApiServer(self._answer)

    def _answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        assert (method, path) == ("POST", "/api/v1/namespaces/lab/pods?dryRun=All")
        self.pods.append(body)
        code, answer = self._answers.pop(0)
        return code, {"message": answer} if isinstance(answer, str) else answer

    async def asked(
        self,
        folder: Path,
        shared: ShareSpec | None = None,
        seen: ProgramsSpec | None = None,
        **changes: Any,
    ) -> WorkerSpec:
        task = TaskSpec(
            "abcdefgh", Path("/home"), 1, 1, "1", "64Mi", "/bin/sh", 60.0, share=shared, programs=seen
        )
        async with connected(self.server, folder) as client:
            found = await admitted(client, spec(**changes), task)
        assert self._answers == []
        return found


def volumes(pod: Any) -> list[Any]:
    return [volume for volume in pod["spec"]["volumes"] if "nfs" in volume or volume["name"] == VOLUME]


async def test_pod_that_is_taken_is_as_it_was_given(tmp_path: Path) -> None:
    namespace = Namespace(ADMITTED)
    assert await namespace.asked(tmp_path) == spec()
    (pod,) = namespace.pods
    assert pod["metadata"]["generateName"] == "womm-task-abcdefgh-"
    assert "name" not in pod["metadata"]
    assert volumes(pod) == []


async def test_share_is_asked_about_as_a_mount_of_a_host_that_is_nobodys(tmp_path: Path) -> None:
    namespace = Namespace(ADMITTED)
    assert await namespace.asked(tmp_path, share()) == spec()
    ((volume,),) = map(volumes, namespace.pods)
    assert volume["nfs"]["server"] == "192.0.2.1"


async def test_restricted_namespace_is_asked_again_with_pods_that_it_takes(tmp_path: Path) -> None:
    namespace = Namespace((403, ROOT_USER), ADMITTED)
    assert await namespace.asked(tmp_path) == spec(restricted=True)
    contexts = [pod["spec"]["containers"][0].get("securityContext") or {} for pod in namespace.pods]
    assert [context.get("runAsNonRoot", False) for context in contexts] == [False, True]


async def test_eager_share_is_copied_into_the_pods_where_nothing_is_mounted(tmp_path: Path) -> None:
    namespace = Namespace((403, NO_NFS), ADMITTED)
    found = await namespace.asked(tmp_path, share(kind="eager"))
    assert found == spec(restricted=True, copies_into_pods=True)
    mounts, copies = map(volumes, namespace.pods)
    assert [list(volume) for volume in (*mounts, *copies)] == [["name", "nfs"], ["name", "emptyDir"]]


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"kind": "lazy"}, "lazy"),
        ({"kind": "eager-syncback"}, "eager-syncback"),
        ({"kind": "eager", "claim": "data"}, "eager with share-volume"),
    ],
)
async def test_share_that_must_be_mounted_is_refused_there(
    tmp_path: Path, changes: dict[str, str], kind: str
) -> None:
    namespace = Namespace((403, NO_NFS))
    with pytest.raises(ClusterError) as caught:
        await namespace.asked(tmp_path, share(**changes))
    assert caught.value.message == (
        f"namespace lab refuses NFS volumes (Pod Security `restricted`), and a share ({kind}) needs one"
    )
    assert "--share eager" in (caught.value.hint or "")


async def test_namespace_that_wants_ever_more_is_asked_three_times(tmp_path: Path) -> None:
    """Then the pods are made, and their events say what is wrong."""
    namespace = Namespace(*[(403, NO_NFS)] * 3)
    found = await namespace.asked(tmp_path, share(kind="eager"))
    assert found.copies_into_pods and found.restricted
    namespace = Namespace((403, ROOT_USER), (403, ROOT_USER))
    with pytest.raises(ClusterError, match="the cluster refuses the pods: violates PodSecurity"):
        await namespace.asked(tmp_path)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (403, 'pods "w" is forbidden: exceeded quota: team, requested: cpu=1, used: cpu=4, limited: cpu=4'),
        (403, 'pods is forbidden: User "me" cannot create resource "pods" in API group ""'),
        (409, "the object has been modified"),
        (429, "too many requests"),
        (500, "Internal error occurred: failed calling webhook"),
        (503, "the server is currently unable to handle the request"),
    ],
)
async def test_refusal_that_may_pass_or_says_nothing_of_the_pods_is_no_error(
    tmp_path: Path, code: int, message: str
) -> None:
    assert await Namespace((code, message)).asked(tmp_path) == spec()


async def test_namespace_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="there is no namespace lab") as caught:
        await Namespace((404, 'namespaces "lab" not found')).asked(tmp_path)
    assert not isinstance(caught.value, ApiError)
    assert "kubectl get namespaces" in (caught.value.hint or "")


async def test_refusal_for_good_is_one_line_with_advice_and_without_the_shares_path(tmp_path: Path) -> None:
    secret = "/womm-" + "0123456789abcdef" * 2
    message = f'Pod "w" is invalid: spec:\n maximum cpu usage is 1, but limit is 2: {secret}'
    with pytest.raises(ClusterError) as caught:
        await Namespace((422, message)).asked(tmp_path, share())
    assert caught.value.message.startswith("the cluster refuses the pods: spec: maximum cpu usage")
    assert secret not in caught.value.message
    assert "\n" not in caught.value.message
    assert "--kube-cpu" in (caught.value.hint or "")


async def test_programs_of_this_machine_are_refused_where_nothing_is_mounted(
    tmp_path: Path,
) -> None:
    for shared in (None, share(kind="eager")):
        namespace = Namespace((403, NO_NFS))
        with pytest.raises(ClusterError, match=r"refuses NFS volumes .* this machine's programs") as caught:
            await namespace.asked(tmp_path, shared, programs())
        assert "womm setup --image" in (caught.value.hint or "")
        (pod,) = namespace.pods
        assert "womm-programs" in {volume["name"] for volume in pod["spec"]["volumes"]}
