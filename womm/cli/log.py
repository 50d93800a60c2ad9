"""womm's log on stderr. A module of its own: `womm --help` logs nothing, and need not import logging."""

import logging

from womm import words

logger = logging.getLogger(__name__)


def configure(level: int) -> None:
    """Let womm's loggers write to stderr from `level` on."""
    logger = logging.getLogger("womm")
    logger.setLevel(level)
    if not logger.handlers:
        logger.addHandler(logging.StreamHandler())
        logger.propagate = False
    text = "womm: %(message)s"
    if level <= logging.DEBUG:
        text = "%(asctime)s %(name)s: %(message)s"
    logger.handlers[0].setFormatter(_Formatter(text))


def failed(exc: Exception) -> None:
    """Log the error that ends a command, with its traceback."""
    logger.debug("failed: %s", exc, exc_info=exc)


class _Formatter(logging.Formatter):
    """A record is one line, whatever names are in it; a traceback is as Python has it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return words.line(super().formatMessage(record))
