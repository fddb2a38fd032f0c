"""Windows: how often, and for how long that counts."""

import pytest

from cloudsignal.server import windows as module
from cloudsignal.server.windows import Windows
from tests.server.clock import Clock

WINDOW_S = 60


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows(clock: Clock) -> Windows:
    return Windows(WINDOW_S, clock)


def test_each_is_counted_for_itself(windows: Windows) -> None:
    for who in ("a", "b", "a"):
        windows.count(who)

    assert [windows.of(who) for who in ("a", "b", "c")] == [(2, 60), (1, 60), (0, 0)]


@pytest.mark.parametrize(
    ("passed_s", "left"),
    [
        (0, (2, 60)),
        (0.5, (2, 60)),
        (1, (2, 59)),
        (59, (2, 1)),
        (59.9, (2, 1)),
        (60, (0, 0)),
        (99, (0, 0)),
    ],
)
def test_a_count_ends_with_its_window(
    windows: Windows, clock: Clock, passed_s: float, left: tuple[int, int]
) -> None:
    windows.count("a")
    windows.count("a")

    clock.pass_s(passed_s)

    assert windows.of("a") == left


def test_a_window_begins_with_its_first_act(windows: Windows, clock: Clock) -> None:
    windows.count("a")
    clock.pass_s(WINDOW_S - 1)
    windows.count("a")
    assert windows.of("a") == (2, 1)

    clock.pass_s(1)
    windows.count("a")

    assert windows.of("a") == (1, WINDOW_S)


def test_only_so_many_are_remembered_and_the_longest_quiet_is_forgotten(
    windows: Windows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED_MAX", 3)
    for who in ("a", "b", "c", "a"):
        windows.count(who)

    windows.count("d")

    assert [windows.of(who)[0] for who in ("a", "b", "c", "d")] == [2, 0, 1, 1]
