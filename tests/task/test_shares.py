"""Which share a task gets: what the settings say, judged for the folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from womm.cluster.base import ServerSpec
from womm.errors import SettingsError, ShareError
from womm.settings import Settings
from womm.share.base import ShareEvents
from womm.task.shares import make_share, server_spec, share_spec

SECRET = {"export": b"0" * 32}
SHARED = Settings(
    cluster="kubernetes",
    share="lazy",
    fileserver_image="files",
    project=Path("/data/proj"),
    share_readonly=True,
)


def test_share_is_the_projects_folder_and_only_on_kubernetes():
    share = share_spec(SHARED, Path("/data/proj/sub"), SECRET)
    assert share is not None
    assert (share.kind, share.folder, share.read_only) == ("lazy", Path("/data/proj"), True)
    assert share.export == "/womm-" + "0" * 32
    assert share_spec(replace(SHARED, share="none"), Path("/data/proj"), SECRET) is None
    assert share_spec(replace(SHARED, cluster="local"), Path("/data/proj"), SECRET) is None


def test_share_that_is_read_only_and_may_be_written_is_refused():
    share = share_spec(
        replace(SHARED, share_readonly=False, share_write=("out",)), Path("/data/proj"), SECRET
    )
    assert share is not None and share.write == ("out",)
    with pytest.raises(SettingsError) as raised:
        share_spec(replace(SHARED, share_write=("out", "log")), Path("/data/proj"), SECRET)
    assert raised.value.message == ('share-readonly and share-write = ["out", "log"] contradict each other')


@pytest.mark.parametrize("trial", [False, True])
async def test_trial_learns_nothing_of_a_share(womm_home, tmp_path, trial):
    voice = ShareEvents(print, print, lambda: False, None, lambda *found: None, print)
    share: Any = await make_share(replace(SHARED, project=tmp_path), tmp_path, "t", voice, trial=trial)
    try:
        assert (share._share.learning._file is None) == trial
    finally:
        await share.close()


def test_share_in_a_volume_has_a_place_of_its_own_there():
    one = share_spec(replace(SHARED, share_volume="v"), Path("/data/proj"), SECRET)
    other = share_spec(replace(SHARED, share_volume="v", project=Path("/data/b")), Path("/data/b"), SECRET)
    assert one is not None
    assert other is not None
    assert (one.claim, one.store != other.store) == ("v", True)


def test_file_server_is_womms_own_image_or_any_python_with_a_bundle(womm_home):
    assert server_spec(SHARED) == ServerSpec("files")
    server = server_spec(replace(SHARED, fileserver_image="", fileserver_python="mine:3"))
    assert (server.image, repr(server.bundles)) == (
        "mine:3",
        f"<WommBundles {womm_home.cache / 'womm/bundles'}>",
    )
    assert server_spec(Settings()).image.startswith("python:3.")


def test_share_of_a_broad_folder_without_a_project_is_refused():
    with pytest.raises(ShareError, match="home folder"):
        share_spec(replace(SHARED, project=None), Path.home(), SECRET)
    with pytest.raises(ShareError, match="hide the system"):
        share_spec(replace(SHARED, project=Path("/usr")), Path("/usr"), SECRET)
    assert share_spec(replace(SHARED, project=Path.home()), Path.home(), SECRET) is not None


@pytest.mark.parametrize("own", ["config", "state"])
def test_share_that_lets_pods_write_what_womm_goes_by_is_refused(womm_home, own):
    """Else a pod could write acceptances, journals and settings of the user."""
    written = replace(SHARED, share_readonly=False, project=womm_home.home)
    place = getattr(womm_home, own) / "womm"
    with pytest.raises(ShareError, match="where womm keeps what is yours") as raised:
        share_spec(written, womm_home.home, SECRET)
    assert "--share-readonly" in (raised.value.hint or "")
    for folder in (place, place / "below"):
        with pytest.raises(ShareError, match="where womm keeps what is yours"):
            share_spec(replace(written, project=folder), folder, SECRET)
    assert share_spec(replace(written, share_readonly=True), womm_home.home, SECRET) is not None
    assert share_spec(replace(written, share="eager"), womm_home.home, SECRET) is not None
    beside = womm_home.home / "proj"
    assert share_spec(replace(written, project=beside), beside, SECRET) is not None
