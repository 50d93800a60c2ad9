"""The errors that a user can cause or mend.

One root, one family per area; a subclass only where a caller acts differently. Only `womm.cli.main`
catches `WommError`: it prints the message and the hint and exits with the status. Anything else
that is raised is a bug and shows its traceback.
"""

# womm's own failure: GNU parallel's statuses, 0-101 and 255, stay the user's.
FAILURE_STATUS = 254
USAGE_STATUS = 2


class WommError(Exception):
    """A failure for the user: `message` names the object, `hint` is the next command to type."""

    default_status = FAILURE_STATUS

    def __init__(self, message: str, hint: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.status = self.default_status if status is None else status


class UsageError(WommError):
    default_status = USAGE_STATUS


class ProjectError(WommError):
    pass


class TrustError(WommError):
    """A project file that this user has not accepted."""


class SettingsError(WommError):
    pass


class ClusterError(WommError):
    pass


class ShareError(WommError):
    pass


class ImageError(WommError):
    pass


class EngineError(WommError):
    pass


class JournalError(WommError):
    pass
