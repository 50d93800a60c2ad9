"""`python -m womm`, and the console scripts: a Ctrl-C has an answer before anything else is imported."""

import os
import sys


def entry() -> None:
    """Run the command line of this process and exit."""
    try:
        from womm import descriptors  # noqa: PLC0415

        descriptors.take_stock()  # first: a file that is opened later may get a standard stream's number
        from womm.cli.main import entry as main  # noqa: PLC0415
    except BaseException as exc:
        # Python 3.11 wraps an exception of a __set_name__ into another one.
        if isinstance(exc, KeyboardInterrupt) or isinstance(exc.__cause__, KeyboardInterrupt):
            os._exit(130)
        raise
    main()


def _leave_current_folder() -> None:
    """Import nothing from the current folder, which `python -m` puts first: it may hold a click.py of others.

    Unless womm itself comes from there.
    """
    try:
        here = os.getcwd()
    except OSError:  # it is gone
        here = ""
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if sys.path and sys.path[0] in {"", here} and here != ours:
        del sys.path[0]


if __name__ == "__main__":
    _leave_current_folder()
    entry()
