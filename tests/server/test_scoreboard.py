"""What several processes of one server have counted."""

from pathlib import Path

import pytest

from cloudsignal.protocol.refusals import refuse
from cloudsignal.protocol.wire import Receipt
from cloudsignal.server import scoreboard
from cloudsignal.server.metrics import Figures, Metrics
from cloudsignal.server.scoreboard import Scoreboard
from tests.server.arrivals import arrival, report


def counted(posts: int, waiting: int = 0) -> Metrics:
    metrics = Metrics(lambda: waiting)
    for number in range(posts):
        metrics.note_group([arrival(report("ItemPacked"))], [Receipt(1, 0, 10 * posts)], number)
    metrics.note_refused(refuse("unknown_key", "…"))
    return metrics


class Processes:
    """Scoreboards of several processes in one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def board(self, pid: int, metrics: Metrics) -> Scoreboard:
        self._monkeypatch.setattr(scoreboard.os, "getpid", lambda: pid)
        return Scoreboard(self._folder, metrics.figures)


@pytest.fixture
def processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(tmp_path, monkeypatch)


def test_whichever_process_is_asked_tells_the_sum(processes: Processes) -> None:
    one, other = (
        processes.board(pid, counted(posts, waiting))
        for pid, posts, waiting in ((1, 2, 5), (2, 3, 7))
    )
    one.publish()
    other.publish()

    assert one.total() == other.total()
    total = one.total()
    assert total.posts == {"accepted": 5, "unknown_key": 2}
    assert total.signals == {"ItemPacked": 5}
    assert (total.waiting, total.position) == (12, 30)
    assert (total.group_sizes.sum, total.commit_seconds.sum) == (5, 1 + 3)
    assert total.group_sizes.buckets()[0] == ("1.0", 5)


def test_its_own_figures_are_those_of_now(processes: Processes) -> None:
    metrics = counted(1)
    board = processes.board(1, metrics)
    board.publish()

    metrics.note_refused(refuse("unknown_key", "…"))

    assert board.total().posts["unknown_key"] == 2


def test_what_an_ended_process_counted_stays_and_nothing_waits_in_it(
    processes: Processes, tmp_path: Path
) -> None:
    ended, other = processes.board(1, counted(2, 5)), processes.board(2, counted(3, 7))
    ended.publish()

    scoreboard.settle(tmp_path, 1)
    scoreboard.settle(tmp_path, 99)  # It ended before it counted anything.

    total = other.total()
    assert (total.posts["accepted"], total.waiting) == (5, 7)


def test_a_process_alone_needs_no_folder() -> None:
    board = Scoreboard(None, counted(2).figures)

    board.publish()

    assert board.total().posts["accepted"] == 2


def test_nothing_counted_is_a_figure_too() -> None:
    assert Scoreboard(None, Metrics(lambda: 0).figures).total() == Figures()
