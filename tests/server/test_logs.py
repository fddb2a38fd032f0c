"""Log lines: for people and programs, never too many, and never a key."""

import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from cloudsignal.protocol import wire
from cloudsignal.protocol.refusals import Refusal, refuse
from cloudsignal.server import logs
from cloudsignal.server.logs import FailedLines, Logger, RefusedLines
from cloudsignal.server.settings import Settings
from tests.server.arrivals import MINUTE, SECOND
from tests.server.test_interfaces import Clock, caller
from tests.strategies import APIKEY, post_body


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Err:
    """What came to standard error so far."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def getvalue(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text


@pytest.fixture
def err(capsys: pytest.CaptureFixture[str]) -> Iterator[Err]:
    """Standard error; afterwards the process logs as it did."""
    root, uvicorn = logging.getLogger(), logging.getLogger("uvicorn.error")
    before = root.handlers[:], root.level, uvicorn.level
    # Those that pytest listens with would be closed otherwise.
    root.handlers.clear()
    yield Err(capsys)
    root.handlers[:], root.level, uvicorn.level = before


def lines(err: Err) -> list[dict[str, Any]]:
    return [json.loads(line) for line in err.getvalue().splitlines()]


# ---- formats ----


def test_a_line_for_programs_is_one_json_object(err: Err) -> None:
    logger = logs.configure(Settings(log_format="json"))

    logger.info("listening", address="http://127.0.0.1:1", odd={1: object}, text="a\nb")
    logging.getLogger("library").warning("100%% of %s", "it")

    ours, theirs = lines(err)
    assert ours["timestamp"].endswith("+00:00")
    assert (ours["level"], ours["event"], ours["address"]) == (
        "info",
        "listening",
        "http://127.0.0.1:1",
    )
    assert ours["text"] == "a\nb"
    assert (theirs["level"], theirs["event"]) == ("warning", "100% of it")


@pytest.mark.parametrize("log_format", ["console", "json"])
def test_an_exception_is_told_with_its_trace(err: Err, log_format: Any) -> None:
    logs.configure(Settings(log_format=log_format))

    try:
        int("a defect")
    except ValueError:
        logging.getLogger("library").exception("went wrong")

    told = err.getvalue()
    assert "went wrong" in told
    assert "Traceback" in told
    assert "ValueError: invalid literal" in told
    assert log_format == "console" or "Traceback" in lines(err)[0]["exception"]


def test_a_line_for_people_has_the_time_the_level_and_the_facts(err: Err) -> None:
    logs.configure(Settings(log_format="console")).warning("post refused", status=400, type="x")

    when, level, *told = err.getvalue().split()
    assert len(when.split(":")) == 3
    assert level == "warning"
    assert told == ["post", "refused", "status=400", "type=x"]


@pytest.mark.parametrize(
    ("log_format", "terminal", "for_people"),
    [
        ("auto", True, True),
        ("auto", False, False),
        ("json", True, False),
        ("console", False, True),
    ],
)
def test_auto_is_for_people_on_a_terminal(
    err: Err, monkeypatch: pytest.MonkeyPatch, log_format: Any, terminal: bool,
    for_people: bool,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)

    logs.configure(Settings(log_format=log_format)).info("listening")

    assert err.getvalue().startswith("{") is not for_people


def test_lines_below_the_level_are_left_out(err: Err) -> None:
    logger = logs.configure(Settings(log_format="json", log_level="warning"))

    logger.info("one")
    logger.warning("two")
    logger.error("three")

    assert [line["event"] for line in lines(err)] == ["two", "three"]


def test_what_a_stranger_sends_stays_on_its_line(err: Err) -> None:
    logger = logs.configure(Settings(log_format="console"))
    with pytest.raises(Refusal) as caught:
        wire.validate(wire.decode(post_body(type="x\n00:00:00 error   forged \x1b[31m")), zone=None)  # type: ignore[arg-type]

    RefusedLines(logger, 9, lambda: 0)(caught.value, "192.0.2.7", None)

    assert err.getvalue().count("\n") == 1
    assert "\x1b" not in err.getvalue()


# ---- refused posts ----


class Told(Logger):
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def warning(self, event: str, **facts: Any) -> None:
        self.lines.append({"event": event} | facts)

    error = warning


REFUSAL = refuse("invalid_delay", "write hours")


def test_a_refused_post_is_told_with_why_and_where_from(clock: Clock) -> None:
    told = Told()
    refused = RefusedLines(told, 9, clock)

    refused(REFUSAL, "192.0.2.7", None)
    refused(REFUSAL, "192.0.2.7", caller(interface=4, digest="a digest"))

    line = {
        "event": "post refused",
        "status": 400,
        "type": "invalid_delay",
        "info": "write hours",
        "address": "192.0.2.7",
    }
    assert told.lines == [line, line | {"partner": "Press", "interface": 4}]


def test_only_so_many_are_told_in_a_minute_and_the_others_counted(clock: Clock) -> None:
    told = Told()
    refused = RefusedLines(told, 2, clock)
    clock.now = 1_000 * MINUTE

    for _ in range(5):
        refused(REFUSAL, "192.0.2.7", None)
    assert len(told.lines) == 2

    clock.pass_s(59)
    refused(REFUSAL, "192.0.2.7", None)
    assert len(told.lines) == 2

    clock.pass_s(1)
    refused(REFUSAL, "192.0.2.7", None)
    assert told.lines[2] == {"event": "posts refused", "left_out": 4}
    assert [line["event"] for line in told.lines[3:]] == ["post refused"]


def test_a_minute_in_which_all_were_told_is_not_counted(clock: Clock) -> None:
    told = Told()
    refused = RefusedLines(told, 2, clock)

    for _ in range(3):
        refused(REFUSAL, "192.0.2.7", None)
        refused(REFUSAL, "192.0.2.7", None)
        clock.pass_s(60)
    refused.tell_left_out()

    assert [line["event"] for line in told.lines] == ["post refused"] * 6


def test_those_left_out_are_told_at_the_end_once(clock: Clock) -> None:
    told = Told()
    refused = RefusedLines(told, 1, clock)
    for _ in range(3):
        refused(REFUSAL, "192.0.2.7", None)

    refused.tell_left_out()
    refused.tell_left_out()

    assert told.lines[1:] == [{"event": "posts refused", "left_out": 2}]


@pytest.mark.parametrize(
    "body",
    [
        post_body(type=APIKEY),
        post_body(type="ItemDelay", order="1", item="2", datetime=APIKEY, delay=APIKEY),
        post_body(items=[{"type": APIKEY}]),
        post_body(type="ItemProduce", order=f"\n{APIKEY}", item=[APIKEY], datetime=""),
    ],
)
def test_a_key_is_never_logged_wherever_it_stood(err: Err, body: bytes, clock: Clock) -> None:
    logger = logs.configure(Settings(log_format="json"))
    with pytest.raises(Refusal) as caught:
        wire.validate(wire.decode(body), zone=None)  # type: ignore[arg-type]

    RefusedLines(logger, 9, clock)(caught.value, "192.0.2.7", caller())

    assert lines(err)[0]["type"] == caught.value.type
    assert APIKEY not in err.getvalue()


# ---- groups that could not be written ----


def test_a_failure_that_goes_on_is_told_once_in_a_while(clock: Clock) -> None:
    told = Told()
    failed = FailedLines(told, clock)

    for _ in range(3):
        failed("disk full")
    assert [line["left_out"] for line in told.lines] == [0]

    clock.now += logs.FAILED_EVERY_US
    failed("disk full")
    failed("locked")

    assert [(line["why"], line["left_out"]) for line in told.lines] == [
        ("disk full", 0),
        ("disk full", 2),
        ("locked", 0),
    ]
    assert logs.FAILED_EVERY_US >= SECOND
