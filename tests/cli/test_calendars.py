"""cloudsignal partner calendar."""

import io
import shlex
import sys
from pathlib import Path

import pytest

from cloudsignal.server.insight import calendars
from cloudsignal.server.store.store import Store
from tests.cli.conftest import Run

WEEK = '{"timezone": "Europe/Berlin", "hours": {"mon": ["08:00-12:00", "13:00-17:00"]}}'
NAME = "Print & Söhne"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "week.json"
    path.write_text(WEEK)
    return path


def test_a_calendar_is_set_shown_and_removed(run: Run, filled: Store, file: Path) -> None:
    assert run("partner", "calendar", "show", NAME).sentence == (
        f"{NAME} has no calendar, and is taken to work always"
    )
    told = run("partner", "calendar", "set", NAME, str(file)).out.splitlines()
    assert told[0] == f"{NAME} works 8 hours a week, in Europe/Berlin."
    words = shlex.split(told[-1])
    assert words[:2] == ["cloudsignal", "rebuild"]
    assert run(*words[1:]).code == 0

    shown = run("partner", "calendar", "show", NAME).out

    assert calendars.read(shown) == calendars.read(WEEK)
    assert filled.calendars.calendars() == {NAME: calendars.read(WEEK)}
    assert run("partner", "calendar", "remove", NAME).code == 0
    assert filled.calendars.calendars() == {}


def test_what_is_shown_can_be_set_from_standard_input(
    run: Run, filled: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(WEEK.encode())))
    assert run("partner", "calendar", "set", NAME, "-").code == 0
    assert filled.calendars.calendars() == {NAME: calendars.read(WEEK)}


def test_all_that_is_wrong_is_said_at_once_and_nothing_changes(
    run: Run, filled: Store, file: Path
) -> None:
    file.write_text('{"timezone": "Mars", "hours": {"mon": ["8-12"], "foo": []}, "x": 1}')
    ran = run("partner", "calendar", "set", NAME, str(file))
    *wrong, last = ran.err.splitlines()
    assert ran.code == 1
    assert last == "cloudsignal: this is no calendar, and nothing is changed"
    assert len(wrong) == 4
    assert "'Mars'" in ran.err
    assert filled.calendars.calendars() == {}


def test_what_cannot_be_read_or_whose_it_is_not_is_said(
    run: Run, filled: Store, file: Path, tmp_path: Path
) -> None:
    nowhere = run("partner", "calendar", "set", NAME, str(tmp_path / "nowhere"))
    assert nowhere.failed(nowhere.code).endswith("cannot be read: No such file or directory")
    for words in (("set", "nobody", str(file)), ("show", "nobody"), ("remove", "nobody")):
        told = run("partner", "calendar", *words).sentence
        assert told == "there is no print partner called 'nobody'"
    file.write_text(WEEK + " " * 70_000)
    assert "65536 bytes" in run("partner", "calendar", "set", NAME, str(file)).sentence
