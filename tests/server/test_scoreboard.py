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

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def board(self, serial: int, metrics: Metrics) -> Scoreboard:
        return Scoreboard(self.folder / str(serial), metrics.figures)


@pytest.fixture
def processes(tmp_path: Path) -> Processes:
    return Processes(tmp_path)


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


def test_what_ended_processes_counted_stays_and_nothing_waits_in_them(
    processes: Processes, tmp_path: Path
) -> None:
    other = processes.board(9, counted(3, 7))
    for serial in (1, 2):
        processes.board(serial, counted(2, 5)).publish()
        scoreboard.settle(tmp_path / str(serial))
    scoreboard.settle(tmp_path / "3")  # It ended before it counted anything.

    total = other.total()
    assert (total.posts["accepted"], total.waiting) == (7, 7)
    assert len(list(tmp_path.iterdir())) == 1


def test_without_its_folder_a_process_goes_on_with_its_own_figures(tmp_path: Path) -> None:
    board = Processes(tmp_path / "gone").board(1, counted(2))

    board.publish()
    scoreboard.settle(tmp_path / "gone" / "2")

    assert board.total().posts["accepted"] == 2


def test_a_process_alone_needs_no_folder() -> None:
    board = Scoreboard(None, counted(2).figures)

    board.publish()

    assert board.total().posts["accepted"] == 2


def test_nothing_counted_is_a_figure_too() -> None:
    assert Scoreboard(None, Metrics(lambda: 0).figures).total() == Figures()
