"""`womm setup`: what it writes, what it asks, and what it leaves alone."""

import os
import socket
import stat
import sys
import tomllib
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from tests.cli.running import WOMM, environment, run
from tests.trusting import accept

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: c
  cluster: {server: "https://192.0.2.1:6443"}
users:
- name: u
  user: {token: secret-token}
contexts:
- name: lab
  context: {cluster: c, user: u, namespace: research}
- name: cloud
  context: {cluster: c, user: u}
"""


@pytest.fixture
def folder(womm_home, tmp_path, monkeypatch):
    """A project's folder; nothing is sent to the cluster that its kubeconfig leads to."""
    path = tmp_path / "kubeconfig"
    path.write_text(KUBECONFIG)
    monkeypatch.setenv("KUBECONFIG", str(path))
    folder = tmp_path / "proj"
    folder.mkdir()
    return folder


def written(folder):
    return tomllib.loads((folder / ".womm").read_text())


def setup(folder, *words, **env):
    return run("setup", *words, cwd=folder, **env)


# ---- what is said


def test_setup_with_flags_writes_what_they_mean_today(folder):
    result = setup(folder, "--image", "example.org/tools:1", "--share", "none", "--yes")
    assert (result.status, result.out) == (0, "")
    assert written(folder) == {
        "version": 1,
        "cluster": "kubernetes",
        "context": "lab",
        "namespace": "research",
        "image": "example.org/tools:1",
        "share": "none",
    }
    assert f"womm: {folder}/.womm:\n" in result.err
    assert 'image = "example.org/tools:1"' in result.err
    assert result.err.endswith("womm doctor\n")
    assert "secret-token" not in result.err


def test_setup_all_flags(folder, tmp_path):
    words = ["--context", "cloud", "-n", "other", "--pull-secret", "key", "--kubeconfig", "../kubeconfig"]
    result = setup(folder, "--image", "tools", "--cluster", "kubernetes", *words, "-y", KUBECONFIG=None)
    assert result.status == 0, result.err
    found = written(folder)
    assert (found["context"], found["namespace"], found["pull-secret"]) == ("cloud", "other", "key")
    assert found["kubeconfig"] == str(tmp_path / "kubeconfig")


def test_setup_context_without_a_namespace_means_default(folder):
    assert setup(folder, "--image", "tools", "--context", "cloud", "--yes").status == 0
    assert written(folder)["namespace"] == "default"


def test_setup_local_needs_no_cluster(folder):
    result = setup(folder, "--cluster", "local", "--yes", KUBECONFIG="/nowhere")
    assert result.status == 0, result.err
    assert written(folder) == {"version": 1, "cluster": "local"}
    assert run("parallel", "--kube-pods", "1", "--", "echo", ":::", "1", cwd=folder).out == "1\n"


# ---- what is there already

OLD = """\
# Mine: do not touch.
version = 1          # the first

image = "old:1"      # made by hand
kube_cpu = "50m"
pull_secret = "old"
node-selector = { disk = "ssd" }  # fast ones
"""


def test_setup_keeps_comments_order_and_other_keys(folder):
    (folder / ".womm").write_text(OLD)
    accept(folder)
    assert setup(folder, "--image", "new:2", "--pull-secret", "new", "--yes").status == 0
    text = (folder / ".womm").read_text()
    assert text.startswith(OLD.replace('"old:1"', '"new:2"').replace('"old"', '"new"'))
    assert written(folder)["namespace"] == "research"
    assert "pull-secret" not in written(folder)  # it is spelled as it was


def test_setup_again_changes_nothing(folder):
    assert setup(folder, "--image", "tools", "--yes").status == 0
    before = (folder / ".womm").read_bytes()
    assert setup(folder, "--yes").status == 0
    assert (folder / ".womm").read_bytes() == before


def test_setup_in_a_sub_folder_changes_the_projects_file(folder):
    (folder / ".womm").write_text("version = 1\n")
    below = folder / "src" / "deep"
    below.mkdir(parents=True)
    assert setup(below, "--image", "tools", "--yes").status == 0
    assert not (below / ".womm").exists()
    assert written(folder)["image"] == "tools"


def test_setup_relative_kubeconfig_of_the_file_counts_from_its_folder(folder):
    (folder / "kube").write_text(KUBECONFIG.replace("current-context: lab", "current-context: cloud"))
    (folder / ".womm").write_text('version = 1\nkubeconfig = "kube"\n')
    accept(folder)
    below = folder / "src"
    below.mkdir()
    assert setup(below, "--image", "tools", "--yes").status == 0
    assert (written(folder)["context"], written(folder)["kubeconfig"]) == ("cloud", "kube")


def test_setup_through_a_link_changes_the_file_behind_it(folder, tmp_path):
    target = tmp_path / "shared.toml"
    target.write_text(OLD)
    target.chmod(0o640)
    (folder / ".womm").symlink_to("../shared.toml")
    accept(folder)
    assert setup(folder, "--image", "new:2", "--yes").status == 0
    assert (folder / ".womm").is_symlink()
    assert 'image = "new:2"' in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "kubeconfig", "proj", "shared.toml"]


def test_setup_with_an_image_forgets_the_base_of_another(folder):
    (folder / ".womm").write_text('version = 1\nimage = "old:1"\nbase = "debian:12"\n')
    accept(folder)
    assert setup(folder, "--image", "new:2", "--yes").status == 0
    assert (written(folder)["image"], "base" in written(folder)) == ("new:2", False)


def test_setup_line_ends_of_another_system_stay(folder):
    (folder / ".womm").write_bytes(b'version = 1\r\nimage = "old"\r\n')
    accept(folder)
    assert setup(folder, "--image", "new", "--yes").status == 0
    assert b'version = 1\r\nimage = "new"\r\n' in (folder / ".womm").read_bytes()


# ---- mistakes


def refused(folder, *words, **env):
    """Run it; return (status, stderr). The file must be as before."""
    path = folder / ".womm"
    before = path.read_bytes() if path.exists() else None
    result = setup(folder, *words, **env)
    assert (path.read_bytes() if path.exists() else None) == before
    assert result.out == ""
    assert [name for name in os.listdir(folder) if name not in {".womm", "src"}] == []
    return result.status, result.err


def test_setup_unknown_key_in_the_file_is_named_with_the_nearest(folder):
    (folder / ".womm").write_text('version = 1\nimagge = "x"\n')
    status, err = refused(folder, "--image", "tools", "--yes")
    assert status == 254
    assert err == f"womm: {folder}/.womm: there is no setting 'imagge'\nwomm: hint: did you mean image?\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--image", "a b"), 'image = "a b": must be the name of an image'),
        (("--image", "t", "--share", "lazily"), 'share = "lazily": must be none or eager or'),
        (
            ("--image", "t", "--share", "lazy", "--prefix", "A B"),
            'prefix = "A B": must be the beginning of an image',
        ),
        (("--image", "t", "-n", "No_Name"), 'namespace = "No_Name": must be the name of a namespace'),
        (("--image", "t", "--pull-secret", "A"), "must be the name of a secret"),
        (("--image", "t", "--context", "nowhere"), "the kubeconfig has no context 'nowhere'"),
    ],
)
def test_setup_bad_value_is_named(folder, words, message):
    status, err = refused(folder, *words, "--yes")
    assert status == 254
    assert message in err
    assert err.count("\n") <= 2


def test_setup_bad_value_of_the_file_can_be_mended_by_it(folder):
    (folder / ".womm").write_text('version = 1\nshare = "lazily"\n')
    accept(folder)
    assert refused(folder, "--image", "tools", "--yes")[0] == 254
    assert setup(folder, "--image", "tools", "--share", "none", "--yes").status == 0
    assert written(folder)["share"] == "none"


def test_setup_share_without_a_prefix_needs_no_docker(folder):
    words = ["--image", "tools", "--share", "lazy", "--fileserver-python", "python:3.14-slim", "--yes"]
    assert setup(folder, *words, DOCKER_HOST="unix:///none").status == 0
    found = written(folder)
    assert (found["share"], found["fileserver-python"]) == ("lazy", "python:3.14-slim")
    assert "fileserver-image" not in found and "prefix" not in found


def test_setup_share_with_an_image_that_is_made_needs_no_docker(folder):
    words = [
        "--image",
        "tools",
        "--share",
        "lazy",
        "--share-readonly",
        "--fileserver-image",
        "files:1",
        "--yes",
    ]
    assert setup(folder, *words, DOCKER_HOST="unix:///none").status == 0
    found = written(folder)
    assert (found["share"], found["share-readonly"], found["fileserver-image"]) == ("lazy", True, "files:1")
    assert setup(folder, "--share", "eager", "--yes", DOCKER_HOST="unix:///none").status == 0
    assert written(folder)["fileserver-image"] == "files:1"


def test_setup_writes_what_pods_may_write_and_refuses_a_contradiction(folder):
    words = ["--image", "tools", "--share", "lazy", "--fileserver-image", "files:1", "--yes"]
    assert setup(folder, *words, "--share-write", "out/,a b", "--share-write", "log").status == 0
    assert written(folder)["share-write"] == ["out/", "a b", "log"]
    before = (folder / ".womm").read_bytes()
    status, err = refused(folder, "--share-readonly", "--yes")
    assert "share-readonly and share-write" in err and "contradict" in err, (status, err)
    status, err = refused(folder, "--share-write", "/out", "--yes")
    assert "must be paths within the shared folder" in err
    assert (folder / ".womm").read_bytes() == before


def test_setup_share_without_a_docker_says_so(folder):
    words = ["--image", "tools", "--share", "lazy", "--prefix", "registry.example.org/me", "--yes"]
    result = setup(folder, *words, DOCKER_HOST=f"unix://{folder}/none")
    assert result.status == 254
    line = result.err.splitlines()[0]
    assert line == (
        "womm: docker is needed for the file server's image, and is not running:"
        f" nobody listens at unix://{folder}/none (DOCKER_HOST)"
    )
    assert "womm setup --fileserver-image NAME" in result.err
    assert not (folder / ".womm").exists()


def test_setup_share_of_a_system_folder_is_refused(folder):
    result = run(
        "setup", "--image", "t", "--share", "lazy", "--prefix", "r/x/", "--yes", cwd=Path("/usr/lib")
    )
    assert result.status == 254
    assert "/usr/lib would hide the system of the image" in result.err


def test_setup_without_a_kubeconfig_is_one_line_and_a_hint(folder):
    status, err = refused(folder, "--image", "tools", "--yes", KUBECONFIG=None)
    assert status == 254
    first, second = err.splitlines()
    assert first.startswith("womm: no cluster is configured: there is no kubeconfig /")
    assert second == "womm: hint: womm setup --cluster local"


def test_setup_without_an_answer_says_which_option(folder):
    status, err = refused(folder, "--share", "lazy", "--yes")
    message, hint = err.splitlines()
    assert status == 2
    assert message == "womm: --base and --prefix are missing, and womm setup does not ask here"
    assert hint.startswith(
        "womm: hint: womm setup --share lazy --base debian:12 --prefix REGISTRY/NAME/ --run COMMAND --yes;"
    )


def test_setup_options_that_exclude_each_other_are_refused(folder):
    status, err = refused(folder, "--image", "t", "--run", "true", "--yes")
    assert status == 2
    assert "leave out --run, or --image" in err


@pytest.mark.parametrize(
    ("given", "shown"), [("value", "..."), ("=value", "..."), ("1A=value", "1A"), ("a-b=value", "a-b")]
)
def test_setup_variable_that_is_none_is_refused_without_its_value(folder, given, shown):
    status, err = refused(folder, "--env", given, "--yes")
    assert status == 2
    assert f"--env {shown}: must be NAME=VALUE" in err
    assert "value" not in err


def test_setup_dockerfile_that_is_not_there_is_named(folder):
    status, err = refused(folder, "--dockerfile", "none", "--share", "none", "--prefix", "r/", "--yes")
    assert status == 2
    assert "'none' does not exist" in err


def test_setup_without_a_terminal_needs_yes(folder):
    status, err = refused(folder, "--image", "tools")
    assert status == 2
    assert "stdin is no terminal" in err


def test_setup_file_that_is_no_toml_stays(folder):
    (folder / ".womm").write_text("version = \n")
    status, err = refused(folder, "--image", "tools", "--yes")
    assert status == 254
    assert "is not TOML" in err


@pytest.mark.skipif(not os.path.isdir("/sys/kernel"), reason="/sys is Linux's")
def test_setup_where_nothing_can_be_written_says_so(folder):
    result = run("setup", "--cluster", "local", "--yes", cwd=Path("/sys/kernel"))  # not even by root
    assert result.status == 254
    message, hint = result.err.splitlines()[-2:]
    assert message.startswith("womm: cannot write /sys/kernel/.womm: ")
    assert hint == "womm: hint: ls -ld /sys/kernel"


# ---- what it asks


@contextmanager
def asking(folder, *words, **env):
    child = pexpect.spawn(
        WOMM[0],
        [*WOMM[1:], "setup", *words],
        cwd=str(folder),
        env=environment(**env),
        encoding="utf-8",
        timeout=60,
    )
    child.logfile_read = sys.stdout
    try:
        yield child
    finally:
        child.close(force=True)


def status_of(child):
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus


@pytest.fixture
def engine(place, monkeypatch):
    """A socket at which a container engine seems to listen."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "engine"))
        listener.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}/engine")
        yield


ANSWERS = ("2", "1", "mine", "key", "debian:12", "r.example.org/me/")
"""To the questions of a new project: context, share, namespace, pull secret, base image, prefix."""


@pytest.mark.parametrize("answered", range(len(ANSWERS)))
def test_setup_ctrl_c_at_each_question_changes_nothing(folder, womm_home, engine, answered):
    with asking(folder) as child:
        for answer in ANSWERS[:answered]:
            child.expect_exact("> ")
            child.sendline(answer)
            child.expect_exact("\r\n")
        child.expect_exact("> ")
        child.sendintr()
        assert status_of(child) == 130
    assert list(folder.iterdir()) == []
    assert list(womm_home.config.iterdir()) == []


def test_setup_end_of_stdin_at_a_question_changes_nothing_and_says_so(folder, engine):
    with asking(folder) as child:
        child.expect_exact("Where do the jobs of this folder run?")
        child.expect_exact("> ")
        child.sendeof()
        child.expect_exact("womm: stdin has ended, and womm needs an answer")
        assert status_of(child) == 130
    assert list(folder.iterdir()) == []


def test_setup_quits_by_the_star(folder, engine):
    with asking(folder, "--context", "lab") as child:
        child.expect_exact("[*] > ")
        child.sendline("*")
        child.expect_exact("never mind")
        assert status_of(child) == 130
    assert list(folder.iterdir()) == []


def test_setup_without_an_engine_says_so_before_it_asks(folder):
    with asking(folder, "--context", "lab", DOCKER_HOST=f"unix://{folder}/none") as child:
        assert child.expect_exact(["womm: docker is needed for the testbed", "> "]) == 0
        child.expect_exact("womm setup --image NAME")
        assert status_of(child) == 254


def test_setup_asks_only_for_what_is_not_said(folder):
    with asking(folder, "--image", "tools", "--context", "lab", "-n", "mine", "--share", "none") as child:
        assert child.expect_exact(["Write it? y/n\r\n[y] > ", "Which", "Where"]) == 0
        child.sendline("n")
        assert status_of(child) == 130
    assert not (folder / ".womm").exists()


def test_setup_with_an_image_in_a_terminal_asks_for_the_rest(folder):
    with asking(folder, "--image", "tools:1") as child:
        child.expect_exact("1) context lab\r\n2) context cloud\r\n*) never mind, quit\r\n[1] > ")
        child.sendline("2")
        child.expect_exact("4) not at all\r\n*) never mind, quit\r\n[*] > ")
        child.sendline("4")
        child.expect_exact("In which namespace of the cluster may your jobs run?\r\n[default] > ")
        child.sendline("mine")
        child.expect('image = "tools:1".*Write it\\? y/n')
        child.sendline("y")
        assert status_of(child) == 0
    assert written(folder) == {
        "version": 1,
        "cluster": "kubernetes",
        "context": "cloud",
        "namespace": "mine",
        "image": "tools:1",
        "share": "none",
    }


def test_setup_asks_a_local_project_whether_it_stays_so(folder):
    (folder / ".womm").write_text('version = 1\ncluster = "local"\n')
    accept(folder)
    with asking(folder) as child:
        child.expect_exact("3) this machine, without Kubernetes\r\n*) never mind, quit\r\n[3] > ")
        child.sendline("")
        assert status_of(child) == 0  # nothing has changed: there is nothing to ask
    assert written(folder) == {"version": 1, "cluster": "local"}


def test_setup_second_run_in_a_terminal_changes_what_is_asked_for_and_keeps_comments(folder):
    (folder / ".womm").write_text(OLD + 'cluster = "kubernetes"\ncontext = "lab"\nshare = "none"\n')
    accept(folder)
    with asking(folder) as child:
        child.expect_exact("Do you want to change your share, cluster or base image? y/n\r\n[n] > ")
        child.sendline("y")
        for answer in ("", "", "mine", "-", ""):  # context, share, namespace, pull secret, base image
            child.expect_exact("> ")
            child.sendline(answer)
            child.expect_exact("\r\n")
        child.expect_exact("Do you want to edit your image? y/n\r\n[n] > ")
        child.sendline("")
        child.expect_exact("Write it? y/n\r\n[y] > ")
        child.sendline("")
        assert status_of(child) == 0
    text = (folder / ".womm").read_text()
    assert text.startswith(OLD.replace('pull_secret = "old"\n', ""))
    assert written(folder)["namespace"] == "mine"


def test_setup_asks_again_for_a_bad_value_of_the_file(folder):
    text = 'version = 1\ncluster = "kubernetes"\ncontext = "lab"\nimage = "t"\nshare = "lazily"\n'
    (folder / ".womm").write_text(text)
    accept(folder)
    with asking(folder, "-n", "mine") as child:
        child.expect_exact("4) not at all\r\n*) never mind, quit\r\n[*] > ")
        child.sendline("4")
        child.expect_exact("Write it? y/n")
        child.sendline("y")
        assert status_of(child) == 0
    assert written(folder)["share"] == "none"


# ---- the original womm's file

ORIGINAL = """\
{"share_kind": "none", "share_path": "/old", "image": "docker.io/rhelmot/womm-image-awtmaomf",
 "cwd": "/old", "hostname": "laptop", "namespace": "mine", "secret_name": null}
"""


def test_setup_rewrites_the_originals_file_with_a_word(folder):
    (folder / ".womm").write_text(ORIGINAL)
    with asking(folder) as child:
        child.expect_exact(f"womm: {folder}/.womm is the original womm's file. This womm reads it so:")
        child.expect('image = "docker.io/rhelmot/womm-image-awtmaomf".*Do you accept this\\? y/n')
        child.sendline("y")
        for answer in ("", "1", ""):  # change nothing; context; do not edit
            child.expect_exact("> ")
            child.sendline(answer)
            child.expect_exact("\r\n")
        child.expect_exact("now it is TOML")
        child.expect_exact("it shared /old")
        child.expect_exact("Write it? y/n")
        child.sendline("")
        assert status_of(child) == 0
    assert written(folder) == {
        "version": 1,
        "cluster": "kubernetes",
        "context": "lab",
        "namespace": "mine",
        "image": "docker.io/rhelmot/womm-image-awtmaomf",
        "share": "none",
        "prefix": "docker.io/rhelmot/",
    }


def test_setup_without_a_terminal_does_not_accept_the_originals_file(folder):
    (folder / ".womm").write_text(ORIGINAL)
    status, err = refused(folder, "--yes")
    assert (status, err.splitlines()[1]) == (254, "womm: hint: womm setup")
    assert f"{folder}/.womm is the original womm's: accept what it says, in a terminal" in err


def test_originals_file_is_named_by_other_commands(folder):
    (folder / ".womm").write_text(ORIGINAL)
    result = run("parallel", "--kube-pods", "1", "--", "echo", ":::", "1", cwd=folder)
    assert result.status == 254
    assert result.err == (
        f"womm: {folder}/.womm is the original womm's, in JSON: womm setup rewrites it\n"
        "womm: hint: womm setup\n"
    )


def test_originals_keys_in_toml_are_named_with_todays(folder):
    (folder / ".womm").write_text('version = 1\nsecret_name = "key"\n')
    status, err = refused(folder, "--yes")
    assert status == 254
    assert err.endswith("womm: hint: the original womm's secret_name is pull-secret here\n")


# ---- without questions


def test_setup_with_yes_asks_nothing_in_a_terminal(folder):
    with asking(folder, "--image", "tools", "--yes") as child:
        assert status_of(child) == 0
        assert "Write it" not in (child.before or "")
    assert written(folder)["context"] == "lab"


def test_setup_value_that_is_not_utf_8_is_named(womm_home, tmp_path):
    result = run("setup", "--yes", "--cluster", "local", "--image", os.fsdecode(b"gr\xfc"), cwd=tmp_path)
    assert (result.status, result.out) == (254, "")
    assert f"womm: cannot write {tmp_path}/.womm: TOML is UTF-8, and this is not: 'image = " in result.err
    assert "Traceback" not in result.err
    assert list(tmp_path.glob(".womm*")) == []
