"""Which files a project file names, and where they must not lie."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from womm.errors import TrustError
from womm.named import BY_PATH, MISSING, SYSTEM, Files, Kind, named_by, seal, steps


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "proj"
    folder.mkdir()
    return folder


def script(path: Path, first: str = "#!/bin/sh") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(first + "\n")
    path.chmod(0o755)
    return path


def kubeconfig(path: Path, user: Mapping[str, object], cluster: Mapping[str, object] | None = None) -> Path:
    """JSON is YAML."""
    content = {"users": [{"name": "u", "user": user}], "clusters": [{"name": "c", "cluster": cluster or {}}]}
    path.write_text(json.dumps(content))
    return path


def found(
    project: Path, value: object, kind: Kind = Kind.KUBECONFIG, *, pods_write: list[Path] | None = None
):
    named = named_by(project, [(kind, kind.value, str(value))], pods_write or [])
    return {name.path: name.found for name in named}


def test_kubeconfig_names_its_plugin_and_what_that_is_given(project, tmp_path):
    plugin = script(project / "bin/plugin", "#!/usr/bin/env -S perl -w")
    for name in ("option", "script", "variable", "list", "module.py"):
        (tmp_path / name).write_text(name)
    config = kubeconfig(
        tmp_path / "config",
        {
            "exec": {
                "command": "proj/bin/plugin",
                "args": [
                    f"--file={tmp_path}/option",
                    "get",
                    "-c",
                    "exec ./script; x",
                    "-m",
                    "module",
                    "./no",
                ],
                "env": [
                    {"name": "A", "value": str(tmp_path / "variable")},
                    {"name": "B", "value": "list:/x"},
                ],
            }
        },
    )
    named = found(project, config)
    by_content = {str(config), str(plugin), *(str(tmp_path / name) for name in ("option", "script"))}
    by_content |= {str(tmp_path / name) for name in ("variable", "list", "module.py")}
    assert {path for path, how in named.items() if len(how) == 64} >= by_content
    assert named["/usr/bin/env"] == SYSTEM


def test_kubeconfig_told_is_what_it_runs(project):
    config = kubeconfig(project / "k", {"exec": {"command": "sh", "args": ["-c", "touch x"], "env": None}})
    named = named_by(project, [(Kind.KUBECONFIG, "kubeconfig", str(config))], [])
    (told,) = [name.told for name in named if name.path == str(config)]
    assert told == ("runs sh -c 'touch x'",)


def test_kubeconfig_of_an_old_kind_names_its_program(project):
    plugin = script(project / "gcloud")
    given = {"auth-provider": {"name": "gcp", "config": {"cmd-path": str(plugin), "cmd-args": "x y"}}}
    assert str(plugin) in found(project, kubeconfig(project / "k", given))


def test_names_with_blanks_are_found(project):
    plugin, other = script(project / "a b"), script(project / "c d")
    old = {"auth-provider": {"config": {"cmd-path": str(plugin), "cmd-args": f"'{other}'"}}}
    new = {"exec": {"command": str(plugin), "args": ["-c", f'exec "{other}" x']}}
    for user in (old, new):
        assert found(project, kubeconfig(project / "k", user)).keys() >= {str(plugin), str(other)}


def test_credentials_count_by_path_unless_they_are_in_the_project(project, tmp_path):
    for name in ("proj/token", "token", "ca"):
        (tmp_path / name).write_text("1")
    user = {"tokenFile": "../token", "client-key": "token"}
    config = kubeconfig(project / "k", user, {"certificate-authority": str(tmp_path / "ca")})
    before = found(project, config)
    assert before[str(tmp_path / "token")] == before[str(tmp_path / "ca")] == BY_PATH
    (tmp_path / "token").write_text("2")
    assert found(project, config) == before
    (project / "token").write_text("2")
    assert found(project, config) != before


def test_what_is_both_a_credential_and_a_program_counts_by_content(project, tmp_path):
    plugin = script(tmp_path / "plugin")
    for user in (
        {"tokenFile": str(plugin), "exec": {"command": str(plugin)}},
        {"exec": {"command": "sh", "args": [str(plugin)]}, "tokenFile": str(plugin)},
    ):
        assert len(found(project, kubeconfig(project / "k", user))[str(plugin)]) == 64


def test_program_that_is_made_later_is_a_change(project):
    config = kubeconfig(project / "k", {"exec": {"command": "./plugin"}})
    assert found(project, config)[str(project / "plugin")] == MISSING
    script(project / "plugin")
    assert len(found(project, config)[str(project / "plugin")]) == 64


def test_interpreter_of_a_shell_counts_too(project):
    interpreter = script(project / "interpreter")
    shell = script(project / "bash", f"#!{interpreter} -x")
    assert found(project, shell, Kind.PROGRAM).keys() >= {str(shell), str(interpreter)}


def test_interpreter_that_is_relative_is_refused(project):
    with pytest.raises(TrustError, match="another one in each folder"):
        found(project, script(project / "bash", "#!sh"), Kind.PROGRAM)


def test_program_of_the_system_counts_by_its_path_and_a_link_to_it_as_well(project):
    named = found(project, "sh", Kind.PROGRAM)
    assert list(named.values()) == [SYSTEM]
    (project / "sh").symlink_to("/bin/sh")
    (how,) = found(project, project / "sh", Kind.PROGRAM).values()
    assert len(how) == 64  # the link may be another one tomorrow


@pytest.mark.parametrize(
    "text", ["", "[", "a: &a [*a]\n", "a\0b", "users: 3\nclusters: {exec: 1}\n", "[[[]]]"]
)
def test_kubeconfig_that_is_none_names_nothing(project, text):
    (project / "k").write_text(text)
    assert list(found(project, project / "k")) == [str(project / "k")]


def test_kubeconfig_of_many_aliases_is_read_once(project):
    levels = [f"l{n}: &l{n} {{{', '.join(f'k{m}: *l{n - 1}' for m in range(9))}}}" for n in range(1, 30)]
    (project / "k").write_text("\n".join(["l0: &l0 {exec: {command: /no/such}}", *levels]))
    assert found(project, project / "k")["/no/such"] == MISSING


@pytest.mark.parametrize("kind", ["fifo", "folder"])
def test_file_of_another_kind_is_refused_and_not_waited_for(project, kind):
    (project / "k").mkdir() if kind == "folder" else os.mkfifo(project / "k")
    with pytest.raises(TrustError, match=r"no file of a usual kind|Is a directory"):
        found(project, project / "k")


# ---- where pods can write


@pytest.mark.parametrize(
    "user",
    [
        {"exec": {"command": "PROJ/x"}},
        {"exec": {"command": "python3", "args": ["PROJ/x"]}},
        {"exec": {"command": "sh", "args": ["-c", "cd /; PROJ/not-there"]}},
        {"exec": {"command": "sh", "env": [{"name": "LD_PRELOAD", "value": "PROJ/x"}]}},
        {"exec": {"command": "sh", "env": [{"name": "PATH", "value": "/bin:PROJ/bin"}]}},
        {"tokenFile": "PROJ/token"},
        {"client-key": "PROJ/key"},
    ],
    ids=json.dumps,
)
def test_what_a_kubeconfig_names_where_pods_write_is_refused(project, tmp_path, user):
    config = kubeconfig(tmp_path / "k", json.loads(json.dumps(user).replace("PROJ", str(project))))
    script(project / "x")
    with pytest.raises(TrustError, match="which pods can write") as raised:
        found(project, config, pods_write=[project])
    assert raised.value.message.startswith(str(project))
    assert "move it out" in (raised.value.hint or "")


def test_link_where_pods_write_is_refused_wherever_it_leads(project, tmp_path):
    config = kubeconfig(tmp_path / "k", {})
    (project / "link").symlink_to(config)
    (tmp_path / "back").symlink_to(project / "link")
    for path in (project / "link", tmp_path / "back"):
        with pytest.raises(TrustError, match="which pods can write"):
            found(project, path, pods_write=[project])
    assert found(project, config, pods_write=[project])


def test_folder_by_another_name_is_known(project, tmp_path):
    kubeconfig(project / "k", {})
    (tmp_path / "alias").symlink_to(project)
    for folder, path in ((tmp_path / "alias", project / "k"), (project, tmp_path / "alias/k")):
        with pytest.raises(TrustError, match="which pods can write"):
            found(project, path, pods_write=[folder])


def test_only_what_pods_can_write_is_refused(project):
    config = kubeconfig(project / "k", {})
    assert found(project, config, pods_write=[project / "out", project / "k2"])
    with pytest.raises(TrustError):
        found(project, kubeconfig(project / "k2", {}), pods_write=[project / "out", project / "k2"])


def test_folder_of_the_project_that_a_plugin_is_given_is_refused(project):
    (project / "lib").mkdir()
    given = {"command": "python3", "env": [{"name": "PYTHONPATH", "value": str(project / "lib")}]}
    with pytest.raises(TrustError, match="is a folder in the project"):
        found(project, kubeconfig(project / "k", {"exec": given}))


def test_steps_are_all_that_the_kernel_looks_at(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/link").symlink_to("../b")
    (tmp_path / "b").symlink_to(tmp_path / "c")
    below = [step.removeprefix(str(tmp_path)) for step in steps(f"{tmp_path}/a/./link/x")]
    assert [
        step for step in below if step.startswith("/") and step not in {str(p) for p in tmp_path.parents}
    ][-5:] == ["/a", "/a/link", "/b", "/c", "/c/x"]
    (tmp_path / "loop").symlink_to("loop")
    assert len(steps(f"{tmp_path}/loop")) < 1000


# ---- the seal of a task's kubeconfig


def test_seal_changes_with_the_kubeconfig_and_its_programs_but_not_with_tokens(tmp_path):
    plugin = script(tmp_path / "plugin")
    (tmp_path / "token").write_text("1")
    config = kubeconfig(tmp_path / "k", {"exec": {"command": "./plugin"}, "tokenFile": "token"})
    before = seal(str(config))
    (tmp_path / "token").write_text("2")
    assert seal(str(config)) == before
    plugin.write_text("#!/bin/sh\n#\n")
    changed = seal(str(config))
    assert changed != before
    config.write_text(config.read_text() + "\n")
    assert seal(str(config)) not in {before, changed}


def test_seal_and_fingerprint_are_of_the_same_bytes(project, tmp_path):
    config = kubeconfig(tmp_path / "k", {"exec": {"command": "/bin/true"}})
    before, files = seal(str(config)), Files()
    named_by(project, [(Kind.KUBECONFIG, "kubeconfig", str(config))], [], files=files)
    config.write_text("")
    assert seal(str(config), files) == before
