"""`python -m womm`."""

from womm.cli.main import entry

entry()
