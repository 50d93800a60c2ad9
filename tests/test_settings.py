"""Where settings come from, what they may be, and how wrong ones are told."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trusting import accept
from womm import settings
from womm.errors import ProjectError, SettingsError
from womm.settings import KEYS, Settings, load


@pytest.fixture
def folder(womm_home, tmp_path):
    folder = tmp_path / "proj"
    folder.mkdir()
    return folder


def test_load_nothing_given_gives_defaults(folder):
    found = load(folder, {}, {})
    assert found == Settings(origins=found.origins)
    assert set(found.origins.values()) == {"default"}
    assert found.kube_pods is None


def test_load_each_layer_beats_the_one_below(folder, womm_home):
    config = womm_home.config / "womm" / "config.toml"
    config.parent.mkdir()
    config.write_text("kube-pods = 1\nlocal-procs = 1\nprocs-per-pod = 1\nkube_cpu = 1\n")
    (folder / ".womm").write_text("version = 1\nkube-pods=2\nlocal_procs=2\nprocs-per-pod=2\n")
    accept(folder)
    env = {"WOMM_KUBE_PODS": "3", "WOMM_LOCAL_PROCS": "3", "WOMM_KUBE_MEM": ""}
    found = load(folder, env, {"kube_pods": "4", "kube_mem": None})
    assert (found.kube_pods, found.local_procs, found.procs_per_pod) == (4, 3, 2)
    assert (found.kube_cpu, found.kube_mem) == ("1", "512Mi")
    assert found.project == folder
    assert dict(found.origins) | {
        "kube_pods": "--kube-pods",
        "local_procs": "WOMM_LOCAL_PROCS",
        "procs_per_pod": str(folder / ".womm"),
        "kube_cpu": str(config),
        "kube_mem": "default",
    } == dict(found.origins)


def test_keys_cover_all_settings():
    values = {name for name in Settings.__dataclass_fields__ if name not in {"origins", "project"}}
    assert {key.field for key in KEYS} == values
    for key in KEYS:
        assert key.field in {key.name.replace("-", "_") + unit for unit in ("", "_s", "_bytes")}


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"kube_pods": "0"}, "--kube-pods 0: must be a whole number, 1 or more"),
        ({"kube_pods": "four"}, "--kube-pods four: must be a whole number, 1 or more"),
        ({"kube_pods": "\u0664"}, "--kube-pods \u0664: must be a whole number"),
        ({"local_procs": "-1"}, "--local-procs -1: must be a whole number, 0 or more"),
        ({"kube_mem": "512m"}, "(did you mean 512Mi?)"),
        ({"kube_mem": "1gb"}, "(did you mean 1Gi?)"),
        ({"kube_mem": "512 Mi"}, "an amount of memory"),
        ({"kube_mem": "0"}, "an amount of memory"),
        ({"kube_cpu": "0.0001"}, "a number of CPUs such as 2, 0.5 or 500m"),
        ({"kube_cpu": "0"}, "a number of CPUs"),
        ({"orphan_timeout": "5 parsecs"}, "a time such as 90s, 5m or 1h30m"),
        ({"stdin_cap": "-1"}, "a size such as 512Mi, 1GiB"),
        ({"shell": " "}, "the name or path of a shell"),
    ],
)
def test_load_a_wrong_flag_is_a_usage_error_of_one_line(folder, flags, message):
    with pytest.raises(SettingsError) as caught:
        load(folder, {}, flags)
    assert message in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.status == 2


def test_load_a_wrong_variable_is_named(folder):
    with pytest.raises(SettingsError, match="WOMM_KUBE_PODS=x: must be a whole number") as caught:
        load(folder, {"WOMM_KUBE_PODS": "x"}, {})
    assert caught.value.status == 254


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("kube-pod = 4", "there is no setting 'kube-pod'", "did you mean kube-pods?"),
        ("zzz = 4", "there is no setting 'zzz'", 'all keys: womm\'s reference, "Settings"'),
        ("kube-pods = true", "kube-pods = true: must be a whole number, 1 or more", None),
        ('kube-pods = "x"', 'kube-pods = "x": must be a whole number', None),
        ("kube-pods = 1.5", "kube-pods = 1.5: must be a whole number", None),
        ("kube-mem = [1]", "kube-mem = [1]: must be an amount of memory", None),
        ("orphan-timeout = 0", "orphan-timeout = 0: must be a time", None),
        ("orphan-timeout = nan", "orphan-timeout = nan: must be a time", None),
        ("kube-pods = 1\nkube_pods = 2", "kube-pods and kube_pods are the same setting", None),
    ],
)
def test_load_a_wrong_file_names_file_key_and_value(folder, line, message, hint):
    (folder / ".womm").write_text("version = 1\n" + line)
    with pytest.raises(SettingsError) as caught:
        load(folder, {}, {})
    assert caught.value.message.startswith(f"{folder / '.womm'}: ")
    assert message in caught.value.message
    assert (caught.value.hint or "").startswith(hint or "")


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.integers()))
def test_read_anything_gives_a_value_or_value_error(value):
    for key in KEYS:
        try:
            key.read(value)
        except ValueError as exc:
            assert re.match("an? |the |labels |tolerations |local or |none or |true or |paths ", str(exc))


# ---- clusters


def test_clusters_keys_from_a_file(folder):
    (folder / ".womm").write_text("""
version = 1
cluster = "kubernetes"
context = "lab"
namespace = "research"
image = "example.org/tools@sha256:0123"
share = "none"
pull-secret = "registry.example.org"
service_account = "bot"
gpus = 2
gpu-resource = "amd.com/gpu"
node-selector = { disk = "ssd" }
[[tolerations]]
key = "gpu"
operator = "Exists"
""")
    accept(folder)
    found = load(folder, {}, {})
    assert (found.cluster, found.context, found.namespace) == ("kubernetes", "lab", "research")
    assert (found.image, found.share) == ("example.org/tools@sha256:0123", "none")
    assert (found.pull_secret, found.service_account) == ("registry.example.org", "bot")
    assert (found.gpus, found.gpu_resource) == (2, "amd.com/gpu")
    assert found.node_selector == {"disk": "ssd"}
    assert found.tolerations == ({"key": "gpu", "operator": "Exists"},)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('cluster = "kubernets"', "must be local or kubernetes"),
        ('namespace = "a.b"', "must be the name of a namespace"),
        ('namespace = "A"', "must be the name of a namespace"),
        (f'namespace = "{"a" * 64}"', "must be the name of a namespace"),
        ('context = ""', "must be a context of the kubeconfig"),
        ('image = "a b"', "must be the name of an image"),
        ("image = 3", "must be the name of an image"),
        ('share = "lazily"', "must be none or eager or eager-syncback or lazy"),
        ("share = true", "must be none or eager"),
        ('share-readonly = "perhaps"', "must be true or false"),
        ('share-cache = "much"', "must be a size"),
        ('share-write = ["/out"]', "must be paths within the shared folder"),
        ('share-write = ["out", "a/../../b"]', "must be paths within the shared folder"),
        ('share-write = "~/x"', "must be paths within the shared folder"),
        ("share-write = []", "must be paths within the shared folder"),
        ("share-write = [3]", "must be paths within the shared folder"),
        ('share-write = "a,,b"', "must be paths within the shared folder"),
        ('share-volume = "A"', "must be the name of a claim"),
        ('prefix = "Reg istry/"', "must be the beginning of an image's name"),
        ('prefix = "registry.example.org/Team/"', "must be the beginning of an image's name"),
        ('fileserver-image = ""', "must be the name of an image"),
        ('pull-secret = "a_b"', "must be the name of a secret"),
        ("gpus = -1", "must be a whole number, 0 or more"),
        ("kubeconfig = []", "must be a path"),
    ],
)
def test_clusters_keys_bad_values_are_told(folder, line, message):
    (folder / ".womm").write_text(f"version = 1\n{line}\n")
    with pytest.raises(SettingsError, match=re.escape(f"{folder}/.womm: ")) as raised:
        load(folder, {}, {})
    assert message in raised.value.message


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ('["out/", "./a//b/.", "out", "a b,c"]', ("out", "a/b", "a b,c")),
        ('"out/,log.txt"', ("out", "log.txt")),
        ('["."]', (".",)),
        ('["..."]', ("...",)),
    ],
)
def test_share_write_paths_are_cleaned(folder, text, paths):
    (folder / ".womm").write_text(f"version = 1\nshare-write = {text}\n")
    accept(folder)
    assert load(folder, {}, {}).share_write == paths
    assert load(folder, {}, {"share_write": "x,y/"}).share_write == ("x", "y")


def test_share_keys_are_read_and_flags_go_before_them(folder):
    (folder / ".womm").write_text("""
version = 1
share = "eager-syncback"
share-cache = "2Gi"
share_readonly = true
share-volume = "data"
keep = true
prefix = "registry.example.org:5000/team"
fileserver-image = "files@sha256:0123"
""")
    accept(folder)
    found = load(folder, {"WOMM_SHARE_READONLY": "no", "WOMM_KEEP": "yes"}, {"share": "lazy"})
    assert (found.share, found.share_cache_bytes, found.share_readonly) == ("lazy", 2 << 30, False)
    assert (found.share_volume, found.keep) == ("data", True)
    assert found.prefix == "registry.example.org:5000/team/"
    assert found.fileserver_image == "files@sha256:0123"


def test_unknown_key_of_a_cluster_is_refused_with_the_nearest(folder):
    (folder / ".womm").write_text('version = 1\nnodeselector = "a=b"\n')
    with pytest.raises(SettingsError, match="there is no setting 'nodeselector'") as raised:
        load(folder, {}, {})
    assert raised.value.hint == "did you mean node-selector?"


@pytest.mark.parametrize("key", ["kubeconfig", "pod-template"])
def test_paths_count_from_where_they_are_written(folder, womm_home, key):
    below = folder / "below"
    below.mkdir()
    field, variable = key.replace("-", "_"), f"WOMM_{key.replace('-', '_').upper()}"
    config = womm_home.config / "womm" / "config.toml"
    config.parent.mkdir()
    config.write_text(f'{key} = "x"\n')
    assert getattr(load(below, {}, {}), field) == str(config.parent / "x")
    (folder / ".womm").write_text(f'version = 1\n{key} = "../x"\n')
    accept(folder)
    assert getattr(load(below, {}, {}), field) == str(folder.parent / "x")
    assert getattr(load(below, {variable: "x"}, {}), field) == str(below / "x")
    assert getattr(load(below, {variable: "~/x"}, {field: "/x"}), field) == "/x"
    assert getattr(load(below, {variable: "~/x"}, {}), field) == str(womm_home.home / "x")


def test_kubeconfig_may_be_several(folder):
    (folder / ".womm").write_text('version = 1\nkubeconfig = "a:/b:~/c"\n')
    accept(folder)
    assert load(folder, {}, {}).kubeconfig == f"{folder}/a:/b:{folder.parent}/home/c"


def test_user_settings_that_are_a_link_to_nothing_are_named(womm_home, tmp_path):
    config = womm_home.config / "womm" / "config.toml"
    config.parent.mkdir()
    config.symlink_to("nowhere")
    with pytest.raises(ProjectError, match=r"config\.toml is a link that leads nowhere"):
        settings.load(tmp_path, {}, {})


# ---- this machine's programs


def test_here_roots_in_a_project_file_are_refused(folder):
    (folder / ".womm").write_text('version = 1\nhere-roots = ["/home/me/.pyenv"]\n')
    with pytest.raises(SettingsError) as caught:
        load(folder, {}, {})
    assert "here-roots says what may leave this machine" in caught.value.message
    assert "--here-roots" in (caught.value.hint or "")
    with pytest.raises(SettingsError, match="what may leave this machine"):
        settings.check_values(folder / ".womm", {"here-roots": "none"})


def test_here_roots_come_from_the_user_alone(folder, womm_home):
    config = womm_home.config / "womm" / "config.toml"
    config.parent.mkdir()
    config.write_text('here-roots = ["~/venv", "/home/you//conda/"]\n')
    assert load(folder, {}, {}).here_roots == (str(womm_home.home / "venv"), "/home/you/conda")
    env = {"WOMM_HERE_ROOTS": "/home/a:/home/b"}
    assert load(folder, env, {}).here_roots == ("/home/a", "/home/b")
    assert load(folder, env, {"here_roots": "none"}).here_roots == ()


@pytest.mark.parametrize("given", ["home", "/home/a:", "/home/a:none", "./x"])
def test_here_roots_that_are_no_paths_are_refused(folder, given):
    with pytest.raises(SettingsError, match="must be paths that begin with / or ~"):
        load(folder, {}, {"here_roots": given})
