"""Which clusters a command asks, and how a command without an event loop asks them."""

import asyncio
import threading
from dataclasses import replace

import pytest

from tests.journal.samples import STARTED
from tests.trusting import accept
from womm.cluster.kubernetes.client import Target
from womm.errors import ClusterError
from womm.settings import load
from womm.task.targets import journalled_target, run_apart, target_of


async def where(number):
    await asyncio.sleep(0)
    return number, threading.current_thread() is threading.main_thread()


def test_work_is_run_to_its_end_without_an_event_loop():
    assert run_apart(where(3)) == (3, False)


async def test_work_is_run_to_its_end_while_an_event_loop_runs_here():
    assert run_apart(where(4)) == (4, False)


async def test_error_of_the_work_is_the_callers():
    async def fails():
        raise ClusterError("no", "try")

    with pytest.raises(ClusterError, match="no") as caught:
        run_apart(fails())
    assert caught.value.hint == "try"


def test_target_of_a_journal_is_the_tasks_own_with_its_seal():
    started = replace(STARTED, context="c", namespace="n", kubeconfig="/k", kubeconfig_seal="s")
    assert journalled_target(started) == Target("c", "n", "/k", "s")
    assert journalled_target(STARTED) == Target()


def test_target_of_settings_is_sealed_only_if_a_project_names_the_kubeconfig(womm_home, tmp_path):
    folder = tmp_path / "proj"
    folder.mkdir()
    (folder / "kubeconfig").write_text("{}")
    (folder / ".womm").write_text('version = 1\ncontext = "c"\nkubeconfig = "kubeconfig"\n')
    accept(folder)
    ours = target_of(load(folder, {}, {"namespace": "n"}))
    assert (ours.context, ours.namespace, ours.kubeconfig) == ("c", "n", str(folder / "kubeconfig"))
    assert ours.seal
    users = target_of(load(folder, {}, {"kubeconfig": str(folder / "kubeconfig")}))
    assert users == Target("c", "", str(folder / "kubeconfig"))
    (folder / "kubeconfig").write_text("{ }")
    accept(folder)
    assert target_of(load(folder, {}, {"namespace": "n"})).seal != ours.seal
