"""cloudsignal simulate, as it is called."""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloudsignal.cli.simulate import _driving, _stopping
from cloudsignal.cli.simulate_orders import OWNER
from cloudsignal.protocol import datetimes
from cloudsignal.protocol.units import DAY_US, SECOND_US
from cloudsignal.server import clock
from cloudsignal.server.store.store import Store
from cloudsignal.simulator.pace import AsPlanned, AtOnce, Braking, Pace, Steady
from cloudsignal.simulator.partners import print_partners
from cloudsignal.simulator.plan import Plan
from cloudsignal.testing import FakeServer
from tests.cli.conftest import Run

KEYS = [f"{number:032x}" for number in range(3)]


@pytest.fixture
def server():
    with FakeServer(apikeys=KEYS) as server:
        yield server


@pytest.fixture
def keys(tmp_path: Path) -> str:
    path = tmp_path / "keys"
    path.write_text("\n".join(KEYS) + "\n")
    return str(path)


def test_the_same_seed_prints_the_same_posts(run: Run) -> None:
    one, same, other = (
        run("simulate", "--dry-run", "--items", "20", "--faults", "--seed", seed)
        for seed in ("7", "7", "8")
    )
    assert one.out == same.out != other.out
    posts = [json.loads(line) for line in one.out.splitlines()]
    assert {post["partner"] for post in posts} <= set(range(5))
    assert all(signal["type"].startswith("Item") for post in posts for signal in post["items"])


def test_a_plan_without_an_end_is_not_printed(run: Run) -> None:
    done = run("simulate", "--dry-run", "--duration", "1s")
    assert (done.code, done.out) == (1, "")
    assert "has no end with --duration" in done.err


def test_it_sends_with_the_keys_of_a_file_and_says_how_it_went(
    run: Run, server: FakeServer, keys: str
) -> None:
    done = run(
        "simulate", "--base-url", server.url, "--apikeys-file", keys, "--items", "30",
        "--no-compare", "--seed", "3", "--json",
    )  # fmt: skip
    assert done.json["signals"] == done.json["accepted"] + done.json["duplicates"]
    assert done.json["accepted"] == len(server.signals)
    assert done.json["comparison"] is None
    assert done.json["seed"] == 3
    assert {each.apikey for each in server.signals} == set(KEYS)
    assert "the seed is 3" in done.err
    assert not any(key in done.err + done.out for key in KEYS)


def test_the_summary_for_people(run: Run, server: FakeServer, keys: str) -> None:
    done = run(
        "simulate", "--base-url", server.url, "--apikeys-file", keys, "--items", "5", "--no-compare"
    )
    assert done.code == 0
    assert "Nothing was compared." in done.out
    assert "signals sent" in done.out


def test_posts_that_fail_are_told_and_the_exit_code_is_1(
    run: Run, server: FakeServer, keys: str
) -> None:
    server.disabled = set(KEYS)
    done = run("simulate", "--base-url", server.url, "--apikeys-file", keys, "--no-compare")
    assert done.code == 1
    assert "key_disabled" in done.err


def test_a_rate_is_a_flag_and_counts_more_than_faults(run: Run) -> None:
    calm = run("simulate", "--dry-run", "--items", "50", "--no-faults", "--seed", "1")
    again = run(
        "simulate", "--dry-run", "--items", "50", "--no-faults", "--repeated", "1", "--seed", "1"
    )
    assert again.out.count("\n") == 2 * calm.out.count("\n")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "there are 0 keys for 5 print partners"),
        (["--apikeys-file", "missing"], "missing cannot be read: No such file"),
        (["--apikeys-file", "empty"], "it is empty; write one key in each line"),
        (["--apikeys-file", "bad"], "this is no apikey"),
        (["--apikeys-file", "keys", "--partners", "4"], "there are 3 keys for 4 print partners"),
        (["--apikeys-file", "keys"], "there is no token to read items with"),
        (["--apikeys-file", "keys", "--token-file", "bad"], "this is no token"),
        (["--apikeys-file", "keys", "--database", "sqlite:///x.db"], "--database makes keys"),
        (["--speed", "fast"], "--speed fast: write max"),
        (["--duration", "1 day"], "--duration 1 day: write how long"),
        (["--start", "soon"], "--start soon: write it like"),
        (["--start", "2100-12-31"], "begin between 2000-01-08 and 2100-06-30, so that all fits in"),
        (["--start", "2000-01-01"], "begin between 2000-01-08 and 2100-06-30, so that all fits in"),
        (["--items", "99999", "--items-per-day", "1"], "let more of them come in a day"),
        (["--until", "soon"], "--until soon: write it like"),
        (["--until", "2026-01-05"], "--until 2026-01-05: the plan begins later; --start it before"),
        (["--start", "2100-01-01", "--until", "now"], "--until now: the plan begins later"),
        (["--database", "nosql://x"], "nosql"),
        (["--apikeys-file", "keys", "--live"], "--live says which interfaces --database makes"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    run: Run, keys: str, tmp_path: Path, words: list[str], sentence: str
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bad").write_text("a b\n")
    assert sentence in run("simulate", *words).sentence


@pytest.mark.parametrize("words", [[], ["--live"]])
def test_what_a_database_was_given_is_revoked_even_if_nothing_was_sent(
    run: Run, store: Store, url: str, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """The port is one that nobody listens on, so reading fails before anything is sent."""
    monkeypatch.setattr("cloudsignal.simulator.reader.TRIES", 1)
    done = run(
        "simulate", "--database", url, "--base-url", "http://127.0.0.1:9", "--partners", "2", *words
    )
    assert "the items cannot be read from http://127.0.0.1:9" in done.err
    assert done.code == 1
    assert {each.state for each in store.access.interfaces()} == {"revoked"}
    assert {each.test for each in store.access.interfaces()} == {not words}
    assert all(token.revoked for token in store.access.tokens())
    assert [each.name for each in store.access.partners()] == sorted(
        each.name for each in _partners(2)
    )


def test_a_store_that_all_counts_in_gets_to_know_orders_and_working_hours(
    run: Run, store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudsignal.simulator.reader.TRIES", 1)
    same = ("--database", url, "--base-url", "http://127.0.0.1:9", "--partners", "2", "--seed", "1")
    plan = ("--start", "2-days-ago", "--items", "2000", "--items-per-day", "100")
    for _ in range(2):  # The same again changes nothing.
        assert run("simulate", *same, *plan, "--live").code == 1
    assert [each.name for each in store.orders.owners()] == [OWNER]
    orders = store.orders.orders(OWNER, limit=1000)
    days = (clock.now() - orders[0].due) / DAY_US if orders[0].due else 0
    assert -3 < days < 2
    assert {each.partner_name for each in orders} == {each.name for each in _partners(2)}
    assert 60 < len(orders) < 250
    one = store.orders.order(orders[0].order)
    assert one is not None
    assert one.items[f"{one.order}-1"] == f"{one.reference}/1"
    for each in _partners(2):
        calendar = store.calendars.calendars()[each.name]
        assert calendar.timezone == each.timezone
        hours = sum(shift[1] - shift[0] for shift in each.hours.shifts if shift)
        assert calendar.weekly_s == hours * 3600
    changes = [each for each in store.changes.changes(limit=50) if "calendar" in each.what]
    assert len(changes) == 2


def test_a_plan_that_ends_with_now_is_braked_unless_it_is_said_how_fast() -> None:
    planned = Plan(seed=1, partners=1, items=None, start=0)

    def driven(
        until: str | None, speed: str | None = None, rate: float | None = None
    ) -> tuple[type[Pace], float]:
        driving = _driving(planned, until, speed, rate, 1, "5m")
        assert driving.duration_s == 300
        return type(driving.pace), ((driving.until or 0) - clock.now()) / SECOND_US

    assert driven("now") == (Braking, pytest.approx(300, abs=20))
    assert driven("now", speed="60x") == (AsPlanned, pytest.approx(0, abs=20))
    assert driven("now", speed="max") == (AtOnce, pytest.approx(0, abs=20))
    assert driven("now", rate=5.0) == (Steady, pytest.approx(0, abs=20))
    assert driven(None)[0] is AtOnce


def test_a_plan_is_printed_until_an_instant(run: Run) -> None:
    same = ("simulate", "--dry-run", "--seed", "1", "--items-per-day", "200")
    whole = run(*same, "--items", "200").out.splitlines()
    begin = run(*same, "--items", "200", "--until", "2026-01-05 12:00 GMT").out.splitlines()
    assert 0 < len(begin) < len(whole)
    assert begin == whole[: len(begin)]
    endless = run(*same, "--until", "2026-01-06").out.splitlines()
    assert len(endless) > len(begin)
    past = run(*same, "--until", "now", "--start", "1-day-ago", "--no-faults").out
    told = [
        datetimes.parse(each["datetime"], UTC)
        for line in past.splitlines()
        for each in json.loads(line)["items"]
    ]
    assert told
    assert max(told) <= clock.now()


@pytest.mark.parametrize(
    ("word", "back"), [("today", 0), ("yesterday", 1), ("30-days-ago", 30), ("1 day ago", 1)]
)
def test_a_plan_can_begin_on_a_day_that_has_a_word(run: Run, word: str, back: int) -> None:
    before = datetime.now(UTC).date()
    same = ("simulate", "--dry-run", "--items", "9", "--seed", "1", "--partners", "1", "--start")
    said = run(*same, word).out
    after = datetime.now(UTC).date()
    days = {each - timedelta(days=back) for each in (before, after)}
    assert said in {run(*same, str(day)).out for day in days}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_asks_twice_is_not_kept_waiting(number: signal.Signals) -> None:
    """By an exception, after which what was made for the run is revoked."""

    async def simulate() -> None:
        stop = asyncio.Event()
        with _stopping(stop):
            os.kill(os.getpid(), number)
            await stop.wait()
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(simulate())


def _partners(count: int):
    from random import Random

    return print_partners(count, Random(1))
