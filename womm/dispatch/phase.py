"""The phases of a job, from its submission to its end, and every change between them.

This file alone decides which phase may follow. A change that is not in `TRANSITIONS` is a bug in the
dispatcher, and raises.
"""

from enum import Enum, auto
from typing import Final


class _Member(Enum):
    """A member is only equal to itself. Enum's own hash costs a call of a Python function."""

    __hash__ = object.__hash__


class Phase(_Member):
    """Where a job stands."""

    WAITING = auto()
    """It has no worker: it waits in the pool's queue."""
    HELD = auto()
    """It has a worker, and goes to it as soon as the share is fresh there."""
    RUNNING = auto()
    """The worker's agent has it."""
    SETTLING = auto()
    """It has ended, and the share still writes its files. It keeps its slot."""
    OUTPUT_LOST = auto()
    """It is killed, because the share has lost what it wrote: once it has ended it runs again."""
    FLUSHING = auto()
    """It has ended and runs again, as soon as its worker's kernel holds none of its pages any more."""
    CANCELLED = auto()
    """Nobody waits for it any more. It is killed, and its end is recorded and frees its slot."""
    FAILED = auto()
    """womm could not go on with it and has reported so. It is killed, and its end frees its slot."""
    ABANDONED = auto()
    """As CANCELLED or FAILED, but no process runs: the step that is under way frees its slot."""
    ENDED = auto()
    """Its outcome is known, or nobody wants it: nothing more happens to it."""


class Change(_Member):
    """What happens to a job."""

    HOLD = auto()
    """It gets a worker that must see the share's news first."""
    SEND = auto()
    """Its worker's agent gets it."""
    LOSE = auto()
    """Its worker, its memory or what it wrote is lost, and it is to run again."""
    SETTLE = auto()
    """Its process has ended, and the share must write its files."""
    LOSE_OUTPUT = auto()
    """The share has lost what it wrote."""
    FLUSH = auto()
    """Its process, whose output is lost, has ended."""
    CANCEL = auto()
    """Its submitter does not want it any more."""
    FAIL = auto()
    """womm cannot go on with it."""
    END = auto()
    """It is over: it has ended, was given up, or was answered without a run."""


TRANSITIONS: Final[dict[Phase, dict[Change, Phase]]] = {
    Phase.WAITING: {
        Change.HOLD: Phase.HELD,
        Change.SEND: Phase.RUNNING,
        Change.CANCEL: Phase.ENDED,
        Change.FAIL: Phase.ENDED,
        Change.END: Phase.ENDED,
    },
    Phase.HELD: {
        Change.SEND: Phase.RUNNING,
        Change.LOSE: Phase.WAITING,
        Change.CANCEL: Phase.ABANDONED,
        Change.FAIL: Phase.ABANDONED,
        Change.END: Phase.ENDED,
    },
    Phase.RUNNING: {
        Change.SETTLE: Phase.SETTLING,
        Change.LOSE: Phase.WAITING,
        Change.LOSE_OUTPUT: Phase.OUTPUT_LOST,
        Change.CANCEL: Phase.CANCELLED,
        Change.FAIL: Phase.FAILED,
        Change.END: Phase.ENDED,
    },
    Phase.SETTLING: {
        Change.LOSE: Phase.WAITING,
        Change.LOSE_OUTPUT: Phase.FLUSHING,
        Change.CANCEL: Phase.CANCELLED,
        Change.FAIL: Phase.FAILED,
        Change.END: Phase.ENDED,
    },
    Phase.OUTPUT_LOST: {
        Change.FLUSH: Phase.FLUSHING,
        Change.LOSE: Phase.WAITING,
        Change.CANCEL: Phase.CANCELLED,
        Change.FAIL: Phase.FAILED,
        Change.END: Phase.ENDED,
    },
    Phase.FLUSHING: {
        Change.LOSE: Phase.WAITING,
        Change.CANCEL: Phase.ABANDONED,
        Change.FAIL: Phase.ABANDONED,
        Change.END: Phase.ENDED,
    },
    Phase.CANCELLED: {Change.END: Phase.ENDED},
    Phase.FAILED: {Change.END: Phase.ENDED},
    Phase.ABANDONED: {Change.END: Phase.ENDED},
    Phase.ENDED: {},
}
"""The phase that follows, by the present one and what happens."""

UNWANTED: Final = frozenset((Phase.CANCELLED, Phase.FAILED, Phase.ABANDONED, Phase.ENDED))
"""Nobody waits for an outcome: there is one already, or there will be none."""


class BadChange(RuntimeError):
    """A job was to change in a way that its phase does not know: a bug in the dispatcher."""


def after(phase: Phase, change: Change) -> Phase:
    """Return the phase that follows. Raises BadChange."""
    try:
        return TRANSITIONS[phase][change]
    except KeyError:
        raise BadChange(f"{change.name} of a job that is {phase.name}") from None
