"""A project file counts when this user has accepted its bytes and the files that it names."""

import json
import os
import stat

import pytest

from tests.trusting import accept
from womm import project, settings, trust
from womm.errors import SettingsError, TrustError
from womm.settings import KEYS, load

FREE = {
    "kube-pods": 4,
    "procs-per-pod": 2,
    "kube-cpu": "50m",
    "kube-mem": "1Gi",
    "orphan-timeout": "1h",
    "ready-timeout": "1m",
    "log-job": "1Mi",
    "log-task": "1Gi",
}
"""All that a project file may say without being asked: pods, slots, cpu, memory, timeouts, limits of logs."""


@pytest.fixture
def folder(womm_home, tmp_path):
    folder = tmp_path / "proj"
    folder.mkdir()
    return folder


def write(folder, **values):
    lines = [f"{name.replace('_', '-')} = {json.dumps(value)}" for name, value in values.items()]
    (folder / ".womm").write_text("\n".join(["version = 1", *lines, ""]))


def why_not(folder, env=None, **flags):
    with pytest.raises(TrustError) as raised:
        load(folder, env or {}, flags)
    return raised.value.message, raised.value.hint


def test_only_the_list_counts_without_acceptance(folder):
    assert {key.name for key in KEYS if key.free} == set(FREE)
    write(folder, **{name.replace("-", "_"): value for name, value in FREE.items()})
    found = load(folder, {}, {})
    assert (found.kube_pods, found.kube_cpu, found.log_job_bytes) == (4, "50m", 1 << 20)


def test_every_other_key_needs_it_and_the_line_says_which(folder):
    write(folder, kube_pods=1, gpus=1)
    assert why_not(folder) == (
        f"{folder}/.womm says gpus, which counts only once you have accepted it",
        "womm trust",
    )
    write(folder, kubeconfig="k", shell="x/bash", image="i")
    message, _ = why_not(folder)
    assert message == (
        f"{folder}/.womm says kubeconfig, shell and image, which count only once you have accepted them"
    )
    # Not even when something stronger says otherwise.
    assert why_not(folder, {"WOMM_IMAGE": "mine", "WOMM_SHELL": "sh"}, kubeconfig="mine")[0] == message


def test_without_acceptance_the_rest_counts_for_those_who_only_want_to_be_warned(folder):
    write(folder, kube_pods=7, cluster="kubernetes", context="evil", kubeconfig="k")
    said: list[str] = []
    found = load(folder, {"WOMM_NAMESPACE": "mine"}, {}, said.append)
    assert (found.kube_pods, found.cluster, found.context, found.kubeconfig) == (7, "local", "", "")
    assert found.namespace == "mine"
    (line,) = said
    assert line.startswith(f"{folder}/.womm says cluster, context and kubeconfig, which count only")
    assert line.endswith("(womm trust)")


@pytest.mark.parametrize(
    "text", ["version = ", "version = 1\nimagge = 3\n", 'version = 1\nkube-pods = "x"\n', ""]
)
def test_a_bad_file_stops_nobody_who_only_wants_to_be_warned(folder, text):
    (folder / ".womm").write_text(text)
    said: list[str] = []
    assert load(folder, {"WOMM_KUBE_PODS": "3"}, {}, said.append).kube_pods == 3
    assert len(said) == 1
    with pytest.raises(SettingsError):
        load(folder, {"WOMM_KUBE_PODS": "x"}, {}, said.append)


def test_accepted_content_counts_until_it_changes(folder):
    write(folder, image="one")
    accept(folder)
    assert load(folder, {}, {}).image == "one"
    text = (folder / ".womm").read_bytes()
    (folder / ".womm").write_bytes(text + b"# \n")
    message, hint = why_not(folder)
    assert message == (
        f"{folder}/.womm has changed since you accepted it:"
        f" image counts only once you accept {folder}/.womm again"
    )
    assert hint == "womm trust"
    (folder / ".womm").write_bytes(text)
    assert load(folder, {}, {}).image == "one"


@pytest.mark.parametrize("key", ["kubeconfig", "pod-template", "shell"])
def test_files_that_it_names_belong_to_the_content(folder, key):
    write(folder, **{key: "./named"})
    (folder / "named").write_text("one")
    accept(folder)
    assert getattr(load(folder, {}, {}), key.replace("-", "_")) == str(folder / "named")
    (folder / "named").write_text("two")
    assert why_not(folder)[0].startswith(
        f"{folder}/named has changed since you accepted it: {key} counts only"
    )
    accept(folder)
    load(folder, {}, {})
    (folder / "named").unlink()
    why_not(folder)


def test_shell_with_a_slash_counts_from_the_files_folder(folder):
    """As all paths: else it would be another file in each folder below."""
    write(folder, shell="x/bash")
    below = folder / "below"
    below.mkdir()
    accept(folder)
    assert load(below, {}, {}).shell == str(folder / "x/bash")
    assert load(below, {"WOMM_SHELL": "x/bash"}, {}).shell == str(below / "x/bash")
    assert load(below, {"WOMM_SHELL": "bash"}, {}).shell == "bash"


def test_acceptance_is_of_the_bytes_that_were_read(folder):
    write(folder, image="seen")
    reviewed = settings.review(folder, os.environ, {})
    assert reviewed is not None
    write(folder, image="evil")
    trust.accept(reviewed)
    assert why_not(folder)[0].startswith(f"{folder}/.womm has changed since")


def test_both_contents_count_while_womm_writes_the_new_one(folder):
    write(folder, image="old")
    accept(folder)
    old = (folder / ".womm").read_bytes()
    new = settings.review_of(project.parsed(folder / ".womm", old.replace(b"old", b"new")), os.environ)
    trust.accept(new, is_written=False)
    assert load(folder, {}, {}).image == "old"  # as after a kill before it is written
    (folder / ".womm").write_bytes(new.project.content)
    assert load(folder, {}, {}).image == "new"
    trust.accept(new)
    (folder / ".womm").write_bytes(old)
    assert why_not(folder)[0].startswith(f"{folder}/.womm has changed since")


def test_acceptance_is_of_one_folder_and_of_its_real_name(folder, tmp_path):
    write(folder, image="one")
    accept(folder)
    (tmp_path / "alias").symlink_to(folder)
    assert load(tmp_path / "alias", {}, {}).image == "one"
    other = tmp_path / "other"
    other.mkdir()
    (other / ".womm").symlink_to(folder / ".womm")
    why_not(other)


def test_acceptance_is_kept_where_only_this_user_reads_and_nothing_in_the_project(folder, womm_home):
    write(folder, image="one")
    before = os.listdir(folder)
    accept(folder)
    accept(folder)
    assert os.listdir(folder) == before
    (file,) = (womm_home.state / "womm/trust").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    for damage in (
        b"",
        b"{}",
        b'{"version": 1}',
        b"[1]",
        b'{"version": 1, "files": 3, "hash": 1, "text": ""}',
    ):
        file.write_bytes(damage)
        why_not(folder)


def test_hashes_in_the_environment_accept(folder, tmp_path):
    write(folder, kubeconfig="k")
    (folder / "k").write_text("k")
    reviewed = settings.review(folder, {}, {})
    assert reviewed is not None
    for value in (reviewed.hash, f"abc:{reviewed.hash}:"):
        load(folder, {"WOMM_TRUST": value}, {})
    for value in ("", ":", reviewed.hash[:-1], reviewed.hash.upper(), "*"):
        why_not(folder, {"WOMM_TRUST": value})
    # The same in a checkout elsewhere.
    other = tmp_path / "other"
    folder.rename(other)
    load(other, {"WOMM_TRUST": reviewed.hash}, {})
    (other / "k").write_text("K")
    why_not(other, {"WOMM_TRUST": reviewed.hash})


# ---- where pods can write


@pytest.mark.parametrize("share", ["lazy", "eager-syncback"])
@pytest.mark.parametrize("layer", ["file", "variable", "flag", "user"])
def test_a_file_where_pods_can_write_is_refused_accepted_or_not(folder, womm_home, share, layer):
    said = {"share": share} if layer == "file" else {}
    write(folder, kubeconfig="k", **said)
    (folder / "k").write_text("k")
    if layer == "user":
        (womm_home.config / "womm").mkdir()
        (womm_home.config / "womm/config.toml").write_text(f'share = "{share}"\n')
    env = {"WOMM_SHARE": share} if layer == "variable" else {}
    flags = {"share": share} if layer == "flag" else {}
    if layer in {"variable", "flag"}:
        accept(folder)
        load(folder, {}, {})
    else:
        with pytest.raises(TrustError):
            accept(folder)
    message, hint = why_not(folder, env, **flags)
    assert message == f"{folder}/k, which kubeconfig names, lies in {folder}, which pods can write"
    assert hint is not None and "move it out" in hint
    said_so: list[str] = []
    assert load(folder, env, flags, said_so.append).kubeconfig == ""
    assert len(said_so) == 1


def test_what_pods_cannot_write_may_name_files_in_the_folder(folder):
    (folder / "k").write_text("k")
    for values in ({"share": "eager"}, {"share": "lazy", "share_readonly": True}, {"share": "none"}):
        write(folder, kubeconfig="k", **values)
        accept(folder)
        load(folder, {}, {})
    # A flag does not make it so for a project that says otherwise: its other tasks write.
    write(folder, kubeconfig="k", share="lazy")
    assert "which pods can write" in why_not(folder, share="none")[0]


def test_a_file_where_pods_of_another_project_write_is_refused(folder, tmp_path):
    """They could change it between the look at it and its use."""
    write(tmp_path, share="lazy")
    (folder / "k").write_text("k")
    write(folder, kubeconfig="k")
    assert (
        why_not(folder)[0] == f"{folder}/k, which kubeconfig names, lies in {tmp_path}, which pods can write"
    )
    write(tmp_path, share="lazy", share_write=["out"])
    accept(folder)
    load(folder, {}, {})
    (tmp_path / ".womm").write_text("version = ")
    load(folder, {}, {})
    other = tmp_path / "other"
    other.mkdir()
    write(other, share="eager-syncback")
    (other / "k").write_text("k")
    (folder / "k").unlink()
    (folder / "k").symlink_to(other / "k")
    assert f"lies in {other}, which pods can write" in why_not(folder)[0]


def test_share_write_leaves_the_rest_of_the_folder_to_the_user(folder):
    (folder / "k").write_text("k")
    write(folder, kubeconfig="k", share="lazy", share_write=["out/"])
    accept(folder)
    assert load(folder, {}, {}).kubeconfig == str(folder / "k")
    (folder / "out").symlink_to(".")
    assert "which pods can write" in why_not(folder)[0]
    (folder / "out").unlink()
    write(folder, kubeconfig="out/k", share="lazy", share_write=["out/"])
    message, _ = why_not(folder)
    assert message == f"{folder}/out/k, which kubeconfig names, lies in {folder}/out, which pods can write"


def test_folders_that_pods_write_are_those_of_share_write(folder):
    values = {"share": "lazy", "share_readonly": False, "share_write": ("out/", "a/b")}
    assert settings.writable_by_pods(folder, values) == [folder / "out", folder / "a/b"]
    assert settings.writable_by_pods(folder, values | {"share_write": ()}) == [folder]
    assert settings.writable_by_pods(folder, values | {"share_readonly": True}) == []
