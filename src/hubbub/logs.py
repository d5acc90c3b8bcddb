"""Log lines: structlog for ours, and the standard library's loggers through the same door.

No secret is ever passed to a log call; a URL may carry a one-time password, so only its path is logged.
"""

from __future__ import annotations

import logging
import logging.config
from collections.abc import MutableMapping
from typing import Any

import structlog

__all__ = ["configure_logging", "is_debugging", "join_logging"]

OURS = logging.getLogger("hubbub")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def show_controls(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Write control characters as escapes: what a client sends must not move the cursor or begin a line of its own."""
    for key, value in line.items():
        if isinstance(value, str) and not value.isprintable():
            line[key] = value.encode("unicode_escape").decode()
    return line


def configure_logging(style: str, level: str, worker: int | None = None) -> None:
    """Write lines of at least `level` to standard error, as `text` or `json`; of a worker, each with its number."""

    def name_worker(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line.setdefault("worker", worker)
        return line

    shared: list[Any] = [
        *([] if worker is None else [name_worker]),
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if style == "json":
        renderers: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        plain = structlog.dev.plain_traceback
        renderers = [show_controls, structlog.dev.ConsoleRenderer(colors=False, exception_formatter=plain)]
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "hubbub": {
                    "()": structlog.stdlib.ProcessorFormatter,
                    "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
                    "foreign_pre_chain": shared,
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "hubbub"}},
            "root": {"handlers": ["stderr"], "level": "WARNING"},
            "loggers": {"hubbub": {"level": LEVELS[level]}},
        }
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def join_logging(level: str) -> None:
    """Hand lines of at least `level` to the standard library's loggers, below `hubbub`: who writes them is the
    application's to say, and so is all of it where the application has configured structlog."""
    if structlog.is_configured():
        return
    OURS.setLevel(LEVELS[level])
    render = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)

    def hand_on(logger: Any, method: str, line: MutableMapping[str, Any]) -> tuple[tuple[str], dict[str, Any]]:
        # The traceback is the record's: who writes the line writes it, and would do so a second time.
        exc_info = line.pop("exc_info", None)
        return (str(render(logger, method, line)),), {"exc_info": exc_info}

    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, show_controls, hand_on],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def is_debugging() -> bool:
    """Whether debug lines are written; asked before one is made for every connection, which takes time."""
    return OURS.isEnabledFor(logging.DEBUG)
