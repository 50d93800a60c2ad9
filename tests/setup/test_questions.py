"""The dialogue of `womm setup`: what is asked, what is not, and which answers come of it."""

import json
import socket
from pathlib import Path

import pytest

from tests.setup.terminals import asking, status_of
from womm.errors import ShareError, UsageError
from womm.setup.asking import Asker
from womm.setup.questions import Answers, Options, ask

SHARE = "1) lazily\r\n2) eagerly (no syncback)\r\n3) eagerly (syncback on complete, not recommended)\r\n"
SHARE += "4) not at all\r\n*) never mind, quit\r\n"
NAMESPACE = "In which namespace of the cluster may your jobs run?\r\n"
SECRET = "Which pull secret of the namespace opens your images' registry"
BASE = "What is the docker hub name for the base image for your operating system?\r\n"
PREFIX = "What is a prefix of a docker image name that you are authorized to push to a secure location?\r\n"
PREFIX += "e.g. 'us-west4-docker.pkg.dev/angr-ci/defcon/'\r\n> "
CHANGE = "Do you want to change your share, cluster or base image? y/n\r\n[n] > "
EDIT = "Do you want to edit your image? y/n\r\n"

IMAGE = "docker.io/rhelmot/womm-image:proj-12345678@sha256:" + 64 * "0"
BEFORE = {
    "cluster": "kubernetes",
    "context": "lab",
    "namespace": "research",
    "share": "eager",
    "image": IMAGE,
    "base": "debian:12",
    "prefix": "docker.io/rhelmot/",
    "fileserver-image": "files:1",
}

ASK = """
import dataclasses, json
from pathlib import Path
from womm.setup.questions import Options, ask
options, before, remembered = map(json.loads, sys.argv[1:])
rest = {"remembered": remembered, "no_engine": lambda: sys.exit("there is no engine"), "say": print}
found = ask(Options(**options), Path.cwd(), before, asker, **rest)
print("ANSWERS " + json.dumps(dataclasses.asdict(found), default=str))
"""


@pytest.fixture
def folder(place, tmp_path, monkeypatch):
    """A project's folder, where one context and a container engine seem to be there."""
    config = tmp_path / "kubeconfig"
    named = [{"name": "lab", "context": {"cluster": "c", "namespace": "research"}}]
    config.write_text(json.dumps({"current-context": "lab", "contexts": named}))
    folder = tmp_path / "proj"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(place / "engine"))
        listener.listen()
        monkeypatch.setenv("KUBECONFIG", str(config))
        monkeypatch.setenv("DOCKER_HOST", f"unix://{place}/engine")
        yield folder


def asked(folder, *, before=None, remembered="", **options):
    words = [json.dumps(value) for value in (options, before or {}, remembered)]
    return asking(ASK, *words, cwd=folder)


def answers(child):
    child.expect("ANSWERS (.*)\r\n")
    found = json.loads(child.match[1])
    assert status_of(child) == 0
    return found


def part_of(found, expected):
    return {key: found[key] for key in expected} == expected


# ---- in a terminal


def test_new_project_is_asked_for_everything_in_the_order_of_the_story(folder):
    with asked(folder) as child:
        child.expect_exact(f"How do you want to share {folder} to your cloud?\r\n{SHARE}[*] > ")
        child.sendline("1")
        child.expect_exact(f"{NAMESPACE}[research] > ")
        child.sendline("mine")
        child.expect_exact(f"{SECRET} (blank: none)?\r\n> ")
        child.sendline("")
        child.expect_exact(BASE + "[")
        child.expect_exact("] > ")
        child.sendline("ubuntu:20.04")
        child.expect_exact(PREFIX)
        child.sendline("docker.io/rhelmot")
        found = answers(child)
    expected = {
        "cluster": "kubernetes",
        "context": "lab",
        "namespace": "mine",
        "share": "lazy",
        "pull_secret": "",
        "image": "",
        "kept": "",
        "base": "ubuntu:20.04",
        "prefix": "docker.io/rhelmot/",
        "remember_prefix": True,
        "edit": True,
    }
    assert part_of(found, expected)


def test_what_options_and_memory_answer_is_not_asked(folder):
    keys = {"share": "none", "namespace": "mine", "pull-secret": "key", "base": "debian:12"}
    with asked(folder, keys=keys, remembered="r.example.org/me/") as child:
        assert child.expect_exact(["ANSWERS", "> "]) == 0
        child.expect("(.*)\r\n")
        found = json.loads(child.match[1])
    expected = {"prefix": "r.example.org/me/", "remember_prefix": False, "pull_secret": "key", "edit": True}
    assert part_of(found, expected)


def test_second_run_edits_the_image_by_default(folder):
    with asked(folder, before=BEFORE) as child:
        child.expect_exact(CHANGE)
        child.sendline("")
        child.expect_exact(f"{EDIT}[y] > ")
        child.sendline("")
        found = answers(child)
    expected = {"edit": True, "kept": IMAGE, "base": "debian:12", "image": "", "share": "eager"}
    assert part_of(found, expected)


def test_second_run_that_edits_nothing_keeps_the_image(folder):
    with asked(folder, before=BEFORE) as child:
        child.expect_exact(CHANGE)
        child.sendline("")
        child.expect_exact(EDIT)
        child.sendline("n")
        found = answers(child)
    assert part_of(found, {"edit": False, "image": IMAGE, "kept": "", "prefix": "docker.io/rhelmot/"})


def test_second_run_changes_answers_with_the_present_ones_as_defaults(folder):
    with asked(folder, before={**BEFORE, "pull-secret": "key"}) as child:
        child.expect_exact(CHANGE)
        child.sendline("y")
        child.expect_exact(f"{SHARE}[2] > ")
        child.sendline("")
        child.expect_exact(f"{NAMESPACE}[research] > ")
        child.sendline("")
        child.expect_exact(f"{SECRET} (blank: key, -: none)?\r\n[key] > ")
        child.sendline("-")
        child.expect_exact(f"{BASE}[debian:12] > ")
        child.sendline("debian:13")
        found = answers(child)  # another base means a new image: there is nothing more to ask
    expected = {"edit": True, "kept": "", "base": "debian:13", "share": "eager", "pull_secret": ""}
    assert part_of(found, expected)


def test_image_that_the_user_has_named_is_not_edited_by_default_and_is_its_own_base(folder):
    before = {**BEFORE, "image": "tools:1"}
    del before["base"]
    with asked(folder, before=before) as child:
        child.expect_exact(CHANGE)
        child.sendline("")
        child.expect_exact(f"{EDIT}[n] > ")
        child.sendline("y")
        found = answers(child)
    assert part_of(found, {"edit": True, "kept": "tools:1", "base": "tools:1"})


def test_second_run_with_an_option_asks_nothing(folder):
    with asked(folder, before=BEFORE, keys={"share": "lazy"}) as child:
        assert child.expect_exact(["ANSWERS", "> "]) == 0
    with asked(folder, before=BEFORE, run=["true"]) as child:
        assert child.expect_exact(["ANSWERS", "> "]) == 0
        child.expect("(.*)\r\n")
        assert part_of(json.loads(child.match[1]), {"edit": True, "run": ["true"], "kept": IMAGE})


def test_no_engine_is_found_out_before_the_first_question(folder, place):
    (place / "engine").unlink()
    with asked(folder) as child:
        assert child.expect_exact(["there is no engine", "> "]) == 0
    with asked(folder, before=BEFORE) as child:
        child.expect_exact(CHANGE)
        child.sendline("")
        child.expect_exact(EDIT)
        child.sendline("n")  # then none is needed
        answers(child)
    with asked(folder, keys={"image": "tools:1", "share": "none", "namespace": "n"}) as child:
        answers(child)


def test_share_of_the_home_folder_is_asked_for_twice(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    with asked(folder) as child:
        child.expect_exact("[*] > ")
        child.sendline("1")
        child.expect_exact("is your home folder, with keys and passwords for all pods to see\r\n")
        child.expect_exact("Share it all the same? y/n\r\n[n] > ")
        child.sendline("")
        assert status_of(child) == 130


# ---- without a terminal


def silent(options, folder, before=None, remembered="") -> Answers:
    def no_engine():
        raise AssertionError("nobody waits for an answer: the engine is found out later")

    asker = Asker(asks=False)
    said: list[str] = []
    return ask(
        options, folder, before or {}, asker, remembered=remembered, no_engine=no_engine, say=said.append
    )


@pytest.mark.parametrize(
    ("keys", "more", "missing"),
    [
        ({}, {}, "--share, --base and --prefix are missing"),
        ({"share": "lazy"}, {}, "--base and --prefix are missing"),
        ({"share": "lazy", "base": "debian:12"}, {}, "--prefix is missing"),
        ({"base": "debian:12", "prefix": "r/"}, {"run": ("true",)}, "--share is missing"),
        ({"share": "none"}, {"dockerfile": Path("Dockerfile")}, "--prefix is missing"),
        ({"image": "t", "share": "eager"}, {"fileserver_base": "b"}, "--prefix is missing"),
    ],
)
def test_missing_answers_name_their_options(folder, keys, more, missing):
    with pytest.raises(UsageError) as caught:
        silent(Options(keys=keys, **more), folder)
    assert caught.value.message == f"{missing}, and womm setup does not ask here"
    assert "womm setup --share lazy --base debian:12" in str(caught.value.hint)


def test_options_alone_are_enough(folder):
    keys = {"share": "lazy", "base": "debian:12", "prefix": "r.example.org/me"}
    found = silent(Options(keys=keys, run=("apt-get install -y jq",), variables={"MODE": "fast"}), folder)
    assert (found.edit, found.base, found.kept, found.prefix) == (True, "debian:12", "", "r.example.org/me/")
    assert (found.run, found.variables) == (("apt-get install -y jq",), {"MODE": "fast"})
    assert (found.context, found.namespace) == ("lab", "research")


def test_prefix_of_the_last_project_counts(folder):
    keys = {"share": "lazy", "base": "debian:12"}
    assert silent(Options(keys=keys), folder, remembered="r.example.org/me/").prefix == "r.example.org/me/"


def test_second_run_goes_on_from_the_image_unless_the_base_changes(folder):
    found = silent(Options(run=("true",)), folder, BEFORE)
    assert (found.edit, found.kept, found.base) == (True, IMAGE, "debian:12")
    found = silent(Options(keys={"base": "debian:13"}), folder, BEFORE)
    assert (found.edit, found.kept, found.base) == (True, "", "debian:13")
    found = silent(Options(), folder, BEFORE)
    assert (found.edit, found.image, found.makes_image) == (False, IMAGE, False)


def test_dockerfile_makes_the_image_without_a_testbed(folder):
    found = silent(Options(dockerfile=folder / "Dockerfile"), folder, BEFORE)
    assert (found.edit, found.makes_image, found.image, found.base) == (False, True, "", "")


def test_local_project_needs_no_answers(folder):
    assert silent(Options(keys={"cluster": "local"}), folder).cluster == "local"
    assert silent(Options(), folder, {"cluster": "local"}).cluster == "local"
    with pytest.raises(UsageError, match="--share, --base and --prefix"):
        silent(Options(run=("true",)), folder, {"cluster": "local"})


@pytest.mark.parametrize(
    ("keys", "more", "message"),
    [
        ({"image": "t"}, {"run": ("true",)}, "leave out --run, or --image"),
        ({"image": "t", "base": "b"}, {"variables": {"A": "b"}}, "leave out --base and --env, or --image"),
        ({"base": "b"}, {"dockerfile": Path("f")}, "leave out --base, or --dockerfile"),
        ({"cluster": "local"}, {"run": ("true",)}, "leave out --run, or --cluster local"),
        ({"image": "t"}, {"dockerfile": Path("f")}, "--image and --dockerfile exclude each other"),
        (
            {"cluster": "local"},
            {"dockerfile": Path("f")},
            "--cluster local and --dockerfile exclude each other",
        ),
    ],
)
def test_options_that_contradict_each_other_are_refused(folder, keys, more, message):
    with pytest.raises(UsageError) as caught:
        silent(Options(keys=keys, **more), folder)
    assert message in caught.value.message


def test_share_of_a_system_folder_is_refused(folder):
    with pytest.raises(ShareError, match="would hide the system"):
        silent(Options(keys={"image": "t", "share": "eager", "fileserver-image": "f"}), Path("/usr/lib"))
