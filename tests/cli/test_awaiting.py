"""Commands that wait for what becomes of a test."""

import signal
import time
from typing import Any

import pytest

from cloudsignal.cli.awaiting import awaited
from tests.cli.conftest import Run


def test_it_looks_until_there_is_something_and_once_without_any_time() -> None:
    looks = iter([None, None, "delivered"])
    assert awaited(lambda: next(looks), 60, later="status") == "delivered"

    looks = iter([None])
    assert awaited(lambda: next(looks), 0, later="status") is None


@pytest.mark.parametrize(
    ("made", "test", "later"),
    [
        (("alert", "email", "--to", "a@example.com"), ("alert", "test", "email"), "alert messages"),
        (
            ("endpoint", "create", "--owner", "Books", "--url", "https://owner.example"),
            ("endpoint", "test", "1"),
            "endpoint attempts 1 --message msg_",
        ),
    ],
)
def test_who_breaks_it_off_is_told_where_to_look_later(
    run: Run, monkeypatch: pytest.MonkeyPatch, made: Any, test: Any, later: str
) -> None:
    run("owner", "create", "Books")
    run(*made)
    monkeypatch.setattr(time, "sleep", lambda _: signal.raise_signal(signal.SIGINT))

    ran = run(*test)

    assert (ran.code, ran.out) == (130, "")
    assert f"cloudsignal: interrupted: `cloudsignal {later}" in ran.err
    assert "` says later what became of the test\n" in ran.err
