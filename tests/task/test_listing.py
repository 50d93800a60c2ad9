"""The tasks there are, from journals and from a cluster: one view of each."""

import asyncio
import json
from typing import Any

import pytest

from tests.cli.tasks import started_here, write_task
from tests.cluster.kubernetes.test_manifests import ABOUT
from tests.cluster.kubernetes.test_tasks import Namespace, deployment, job
from womm.cli.status import as_table
from womm.cluster.kubernetes import manifests
from womm.errors import JournalError
from womm.journal.events import TaskCleaned
from womm.journal.fold import TaskStatus
from womm.journal.observe import this_host, this_user
from womm.journal.store import TaskStore
from womm.settings import KUBERNETES, LOCAL, Settings
from womm.task.listing import TaskView, all_tasks, resolve

pytestmark = pytest.mark.usefixtures("womm_home")


def unheard(text: str) -> None:
    raise AssertionError(text)


def local(**words: Any) -> list[TaskView]:
    return all_tasks(TaskStore.default(), Settings(cluster=LOCAL), unheard, **words)


async def listed(namespace: Namespace, folder, say=unheard, **words: Any) -> list[TaskView]:
    """List with a project in that namespace; the server is in this event loop."""
    async with namespace.connected(folder) as client:
        settings = Settings(cluster=KUBERNETES, kubeconfig=client.target.kubeconfig)
        return await asyncio.to_thread(all_tasks, TaskStore.default(), settings, say, **words)


async def resolved(namespace: Namespace, folder, name: str) -> TaskView:
    async with namespace.connected(folder) as client:
        settings = Settings(cluster=KUBERNETES, kubeconfig=client.target.kubeconfig)
        return await asyncio.to_thread(resolve, TaskStore.default(), settings, name, unheard)


def on_kubernetes(task: str, folder, **changes: Any) -> Any:
    """The start of a task on the cluster of a `Namespace`, as this machine's journal has it."""
    place = {"context": "x", "namespace": "lab", "kubeconfig": str(folder / "kubeconfig")}
    values = {"cluster": KUBERNETES, "runtime_dir": "", **place, **changes}
    return started_here(task, "/", **values)


def test_tasks_of_journals_are_oldest_first_and_those_that_are_over_are_cleaned():
    write_task("bbbbbbbb", started_here("bbbbbbbb", "/", time=2.0))
    write_task("aaaaaaaa", started_here("aaaaaaaa", "/", time=3.0, runtime_dir="/gone"))
    write_task("cccccccc", started_here("cccccccc", "/", time=1.0), TaskCleaned(5.0))
    found = local()
    assert [(view.task[0], view.status, view.remote) for view in found] == [
        ("c", TaskStatus.CLEANED, None),
        ("b", TaskStatus.ORPHANED, None),
        ("a", TaskStatus.CLEANED, None),
    ]
    assert TaskStore.default().resolve("aaaaaaaa").cleaned()


async def test_task_of_another_machine_is_seen_by_its_root(tmp_path):
    namespace = Namespace(jobs=[job(ready=1)], deployments=[deployment()])
    (view,) = await listed(namespace, tmp_path)
    assert (view.task, view.status, view.ready, view.here) == ("aaaaaaaa", TaskStatus.RUNNING, 2, False)
    assert view.observation is None
    assert view.started is not None
    assert (view.started.host, view.started.user, view.started.argv) == (ABOUT.host, ABOUT.user, ABOUT.argv)
    assert (view.started.context, view.started.namespace) == ("x", "lab")
    assert view.started.coordinator_pid == 0


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"ready": 1}, TaskStatus.RUNNING),
        ({"ready": 0}, TaskStatus.ORPHANED),
        ({"ready": 1, "conditions": [{"type": "Complete", "status": "True"}]}, TaskStatus.COMPLETE),
    ],
)
async def test_status_of_another_machines_task_is_what_its_keeper_hears(tmp_path, status, expected):
    (view,) = await listed(Namespace(jobs=[job(**status)]), tmp_path)
    assert view.status is expected


async def test_task_with_an_annotation_of_others_is_shown_without_its_start(tmp_path):
    root = job()
    root["metadata"]["annotations"] = {}
    (view,) = await listed(Namespace(jobs=[root]), tmp_path)
    assert (view.task, view.started, view.here) == ("aaaaaaaa", None, False)


async def test_annotation_of_others_does_not_keep_the_others_tasks_from_the_list(tmp_path):
    """Anybody who may create Jobs in the namespace can write one."""
    roots = [job("aaaaaaaa", 20), job("bbbbbbbb", 10)]
    values = {**json.loads(ABOUT.to_json()), "pods": "many", "folder": None}
    roots[0]["metadata"]["annotations"] = {manifests.ABOUT: json.dumps(values)}
    views = await listed(Namespace(jobs=roots), tmp_path)
    assert [view.task for view in views if view.started is None] == ["aaaaaaaa"]
    rows = as_table(views, 0.0, all_hosts=True, width=120).splitlines()
    assert len(rows) == 4


async def test_all_hosts_asks_for_every_task_and_others_for_ones_own(tmp_path):
    ours, everybodys = Namespace(), Namespace()
    await listed(ours, tmp_path)
    await listed(everybodys, tmp_path, all_hosts=True)
    mine = (manifests.label_value(this_host()), manifests.label_value(this_user()))
    for selector in ours.selectors():
        named = dict(pair.split("=") for pair in selector.split(","))
        assert (named[manifests.HOST], named[manifests.USER]) == mine
    assert not any(manifests.HOST in selector for selector in everybodys.selectors())


async def test_task_that_journal_and_cluster_know_is_one(tmp_path):
    """The cluster knows the workers; the journal of this machine knows that the coordinator is gone."""
    started = on_kubernetes("aaaaaaaa", tmp_path)
    write_task("aaaaaaaa", started)
    (view,) = await listed(Namespace(jobs=[job(ready=1)], deployments=[deployment()]), tmp_path)
    assert (view.status, view.ready, view.here) == (TaskStatus.ORPHANED, 2, True)
    assert view.started == started
    assert view.observation is not None and view.remote is not None
    with TaskStore.default().reopen("aaaaaaaa", on_failure=unheard):  # as its coordinator does
        (view,) = await listed(Namespace(jobs=[job(ready=0)]), tmp_path)
        assert view.status is TaskStatus.ORPHANED  # no coordinator has the number in the journal


async def test_task_that_is_cleaned_here_and_still_there_is_complete(tmp_path):
    write_task("aaaaaaaa", on_kubernetes("aaaaaaaa", tmp_path), TaskCleaned(2.0))
    (view,) = await listed(Namespace(jobs=[job(ready=1)], deployments=[deployment()]), tmp_path)
    assert (view.status, view.ready) == (TaskStatus.COMPLETE, 2)


async def test_task_of_which_the_cluster_has_nothing_more_is_cleaned(tmp_path):
    write_task("aaaaaaaa", on_kubernetes("aaaaaaaa", tmp_path))
    (view,) = await listed(Namespace(), tmp_path)
    assert view.status is TaskStatus.CLEANED
    assert TaskStore.default().resolve("aaaaaaaa").cleaned()


async def test_task_of_which_the_cluster_has_anything_is_not_cleaned(tmp_path):
    write_task("aaaaaaaa", on_kubernetes("aaaaaaaa", tmp_path))
    pod = {"metadata": {"name": "p", "labels": {manifests.TASK: "aaaaaaaa"}}}
    (view,) = await listed(Namespace(pods=[pod]), tmp_path)
    assert view.status is TaskStatus.ORPHANED


@pytest.mark.parametrize("kind", ["jobs", "deployments", "pods"])
async def test_cluster_that_refuses_to_answer_is_named_once_and_cleans_nothing(tmp_path, kind):
    """The journal has the names of its context and namespace; the settings go by the kubeconfig's."""
    write_task("aaaaaaaa", on_kubernetes("aaaaaaaa", tmp_path))
    namespace = Namespace()
    namespace.refused[kind] = 403
    said: list[str] = []
    (view,) = await listed(namespace, tmp_path, said.append)
    assert view.status is TaskStatus.ORPHANED
    assert said == ([] if kind == "pods" else [f"womm: no {kind}"])


async def test_resolve_by_the_beginning_of_an_id_here_first_then_in_the_cluster(tmp_path):
    there = Namespace(jobs=[job("abcdefgh", 20), job("abxxxxxx", 10)])
    write_task("abcccccc", started_here("abcccccc", "/"))
    assert (await resolved(there, tmp_path, "ab")).here
    assert (await resolved(there, tmp_path, "abcd")).task == "abcdefgh"
    assert (await resolved(there, tmp_path, "last")).task == "abcccccc"
    with pytest.raises(JournalError, match="no task has the id 'abz'"):
        await resolved(there, tmp_path, "abz")


async def test_resolve_without_journals_finds_the_last_and_names_the_ambiguous(tmp_path):
    there = Namespace(jobs=[job("abcdefgh", 20), job("abxxxxxx", 10)])
    assert (await resolved(there, tmp_path, "last")).task == "abxxxxxx"
    with pytest.raises(JournalError) as caught:
        await resolved(there, tmp_path, "ab")
    assert caught.value.message == "ab is the beginning of several tasks: abcdefgh, abxxxxxx"
    assert caught.value.hint == "womm status -A"
    with pytest.raises(JournalError, match="there is no task yet"):
        await resolved(Namespace(), tmp_path, "last")


def test_resolve_on_the_local_cluster_asks_no_other():
    with pytest.raises(JournalError, match="no task has the id 'x'"):
        resolve(TaskStore.default(), Settings(cluster=LOCAL), "x", unheard)


def test_tasks_of_the_journal_are_asked_of_their_own_clusters(tmp_path):
    said: list[str] = []
    for task, kubeconfig in (("aaaaaaaa", "/no/one"), ("bbbbbbbb", "/no/two"), ("cccccccc", "/no/one")):
        write_task(task, on_kubernetes(task, tmp_path, kubeconfig=kubeconfig))
    write_task("dddddddd", on_kubernetes("dddddddd", tmp_path, kubeconfig="/no/three"), TaskCleaned(2.0))
    views = all_tasks(TaskStore.default(), Settings(cluster=LOCAL), said.append)
    assert len(views) == 4
    first, second = sorted(said)
    assert "/no/one" in first and "/no/two" in second
