"""Log lines: for people on a terminal, as JSON for programs. No key ever gets here."""

import logging
import sys
from collections.abc import Callable
from typing import Any, Final

import structlog

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.server.interfaces import Caller
from cloudsignal.server.settings import Settings

MINUTE_US: Final = 60 * 1_000_000

Logger = Any
"""A bound logger of structlog, which types it as Any."""


def configure(settings: Settings) -> Logger:
    """Send every line of the process, uvicorn's too, to standard error in one format."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    for_people = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if for_people
        else structlog.processors.JSONRenderer()
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(settings.log_level.upper())
    # uvicorn tells of its own process and start; what matters of it is said in our words.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return structlog.get_logger("cloudsignal")


class RefusedLines:
    """A line for each refused post, up to so many a minute; those left out are counted."""

    def __init__(self, logger: Logger, lines_per_minute: int, clock: Callable[[], int]) -> None:
        self._logger = logger
        self._limit = lines_per_minute
        self._clock = clock
        self._minute = 0
        self._lines = 0

    def __call__(self, refusal: Refusal, address: str, caller: Caller | None) -> None:
        """Log one refused post."""
        minute = self._clock() // MINUTE_US
        if minute != self._minute:
            if self._lines > self._limit:
                self._logger.warning("posts refused", left_out=self._lines - self._limit)
            self._minute, self._lines = minute, 0
        self._lines += 1
        if self._lines > self._limit:
            return
        self._logger.warning(
            "post refused",
            status=refusal.status,
            type=refusal.type,
            info=refusal.info,
            address=address,
            **({"partner": caller.partner_name, "interface": caller.interface} if caller else {}),
        )
