"""This machine's programs for the pods of a task, made from the settings; None: the pods' image has them.

The modules are imported only when they are wanted: the ssh library costs 0.3 s.
"""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from womm.cluster.base import ProgramMount, ProgramsSpec
from womm.errors import ShareError
from womm.here.programs import Programs
from womm.settings import Settings
from womm.share.base import SharedFolder, ShareEvents, TaskShare
from womm.task.shares import shared_folder
from womm.worker import LOADER_VARIABLES, PERL_VARIABLES, agent_environment

if TYPE_CHECKING:
    from womm.share.programs.share import ProgramsShare

_LEARNED_AS: Final = "programs"


async def make_programs(
    settings: Settings, folder: Path, shell: str, events: ShareEvents, *, trial: bool = False
) -> "ProgramsShare | None":
    """Return what serves the programs, not begun. trial: nothing is learned of what it reads.

    Raises ShareError, UsageError, ProjectError.
    """
    if not settings.shows_programs:
        return None
    from womm.here import consent
    from womm.here.find import find_programs
    from womm.here.machine import this_machine
    from womm.share.learned import LearnedFile
    from womm.share.programs.share import ProgramsEvents, ProgramsOptions, ProgramsShare

    project = shared_folder(settings, folder)
    named = consent.named(settings) or ()
    found = await asyncio.to_thread(find_programs, os.environ, project, settings.here_roots, folder, named)
    machine = await asyncio.to_thread(this_machine, found.perl)
    spec = replace(program_spec(found), machine=machine.architecture, least_kernel=machine.kernel)
    options = ProgramsOptions(
        shells=tuple(dict.fromkeys(("/bin/sh", shell))),
        learned=None if trial else LearnedFile.of(project or folder, _LEARNED_AS),
    )
    try:
        voice = ProgramsEvents(events.say, events.lost, events.programs_traffic)
        return ProgramsShare(found, spec, voice, options)
    except OSError as exc:
        raise ShareError(
            f"the programs of this machine cannot be shown: {exc.strerror}", "womm doctor"
        ) from exc


def program_spec(programs: Programs) -> ProgramsSpec:
    """Return what workers mount, folders before what lies in them.

    The agent and its bridge do without the variables by which perl and the loader would look elsewhere for
    what the file server has pinned for them.
    """
    mounts = [ProgramMount(root.path, root.path) for root in programs.roots]
    mounts += [ProgramMount(link, target) for link, target in programs.links]
    if programs.etc:
        mounts.append(ProgramMount("/etc", "/etc"))
    env = agent_environment(programs.env, (*PERL_VARIABLES, *LOADER_VARIABLES))
    return ProgramsSpec(tuple(sorted(mounts, key=lambda mount: mount.path)), {}, env=env, perl=programs.perl)


def jobs_folder(programs: "ProgramsShare | None", share: TaskShare | None) -> SharedFolder | None:
    """Return what jobs wait for before and after they run; None: nothing."""
    folder = share.jobs if share is not None else None
    if programs is None:
        return folder
    from womm.share.programs.jobs import JobsWithPrograms

    return JobsWithPrograms(programs, folder)
