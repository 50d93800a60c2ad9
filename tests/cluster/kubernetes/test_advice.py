"""From what a cluster says to what to type, and the cluster's words made readable."""

import pytest

from womm.cluster.kubernetes.advice import advice_for, pull_words, readable


@pytest.mark.parametrize(
    "reason, advice",
    [
        ("exceeded quota: small, requested: pods=1", "describe quota"),
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest"', "does not run as root"),
        ("Unschedulable (0/1 nodes are available: 1 Insufficient cpu.)", "--kube-cpu"),
        ("ImagePullBackOff (Back-off pulling image)", "--pull-secret"),
        ('RunContainerError (exec: "perl": executable file not found in $PATH)', "perl-base"),
        ("CrashLoopBackOff (exit status 255: exec /usr/bin/perl: exec format error)", "kubernetes.io/arch"),
        (
            "CrashLoopBackOff (exit status 127: FATAL: kernel too old)",
            "this machine's C library needs",
        ),
        ("x:1, the file server's image, has no perl, and the task's keeper needs it", "--fileserver-python"),
        ('error looking up service account: serviceaccount "x" not found', "service-account"),
        ('User "bob" cannot create resource "jobs"', "cluster-setup"),
        ("something new", "womm doctor"),
    ],
)
def test_advice_is_what_to_type_or_to_change(reason: str, advice: str) -> None:
    assert advice in advice_for(["no such reason", reason])


@pytest.mark.parametrize(
    "refusal, line",
    [
        (
            'pods is forbidden: User "bob" cannot list resource "pods" in API group ""'
            ' in the namespace "lab"',
            "womm cluster-setup -n lab --user bob",
        ),
        (
            'User "system:serviceaccount:lab:ci" cannot create resource "jobs" in the namespace "lab"',
            "womm cluster-setup -n lab --service-account ci",
        ),
        (
            'User "system:serviceaccount:other:ci" cannot create resource "jobs" in the namespace "lab"',
            "womm cluster-setup -n lab --user system:serviceaccount:other:ci",
        ),
        (
            'User "o\'neil; x" cannot create resource "jobs" in the namespace "lab"',
            """womm cluster-setup -n lab --user 'o'"'"'neil; x'""",
        ),
        ("cannot create jobs", "womm cluster-setup -n NAMESPACE --user NAME"),
    ],
)
def test_grant_is_the_whole_line_for_an_admin(refusal: str, line: str) -> None:
    assert advice_for([refusal]) == f"an admin: {line} | kubectl apply -f -"


IMAGE = "registry.example.org/team/with/a/long/name/tools:1.2.3"
PULL = f'failed to pull and unpack image "{IMAGE}": failed to resolve reference "{IMAGE}": '


@pytest.mark.parametrize(
    "message, told",
    [
        (f"rpc error: code = NotFound desc = {PULL}{IMAGE}: not found", f"{IMAGE}: not found"),
        (
            f'Back-off pulling image "{IMAGE}": ErrImagePull: rpc error: code = Unknown desc = {PULL}'
            "failed to authorize: 403 Forbidden",
            f"{IMAGE}: failed to authorize: 403 Forbidden",
        ),
        (f'Back-off pulling image "{IMAGE}"', ""),
        (
            f'{PULL}failed to do request: Head "https://registry.example.org/v2/": dial tcp: lookup'
            " registry.example.org: no such host",
            f'{IMAGE}: Head "https://registry.example.org/v2/": dial tcp: lookup registry.example.org:'
            " no such host",
        ),
    ],
)
def test_pull_words_are_the_registrys(message: str, told: str) -> None:
    assert pull_words(IMAGE, message) == told


def test_readable_is_one_short_line_without_the_pods_name() -> None:
    text = 'pods "womm-x-1" is forbidden: exceeded quota:\n  small'
    assert readable(text) == "exceeded quota: small"
    assert len(readable("x" * 1000)) == 300
