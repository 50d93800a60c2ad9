"""Which programs the pods of a task see, by the settings."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from womm.here.programs import Programs, Root
from womm.settings import Settings
from womm.share.base import ShareEvents
from womm.share.programs.jobs import JobsWithPrograms
from womm.task.programs import jobs_folder, make_programs, program_spec

HERE = Settings(cluster="kubernetes", image="here", share="none", here_roots=())


def events(said):
    return ShareEvents(said.append, said.append, lambda: False, None, lambda *found: None, lambda event: None)


@pytest.mark.parametrize("settings", [replace(HERE, image="busybox"), replace(HERE, cluster="local")])
async def test_pods_with_an_image_of_their_own_see_no_programs(settings, tmp_path):
    assert await make_programs(settings, tmp_path, "/bin/sh", events([])) is None


@pytest.mark.parametrize("trial", [False, True])
async def test_programs_of_this_machine_have_a_spec_that_tells_all(womm_home, tmp_path, trial):
    said: list[str] = []
    programs = await make_programs(HERE, tmp_path, "/bin/sh", events(said), trial=trial)
    assert programs is not None
    try:
        spec = programs.spec
        assert {"/usr", "/etc"} <= {mount.path for mount in spec.mounts}
        assert spec.export.startswith("/womm-") and spec.machine and spec.env["PATH"]
        assert (programs._options.learned is None) == trial  # a trial's reads would drop those of jobs
        assert {"host_key.pub", "client_key", "export", "identity"} <= spec.secret.keys()
    finally:
        await programs.close()


def test_mounts_are_in_the_order_of_their_paths():
    roots = Root("/usr", "system", ""), Root("/opt/tool", "opt", "")
    spec = program_spec(
        Programs(roots, (("/bin", "/usr/bin"),), ("passwd",), {"PATH": "/usr/bin"}, "/usr/bin/perl")
    )
    assert [(mount.path, mount.source) for mount in spec.mounts] == [
        ("/bin", "/usr/bin"),
        ("/etc", "/etc"),
        ("/opt/tool", "/opt/tool"),
        ("/usr", "/usr"),
    ]
    assert [mount.path for mount in program_spec(Programs(roots)).mounts] == ["/opt/tool", "/usr"]


def test_variables_of_perl_and_the_loader_are_the_jobs_alone():
    env = {"PATH": "/usr/bin", "PERL5LIB": "/p", "LD_LIBRARY_PATH": "/l"}
    spec = program_spec(Programs((Root("/usr", "system", ""),), env=env))
    assert spec.env == {"PATH": "/usr/bin", "WOMM_KEPT_PERL5LIB": "/p", "WOMM_KEPT_LD_LIBRARY_PATH": "/l"}


def test_jobs_wait_for_what_there_is():
    folder: Any = SimpleNamespace()
    share: Any = SimpleNamespace(jobs=folder)
    programs: Any = SimpleNamespace()
    assert jobs_folder(None, None) is None
    assert jobs_folder(None, share) is folder
    assert isinstance(jobs_folder(programs, None), JobsWithPrograms)
