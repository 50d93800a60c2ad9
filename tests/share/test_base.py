"""What all shares need: the way down to where jobs run, and the flush of a pod's kernel."""

import os
import subprocess
from pathlib import Path

import pytest

from womm.share.base import sync_request, way_down


@pytest.mark.parametrize(
    "working, found",
    [
        (b"/p", [b"/p"]),
        (b"/p/a", [b"/p", b"/p/a"]),
        (b"/p/a/\xff b/c", [b"/p", b"/p/a", b"/p/a/\xff b", b"/p/a/\xff b/c"]),
        (b"/elsewhere", [b"/p"]),
        (b"/project", [b"/p"]),  # only the beginning of its name is that of the folder
        (b"/", [b"/p"]),
    ],
)
def test_way_down_has_each_directory_from_the_folder_to_where_jobs_run(
    working: bytes, found: list[bytes]
) -> None:
    assert way_down(b"/p", working) == found


def test_sync_request_runs_for_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = os.path.join(os.fsencode(tmp_path), b"two words; \xff $HOME \n")
    os.mkdir(folder)
    request = sync_request(folder)
    assert request.command is None  # no shell reads the name
    done = subprocess.run(request.argv, capture_output=True, check=True)
    assert done.stdout == done.stderr == b""
