"""Keeps the managers' libraries out of the log: at debug level they write headers, bodies and tokens."""

import logging
from typing import Final

_NEVER: Final = logging.CRITICAL + 1


def silence(*names: str) -> None:
    """Let these loggers, and those below them, write nothing at any level.

    What goes wrong is in the error that a reader raises, in our own words.
    """
    for name in names:
        logging.getLogger(name).setLevel(_NEVER)
        # A level that was set below would win over ours.
        for below in [
            each for each in logging.root.manager.loggerDict if each.startswith(f"{name}.")
        ]:
            logging.getLogger(below).setLevel(logging.NOTSET)
