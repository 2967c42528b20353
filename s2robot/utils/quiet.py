"""What libraries say that a user can do nothing about: silenced by logger and by message."""

from __future__ import annotations

import logging
import warnings

_LOGGERS = ("robosuite_logs",)  # private macros, optional parts that nobody asked for
_MESSAGES = (
    r".*The DISPLAY environment variable is missing",  # glfw, imported by mujoco where nothing shows a window
    r".*(low|high)'s precision lowered by casting",  # gymnasium, of the spaces of others
    r".*A Box (observation|action) space maximum and minimum values are equal",  # likewise
)


def silence_libraries() -> None:
    """To be called before the libraries are imported; errors are shown as ever."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_is_error)  # its level is set by the import; adding twice is once
    for message in _MESSAGES:
        warnings.filterwarnings("ignore", message)


def _is_error(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR
