"""What `womm doctor` says of the ways to give pods programs."""

import pytest

from tests.here import places
from womm.cluster.finding import Verdict
from womm.settings import KUBERNETES, Settings
from womm.setup import ways


@pytest.fixture
def conda(womm_home, monkeypatch):
    place = places.Place(womm_home.home, womm_home.home)
    prefix = place.python("conda/envs/x")
    monkeypatch.setenv("PATH", f"{prefix}/bin:/usr/bin:/bin")
    return prefix


def test_programs_of_here_shows_each_root_and_what_is_not_allowed(tmp_path, conda):
    found = ways.programs(Settings(cluster=KUBERNETES), tmp_path)
    told = {(one.name, one.verdict) for one in found.findings}
    assert {("programs", Verdict.GOOD), ("root", Verdict.GOOD), ("root", Verdict.WEAK)} <= told
    assert "--image here: pods can see this machine's programs" in found.findings[0].text
    (missing,) = [one for one in found.findings if one.text.startswith("not allowed yet")]
    assert missing.text == f"not allowed yet: {conda} (python: in PATH)"
    assert missing.hint.startswith(f"--here-roots {conda}, or --here-roots none")
    assert (found.works, found.settings.image, found.settings.here_roots) == (True, "here", ())


def test_programs_with_an_image_of_ones_own_are_one_line(tmp_path, conda):
    settings = Settings(cluster=KUBERNETES, image="debian:12")
    found = ways.programs(settings, tmp_path)
    assert [one.name for one in found.findings] == ["programs"]
    assert found.settings == settings


def test_programs_that_cannot_be_shown_say_why(tmp_path, womm_home):
    settings = Settings(
        cluster=KUBERNETES,
        image="here",
        here_roots=(str(womm_home.home),),
        origins={"here_roots": "--here-roots"},
    )
    found = ways.programs(settings, tmp_path)
    (one,) = found.findings
    assert (one.verdict, found.works) == (Verdict.BAD, False)
    assert "it is a home, or holds one" in one.text


@pytest.mark.parametrize(
    ("image", "here", "no_nfs", "begins"),
    [
        ("", True, "", "to begin: --image here --share lazy, which makes nothing"),
        ("debian:12", True, "", "to begin: --image here --share lazy"),
        ("debian:12", False, "", "--image debian:12 --share lazy"),
        ("here", True, ways.REFUSED, "--image NAME --share eager: the namespace refuses NFS volumes"),
        ("", True, ways.NO_CLIENT, "--image NAME --share eager: a node has no NFS client"),
    ],
)
def test_quickest_is_what_works(image, here, no_nfs, begins):
    settings = Settings(image=image)
    assert ways.quickest(settings, here=here, no_nfs=no_nfs).text.startswith(begins)


def test_server_is_its_own_image_or_any_with_python():
    assert "quickest" in ways.server(Settings(fileserver_image="r/fileserver:1")).text
    assert ways.server(Settings()).text.startswith("python:3.13-slim-bookworm, to which womm sends itself")
