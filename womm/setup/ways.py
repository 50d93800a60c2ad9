"""Which ways there are to give pods programs and a file server, which of them work, and which is quickest.

`womm doctor` tells it; nothing is made and nobody is asked.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from womm import words
from womm.cluster.finding import Finding, Verdict
from womm.errors import WommError
from womm.here import find, machine
from womm.here.programs import Root
from womm.settings import HERE, Settings
from womm.setup import here_roots, nearby
from womm.task.shares import shared_folder

PROGRAMS: Final = "programs"
ROOT: Final = "root"
SERVER: Final = "file server"
QUICKEST: Final = "quickest"
REFUSED: Final = "the namespace refuses NFS volumes (Pod Security `restricted`)"
NO_CLIENT: Final = "a node has no NFS client"


@dataclass(frozen=True, slots=True)
class Here:
    """What this machine says. settings: for a trial: with the folders that are allowed, and `here` where no
    image is named. works: pods could see this machine's programs."""

    findings: tuple[Finding, ...]
    settings: Settings
    works: bool


def programs(settings: Settings, folder: Path) -> Here:
    """Tell whether pods could see this machine's programs, and which folders they would see."""
    try:
        machine.refuse_others()
        found = here_roots.look(settings, folder)
        allowed = here_roots.allowed_of(settings, found)
        shown = find.chosen(os.environ, found, shared_folder(settings, folder), allowed)
        this = machine.this_machine(shown.perl)
    except WommError as exc:
        verdict = Verdict.BAD if settings.image == HERE else Verdict.WEAK
        return Here((Finding(PROGRAMS, verdict, exc.message, exc.hint or ""),), settings, works=False)
    kernel = f", Linux {'.'.join(map(str, this.kernel))} or newer" if this.kernel else ""
    count = words.counted(len(shown.roots), "folder")
    text = f"--image {HERE}: pods can see this machine's programs: {count}, {this.architecture}{kernel}"
    findings = [Finding(PROGRAMS, Verdict.GOOD, text)]
    if settings.image in {"", HERE}:
        findings += [_root(root) for root in shown.roots]
        missing = here_roots.open_questions(settings, found)
        findings += _not_allowed(missing, allowed) if missing else []
        findings += [
            Finding(PROGRAMS, Verdict.WEAK, note)
            for note in shown.notes
            if not note.startswith(find.NOT_ALLOWED)
        ]
        settings = replace(settings, image=HERE, here_roots=tuple(allowed))
    return Here(tuple(findings), settings, works=True)


def _not_allowed(missing: Sequence[Root], allowed: Sequence[str]) -> list[Finding]:
    listed = os.pathsep.join(dict.fromkeys([*allowed, *(root.path for root in missing)]))
    told = ", ".join(f"{words.name(root.path)} ({root.kind}: {root.why})" for root in missing)
    hint = f"--here-roots {listed}, or --here-roots none (a task asks at a terminal)"
    return [Finding(ROOT, Verdict.WEAK, f"not allowed yet: {told}", hint)]


def _root(root: Root) -> Finding:
    word = ", by your word" if root.private else ""
    return Finding(ROOT, Verdict.GOOD, f"{words.name(root.path)} ({root.kind}{word}: {root.why})")


def server(settings: Settings) -> Finding:
    """Tell what runs the file server, if a task with these settings needs one."""
    if settings.fileserver_image:
        text = f"{settings.fileserver_image}, an image with womm in it: the quickest way"
        return Finding(SERVER, Verdict.GOOD, text)
    text = f"{settings.fileserver_python}, to which womm sends itself; an image of its own starts quicker"
    return Finding(SERVER, Verdict.GOOD, f"{text} (womm setup --prefix REGISTRY/NAME/ makes one)")


def quickest(settings: Settings, *, here: bool, no_nfs: str) -> Finding:
    """Tell which way is quickest. here: pods can see this machine's programs. no_nfs: why none can mount."""
    engine = nearby.may_be_there(os.environ, os.getuid())
    makes = "`womm setup` makes an image" + ("" if engine else ", with docker or podman, which is not here")
    named = f"--image {settings.image}" if settings.image not in {"", HERE} else "--image NAME"
    if no_nfs:
        text = f"{named} --share eager: {no_nfs}, so neither --image {HERE} nor a lazy share works; {makes}"
        return Finding(QUICKEST, Verdict.WEAK if settings.image == HERE else Verdict.GOOD, text)
    if not here:
        return Finding(QUICKEST, Verdict.GOOD, f"{named} --share lazy; {makes}")
    text = f"to begin: --image {HERE} --share lazy, which makes nothing; in the long run: an image that the"
    text += f" nodes have ({named} --share lazy), whose programs start from their disks; {makes}"
    return Finding(QUICKEST, Verdict.GOOD, text)
