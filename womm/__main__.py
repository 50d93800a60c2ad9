"""`python -m womm`, and the console scripts: nothing is imported before a Ctrl-C can be answered."""

import os


def entry() -> None:
    """Run the command line of this process and exit."""
    try:
        from womm.cli.main import entry as main  # noqa: PLC0415
    except KeyboardInterrupt:
        os._exit(130)
    main()


if __name__ == "__main__":
    entry()
