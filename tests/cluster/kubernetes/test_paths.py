"""One module knows where things lie in pods."""

import re
from pathlib import Path

import womm
from womm import project
from womm.cluster.kubernetes import paths

TOP = Path(womm.__file__).parent
POD_PATH = re.compile(rf"[\"']{paths.ROOT}/")


def test_no_other_module_writes_a_path_of_a_pod():
    own = Path(paths.__file__)
    assert [path for path in TOP.rglob("*.py") if path != own and POD_PATH.search(path.read_text())] == []


def test_no_folder_is_shared_that_pods_would_mount_over_womms_own():
    for folder in (Path(paths.ROOT), Path(paths.ROOT, "folder")):
        assert project.sharing(folder, Path("/home/user"), [])[0] is project.Sharing.NEVER
    for path in (paths.SCRIPTS, paths.RUN, paths.SECRET, paths.STATE, paths.CACHE, paths.STORE):
        assert Path(path).is_relative_to(paths.ROOT)
