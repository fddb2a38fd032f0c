"""Log lines: for people on a terminal, as JSON for programs. No key ever gets here."""

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.protocol.units import MINUTE_US, SECOND_US
from cloudsignal.server.clock import Clock
from cloudsignal.server.interfaces import Caller
from cloudsignal.server.settings import Settings

FAILED_EVERY_US: Final = 10 * SECOND_US
"""How often it is said that the store is still away."""
NAME: Final = "cloudsignal"


class Logger:
    """Says what happened, with the facts of it beside."""

    def __init__(self) -> None:
        self._logger = logging.getLogger(NAME)

    def info(self, event: str, **facts: Any) -> None:
        """What an operator may want to know."""
        self._logger.info(event, extra={"facts": facts})

    def warning(self, event: str, **facts: Any) -> None:
        """What somebody should look at."""
        self._logger.warning(event, extra={"facts": facts})

    def error(self, event: str, **facts: Any) -> None:
        """What somebody has to mend."""
        self._logger.error(event, extra={"facts": facts})

    def exception(self, event: str, **facts: Any) -> None:
        """The same, with the trace of the exception that is being handled."""
        self._logger.exception(event, extra={"facts": facts})


def configure(settings: Settings) -> Logger:
    """Send every line of the process, its libraries' too, to standard error in one format."""
    for_people = settings.log_format == "console" or (
        settings.log_format == "auto" and sys.stderr.isatty()
    )
    handler = logging.StreamHandler()
    handler.setFormatter(ConsoleLine() if for_people else JsonLine())
    logging.basicConfig(level=settings.log_level.upper(), handlers=[handler], force=True)
    # They tell of their own start and parts; what matters of it is said in our words. uvicorn also
    # warns of every client that sends no HTTP, without an end and without its address.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return Logger()


class JsonLine(logging.Formatter):
    """A line as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


class ConsoleLine(logging.Formatter):
    """A line for people: when, how bad, what, and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        facts = getattr(record, "facts", {})
        told = "".join(f"  {name}={value}" for name, value in facts.items())
        line = f"{when} {record.levelname.lower():<7} {record.getMessage()}{told}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class RefusedLines:
    """A line for each refused post, up to so many a minute; those left out are counted."""

    def __init__(self, logger: Logger, lines_per_minute: int, clock: Clock) -> None:
        self._logger = logger
        self._limit = lines_per_minute
        self._clock = clock
        self._minute = 0
        self._lines = 0

    def __call__(self, refusal: Refusal, address: str, caller: Caller | None) -> None:
        """Log one refused post."""
        minute = self._clock() // MINUTE_US
        if minute != self._minute:
            self.tell_left_out()
            self._minute = minute
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

    def tell_left_out(self) -> None:
        """Log how many refused posts got no line of their own since this was last told."""
        if self._lines > self._limit:
            self._logger.warning("posts refused", left_out=self._lines - self._limit)
        self._lines = 0


class FailedLines:
    """A line when groups cannot be written, and one in a while for as long as it goes on."""

    def __init__(self, logger: Logger, clock: Clock) -> None:
        self._logger = logger
        self._clock = clock
        self._why = ""
        self._next = 0
        self._left_out = 0

    def __call__(self, why: str) -> None:
        """Log that a group could not be written."""
        now = self._clock()
        if why == self._why and now < self._next:
            self._left_out += 1
            return
        self._logger.error("a group could not be written", why=why, left_out=self._left_out)
        self._why, self._next, self._left_out = why, now + FAILED_EVERY_US, 0
