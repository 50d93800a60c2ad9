"""What an eager share may be given, beside its folder."""

from dataclasses import dataclass, field
from typing import Final

from womm.share.control import Writable
from womm.share.eager.preview import Limits
from womm.store.tree import IgnoreRules

CHECK_S: Final = 30.0
"""A store that does not say in this time which one it is may be at the other end of a dead connection."""


@dataclass(frozen=True, slots=True)
class EagerOptions:
    """What is copied, when a question comes first, what comes back, and how long a store may be away."""

    syncback: bool = False
    keep: bool = False
    """There will be another copy to this store: its content is remembered without syncback too."""
    limits: Limits = field(default_factory=Limits)
    yes: bool = False
    """A copy above the limits needs no answer."""
    ignore: IgnoreRules | None = None
    writable: Writable = field(default_factory=Writable)
    """What may come back of what jobs have made or changed."""
    retry_s: float = 60.0
    """A store may be out of reach for so long."""
    check_s: float = CHECK_S
