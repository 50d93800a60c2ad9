"""`womm doctor` on a cluster: its questions, and one worker's image, clock and link."""

import asyncio
import os
import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cluster.kubernetes.apiserver import ApiServer, connected
from tests.link.wires import PERL
from womm.cluster.base import Loss, Pod
from womm.cluster.finding import Finding, Verdict
from womm.errors import ClusterError
from womm.settings import KUBERNETES, Settings
from womm.task import doctor
from womm.task.doctor import Listener, check_cluster


class Heard:
    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.said: list[str] = []
        self.listener = Listener(self.findings.append, self.said.append)

    def verdicts(self) -> dict[str, Verdict]:
        return {finding.name: finding.verdict for finding in self.findings}


def api(*denied: str, minor: str = "30", quota: Any = (), refusal: str = "") -> ApiServer:
    """A cluster that allows all but these resources. refusal: its message for a pod that mounts NFS."""

    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        place = urlsplit(path).path
        if place == "/version":
            return 200, {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.1"}
        if place.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            return 201, {"status": {"allowed": asked["resource"] not in denied}}
        if place.endswith("/selfsubjectreviews"):
            return 201, {"status": {"userInfo": {"username": "audrey"}}}
        if place.endswith("/pods"):
            assert "dryRun=All" in path
            assert body["spec"]["volumes"][0]["nfs"]["readOnly"]
            return (403, {"message": refusal, "reason": "Forbidden"}) if refusal else (201, body)
        assert place.endswith("/resourcequotas")
        return 200, {"metadata": {"resourceVersion": "1"}, "items": [*quota]}

    return ApiServer(answer)


async def heard(server: ApiServer, folder: Any, *, pod: bool = False, **settings: Any) -> Heard:
    found = Heard()
    async with connected(server, folder) as client:
        given = Settings(cluster=KUBERNETES, kubeconfig=client.target.kubeconfig, **settings)
        await check_cluster(given, PERL, folder, found.listener, pod=pod)
    return found


async def test_good_cluster_is_good_in_all_and_nothing_is_made(tmp_path):
    server = api(quota=[{"status": {"hard": {"pods": "9"}, "used": {"pods": "2"}}}])
    found = await heard(server, tmp_path)
    assert found.verdicts() == dict.fromkeys(
        ("kubeconfig", "API server", "permissions", "quota", "NFS volumes"), Verdict.GOOD
    )
    assert found.findings[0].text == "x, namespace lab"
    assert found.findings[-2].text == "pods 2 of 9"
    asked = {urlsplit(path).path.rpartition("/")[2] for _, path, _ in server.requests}
    assert asked == {"version", "selfsubjectaccessreviews", "resourcequotas", "pods"}


@pytest.mark.parametrize(
    ("refusal", "verdict"),
    [
        (
            'pods "x" is forbidden: violates PodSecurity "restricted:latest": restricted volume types'
            ' (volume "probe" uses restricted volume type "nfs")',
            Verdict.WEAK,
        ),
        ('pods is forbidden: User "me" cannot create resource "pods"', Verdict.GOOD),
    ],
)
async def test_namespace_that_refuses_nfs_is_told(tmp_path, refusal, verdict):
    found = await heard(api(refusal=refusal), tmp_path)
    assert found.verdicts()["NFS volumes"] is verdict


async def test_right_that_is_missing_is_named_with_the_admins_line_and_no_worker_is_tried(tmp_path):
    server = api("deployments")
    found = await heard(server, tmp_path, pod=True)
    (rights,) = [finding for finding in found.findings if finding.name == "permissions"]
    assert rights.verdict is Verdict.BAD
    assert rights.text.startswith("missing: deployments (")
    assert "audrey" in rights.hint
    assert not any("/deployments" in path for _, path, _ in server.requests)


@pytest.mark.parametrize(("share", "verdict"), [("none", Verdict.GOOD), ("lazy", Verdict.BAD)])
async def test_rights_of_shares_are_needed_with_a_share_alone(tmp_path, share, verdict):
    found = await heard(api("services", "secrets"), tmp_path, share=share)
    assert found.verdicts()["permissions"] is verdict


async def test_old_cluster_is_bad_and_a_kubeconfig_that_is_gone_ends_the_questions(tmp_path):
    assert (await heard(api(minor="29+"), tmp_path)).verdicts()["API server"] is Verdict.BAD
    found = Heard()
    settings = Settings(cluster=KUBERNETES, kubeconfig="/no/such/file")
    await check_cluster(settings, PERL, tmp_path, found.listener, pod=True)
    assert found.verdicts() == {"kubeconfig": Verdict.BAD}


async def test_worker_is_tried_and_gone_afterwards(womm_home, tmp_path):
    """On the local cluster: a worker's agent is the same everywhere."""
    found = Heard()
    await doctor._worker(Settings(), PERL, tmp_path, found.listener)
    assert [finding.name for finding in found.findings] == ["image", "clock", "link", "link"]
    assert {finding.verdict for finding in found.findings} == {Verdict.GOOD}, found.findings
    image, clock, trip, speed = (finding.text for finding in found.findings)
    assert re.search(r" runs after [\d.]+ s, as uid \d+, with perl 5\.", image)
    assert re.fullmatch(r"the node's is 0\.\d s (ahead|behind)", clock)
    assert re.fullmatch(r"[\d.]+ ms there and back \(up to [\d.]+\)", trip)
    assert re.fullmatch(r"\d+ MB/s from a job to here", speed)
    assert [*womm_home.runtime.iterdir()] == []
    assert [*tmp_path.glob(".womm-doctor-*")] == []


async def test_worker_that_does_not_come_is_bad_and_says_why(womm_home, tmp_path):
    perl = tmp_path / "perl"
    perl.write_text("#!/bin/sh\necho 'no perl today' >&2; exit 3\n")
    perl.chmod(0o755)
    found = Heard()
    await doctor._worker(Settings(ready_timeout_s=0.5), str(perl), tmp_path, found.listener)
    (finding,) = found.findings
    assert (finding.name, finding.verdict) == ("worker", Verdict.BAD)
    assert re.fullmatch(r"none after [\d.]+ ?m?s: (restarting|no perl today)", finding.text), finding
    assert [*womm_home.runtime.iterdir()] == []


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo 1000000000.0N", r"the node's is \d+\.\d s behind"),
        ("echo 9999999999.5", r"the node's is \d+\.\d s ahead"),
        ("echo never", "the image's date says 'never'"),
        ("exit 1", "the image's date says ''"),
    ],
)
async def test_clock_that_is_wrong_or_none_is_weak(womm_home, tmp_path, monkeypatch, script, text):
    (tmp_path / "date").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "date").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    found = Heard()
    await doctor._worker(Settings(), PERL, tmp_path, found.listener)
    clock = found.findings[1]
    assert (clock.name, clock.verdict) == ("clock", Verdict.WEAK)
    assert re.fullmatch(text, clock.text)


async def test_probe_tells_the_reason_that_says_most():
    probe = doctor._Probe()
    probe.pods_wait({"ErrImagePull": 1})
    probe.pods_wait({"ContainerCreating": 1, "Pending": 1})
    assert probe.waits == "ErrImagePull"
    assert probe.waiting_for() == "1 ContainerCreating, 1 Pending"
    probe.pods_wait({"Unschedulable": 1, "Pending": 1})
    assert probe.waits == "Unschedulable"
    probe.pod_gone(Pod("p", 1, 1), Loss.CRASHED, "bad")
    assert probe.waits == "it ended: bad"
    probe.pod_started(Pod("p", 2, 1))
    probe.pod_started(Pod("p", 3, 1))
    assert (await asyncio.wait_for(probe.pod, 1)).instance == 2


async def test_probe_gives_up_at_once_on_what_is_hopeless():
    probe = doctor._Probe()
    probe.pods_wait({"no NFS client on n1": 1})
    with pytest.raises(ClusterError, match="none will come: no NFS client on n1"):
        await probe.pod
    probe.pods_wait({"no NFS client on n1": 1})
