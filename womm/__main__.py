"""`python -m womm`, and the console scripts: nothing is imported before a Ctrl-C can be answered."""

import os


def entry() -> None:
    """Run the command line of this process and exit."""
    try:
        from womm.cli.main import entry as main  # noqa: PLC0415
    except BaseException as exc:
        # Python 3.11 makes another exception of what is raised in a __set_name__.
        if isinstance(exc, KeyboardInterrupt) or isinstance(exc.__cause__, KeyboardInterrupt):
            os._exit(130)
        raise
    main()


if __name__ == "__main__":
    entry()
