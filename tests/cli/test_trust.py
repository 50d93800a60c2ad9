"""What a folder's files make womm run: nothing, until the user has accepted them."""

import json
import os
import sys

import pexpect
import pytest

from tests.cli.running import WOMM, environment, run
from tests.cli.tasks import started_here
from womm.journal.store import TaskStore
from womm.named import seal

HOSTILE = 'version = 1\nkube-pods = 1\ncluster = "kubernetes"\nkubeconfig = "k"\nimage = "i"\n'


@pytest.fixture
def folder(womm_home, tmp_path, monkeypatch):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    folder = tmp_path / "proj"
    folder.mkdir()
    return folder


def mark(folder):
    """Where a program that must not run says that it did."""
    return folder.parent / "ran"


def hostile(folder, name="k"):
    """What a job would leave: a kubeconfig with a plugin. The API server that it names is not there."""
    args = ["-c", f"echo $PWD >>{mark(folder)}; exit 1"]
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "sh", "args": args}
    content = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    (folder / name).write_text(json.dumps(content))
    (folder / ".womm").write_text(HOSTILE)


def trust(folder, *words, **env):
    return run("trust", *words, cwd=folder, **env)


# ---- what was tried


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("status", 0),
        ("status -A -o json", 0),
        ("logs last", 254),
        ("finish last", 254),
        ("finish --all --yes", 0),
        ("clean", 0),
        ("parallel -- echo ::: 1", 254),
        ("shell -- true", 254),
        ("doctor", 1),
        ("cluster-setup", 254),
        ("setup --image tools --yes", 254),
        ("trust", 2),
        ("trust --hash", 0),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_hostile_folder_runs_nothing(folder, words, status):
    hostile(folder)
    result = run(*words.split(), cwd=folder)
    assert result.status == status, result.err
    assert not mark(folder).exists()
    if words.split()[0] not in {"clean", "trust", "doctor"}:
        line = f"womm: {folder}/.womm says cluster, kubeconfig and image, which count only once"
        assert sum(told.startswith(line) for told in result.err.splitlines()) == 1, result.err
        assert "womm trust" in result.err
    if words == "doctor":
        assert f"!!  settings: {folder}/.womm says cluster, kubeconfig and image" in result.out
    assert (folder / ".womm").read_text() == HOSTILE


def test_plugin_runs_once_it_is_accepted_and_not_when_it_changes(folder):
    hostile(folder)
    assert trust(folder, "--yes").status == 0
    assert run("status", cwd=folder).status == 0
    assert mark(folder).read_text() == f"{folder}\n"
    mark(folder).unlink()
    (folder / "k").write_text((folder / "k").read_text() + "\n")
    result = run("status", cwd=folder)
    assert f"womm: {folder}/k has changed since you accepted it: " in result.err
    assert not mark(folder).exists()


@pytest.mark.slow
def test_kubeconfig_of_a_journal_is_not_read_when_it_has_changed(folder):
    """The task began with what was accepted then."""
    hostile(folder)
    kubeconfig = folder / "k"
    where = {"cluster": "kubernetes", "context": "c", "namespace": "n", "kubeconfig": str(kubeconfig)}
    started = started_here("abcdefgh", str(folder), **where, kubeconfig_seal=seal(str(kubeconfig)))
    with TaskStore.default().create("abcdefgh", on_failure=print) as journal:
        journal.append(started)
    (folder / ".womm").unlink()
    kubeconfig.write_text(kubeconfig.read_text() + "\n")
    line = f"womm: the kubeconfig {kubeconfig}, or a program that it names, has changed since you accepted it"
    for words, status in (("status", 0), ("finish abcdefgh", 254), ("logs abcdefgh", 0)):
        result = run(*words.split(), cwd=folder)
        assert result.status == status, result.err
        assert (line in result.err) == (not words.startswith("logs"))
    assert not mark(folder).exists()
    kubeconfig.write_text(kubeconfig.read_text()[:-1])
    assert "credential plugin" in run("status", cwd=folder).err
    assert mark(folder).exists()


@pytest.mark.slow
def test_hostile_shell_runs_only_once_it_is_accepted(folder):
    (folder / "x").mkdir()
    shell = folder / "x/bash"
    shell.write_text(f'#!/bin/sh\necho hostile >>{mark(folder)}\nexec /bin/sh "$@"\n')
    shell.chmod(0o755)
    (folder / ".womm").write_text('version = 1\nkube-pods = 1\nshell = "x/bash"\n')
    below = folder / "below"
    below.mkdir()
    words = ["parallel", "--", "echo", ":::", "1"]
    assert run(*words, cwd=folder).status == 254
    assert not mark(folder).exists()
    assert trust(folder, "--yes").status == 0
    assert run(*words, cwd=below).out == "1\n"
    assert mark(folder).exists()
    mark(folder).unlink()
    shell.write_text(shell.read_text() + "#\n")
    assert run(*words, cwd=folder).status == 254
    assert not mark(folder).exists()


# ---- womm trust


def test_trust_shows_what_it_is_about_and_needs_a_yes(folder):
    hostile(folder)
    shown = trust(folder)
    assert (shown.status, shown.out) == (2, "")
    assert f"womm: {folder}/.womm is new to you:\n    version = 1\n" in shown.err
    assert "womm: only with your acceptance count: cluster, kubeconfig and image\n" in shown.err
    assert f"womm: it names {folder}/k (sha256 " in shown.err
    assert f"    runs sh -c 'echo $PWD >>{mark(folder)}; exit 1'\n" in shown.err
    assert shown.err.endswith(
        f"womm: {folder}/.womm is not accepted: stdin is no terminal\nwomm: hint: womm trust --yes\n"
    )
    assert trust(folder, "--yes").err.endswith(f"womm: {folder}/.womm is accepted\n")
    again = trust(folder)
    assert (again.status, again.err) == (0, f"womm: {folder}/.womm is accepted\n")


def test_trust_shows_what_has_changed(folder):
    hostile(folder)
    trust(folder, "--yes")
    (folder / ".womm").write_text(HOSTILE.replace('"i"', '"evil"'))
    err = trust(folder).err
    assert f"womm: {folder}/.womm has changed since you accepted it:\n" in err
    assert '    -image = "i"\n    +image = "evil"\n' in err
    (folder / ".womm").write_text(HOSTILE)
    (folder / "k").write_text((folder / "k").read_text() + " ")
    err = trust(folder).err
    assert "is as you accepted it, but what it names is not:\n" in err
    assert "; kubeconfig): changed\n" in err


def test_trust_shows_nothing_that_a_terminal_obeys(folder):
    (folder / ".womm").write_bytes('version = 1\n# \x9b2J \u202e \u200b\nimage = "i"\n'.encode())
    err = trust(folder).err
    assert "    # \\x9b2J \\u202e \\u200b\n" in err


def test_trust_hash_is_for_the_environment(folder):
    hostile(folder)
    found = trust(folder, "--hash")
    assert found.status == 0
    assert len(found.out) == 65
    assert trust(folder, WOMM_TRUST=found.out.strip()).status == 0
    assert trust(folder).status == 2


def test_trust_revoke_takes_it_back(folder):
    (folder / ".womm").write_text('version = 1\nimage = "i"\n')
    assert trust(folder, "--yes").status == 0
    assert trust(folder, "--revoke").err == f"womm: {folder}/.womm is not accepted any more\n"
    assert trust(folder).status == 2
    assert trust(folder, "--revoke").err == f"womm: {folder}/.womm is not accepted\n"


def test_trust_of_what_needs_none_or_is_not_there(folder):
    none = trust(folder)
    assert none.status == 254
    assert "there is no .womm here" in none.err
    (folder / ".womm").write_text("version = 1\nkube-pods = 3\n")
    assert trust(folder).err == f"womm: {folder}/.womm needs no acceptance: it says nothing but numbers\n"


def test_trust_of_a_file_where_pods_write_is_refused_even_with_yes(folder):
    hostile(folder)
    (folder / ".womm").write_text(HOSTILE + 'share = "lazy"\n')
    result = trust(folder, "--yes")
    assert result.status == 254
    assert f"womm: {folder}/k, which kubeconfig names, lies in {folder}, which pods can write" in result.err
    assert "move it out" in result.err


@pytest.mark.slow
@pytest.mark.parametrize(("answer", "status"), [("y", 0), ("", 130), ("n", 130)])
def test_trust_asks_in_a_terminal_and_no_is_the_default(folder, answer, status):
    (folder / ".womm").write_text('version = 1\nimage = "i"\n')
    child = pexpect.spawn(
        WOMM[0], [*WOMM[1:], "trust"], cwd=folder, env=environment(), encoding="utf-8", timeout=60
    )
    child.expect("Accept it\\? \\[y/N\\]")
    child.sendline(answer)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == status
    assert trust(folder).status == (0 if status == 0 else 2)


# ---- womm setup


def test_setup_accepts_what_it_writes(folder):
    assert run("setup", "--cluster", "local", "--yes", cwd=folder).status == 0
    assert trust(folder).err == f"womm: {folder}/.womm is accepted\n"


def test_setup_does_not_accept_a_clones_keys(folder):
    hostile(folder)
    for words in ("--image tools", "--cluster local", "--share none"):
        result = run("setup", *words.split(), "--yes", cwd=folder)
        assert result.status == 254
        assert result.err.endswith("womm: hint: womm trust\n")
    assert (folder / ".womm").read_text() == HOSTILE
    assert trust(folder).status == 2
    assert not mark(folder).exists()


@pytest.mark.slow
def test_setup_in_a_terminal_shows_a_clones_keys_and_asks_first(folder):
    hostile(folder)
    child = pexpect.spawn(
        WOMM[0], [*WOMM[1:], "setup"], cwd=folder, env=environment(), encoding="utf-8", timeout=60
    )
    child.expect("is new to you:.*only with your acceptance count.*Do you accept this\\? y/n\r\n\\[n\\] > ")
    child.sendline("")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert not mark(folder).exists()


def test_setup_writes_no_file_that_can_never_count(folder):
    (folder / "k").write_text("{}")
    words = ["--image", "i", "--context", "c", "-n", "n", "--share", "lazy", "--fileserver-image", "f"]
    hostile(folder)
    (folder / ".womm").unlink()
    result = run("setup", *words, "--kubeconfig", "k", "--yes", cwd=folder)
    assert result.status == 254
    assert not (folder / ".womm").exists()


# ---- programs and modules of the current folder


def test_modules_of_the_current_folder_are_not_imported(folder):
    for name in ("click", "platformdirs", "tomlkit", "yaml"):
        (folder / f"{name}.py").write_text(f"open({str(mark(folder))!r}, 'w')\nraise SystemExit(7)\n")
    assert run("status", cwd=folder).status == 0
    assert not mark(folder).exists()


@pytest.mark.slow
def test_pip_of_the_current_folder_is_not_run(folder, tmp_path):
    import subprocess

    (folder / "pip.py").write_text(f"open({str(mark(folder))!r}, 'w')\n")
    code = "from pathlib import Path; from womm.image import wheels; wheels.download(Path('.'), 'x86_64')"
    words = [sys.executable, "-P", "-c", code]
    subprocess.run(words, cwd=folder, env=environment(PIP_NO_INDEX="1"), capture_output=True, check=False)
    assert not mark(folder).exists()


@pytest.mark.slow
def test_perl_modules_of_the_current_folder_are_not_loaded_and_jobs_keep_their_environment(folder):
    (folder / "lib").mkdir()
    for name in ("strict", "warnings", "Config", "Errno", "POSIX"):
        (folder / f"lib/{name}.pm").write_text(
            f"open my $f, '>>', '{mark(folder)}'; print $f \"$0\\n\"; 1;\n"
        )
    assert "!!  perl" not in run("doctor", cwd=folder, PERL5LIB="lib").out
    assert run("parallel", "--", "--version", cwd=folder, PERL5LIB="lib").status == 0
    assert not mark(folder).exists()
    # -u: the shim relays output, with its second part.
    words = ["parallel", "--kube-pods", "1", "-u", "--", "echo $PERL5LIB; echo", ":::", "x"]
    result = run(*words, cwd=folder, PERL5LIB="lib")
    assert (result.status, result.out) == (0, "lib\nx\n"), result.err
    # GNU parallel's own one-liners, with which it asks about this machine, are as they always were.
    assert not mark(folder).exists() or set(mark(folder).read_text().split()) == {"-e"}


def test_programs_of_the_current_folder_are_not_womms(folder):
    # GNU parallel itself looks for sh and others as it always does.
    for name in ("perl", "parallel", "rsync"):
        (folder / name).write_text(
            f"#!/bin/sh\n# $Global::version = 20991122;\necho {name} >>{mark(folder)}\n"
        )
        (folder / name).chmod(0o755)
    os.mkdir(folder / "bin")
    (folder / "bin/perl").symlink_to("../perl")
    # Without it GNU parallel looks for a shell among its ancestors, by `ps | perl` where it finds none.
    result = run("doctor", cwd=folder, PATH=f":.:bin:{os.environ['PATH']}", PARALLEL_SHELL="/bin/sh")
    assert not mark(folder).exists(), mark(folder).read_text()
    assert "perl: 5." in result.out
