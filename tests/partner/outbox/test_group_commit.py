"""Whoever waits for the disk waits together, and nobody for ever."""

import gc
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from types import FrameType

import pytest

from cloudsignal import OutboxError, OutboxFull
from cloudsignal.partner.outbox.file import Given
from cloudsignal.partner.outbox.group_commit import GroupCommit

ENOUGH_S = 60


class Interrupted(Exception):
    """What a signal handler of a program raises."""


class Disk:
    """Writes into memory. The first write may be kept waiting, so that others come meanwhile."""

    def __init__(self, *, room: int = 1_000_000) -> None:
        self.written: list[str] = []
        self.commits: list[int] = []
        self.began = threading.Event()
        self.may_go_on = threading.Event()
        self._room = room

    def write(self, given: Sequence[Given]) -> range:
        self.began.set()
        assert self.may_go_on.wait(ENOUGH_S)
        if len(self.written) + len(given) > self._room:
            raise OutboxFull("full")
        self.commits.append(len(given))
        self.written += [each.item for each in given]
        return range(len(self.written) - len(given), len(self.written))


def given(item: str) -> Given:
    return Given("7", item, "ItemPacked", b"{}")


def running(*actions: Callable[[], object]) -> list[threading.Thread]:
    threads = [threading.Thread(target=action, daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    return threads


def ended(threads: Sequence[threading.Thread]) -> bool:
    for thread in threads:
        thread.join(ENOUGH_S)
    return not any(thread.is_alive() for thread in threads)


def handed_in(commit: GroupCommit, count: int) -> bool:
    """Wait until so many wait behind the one who writes."""
    pause = threading.Event()
    for _ in range(ENOUGH_S * 1000):
        if len(commit._handed_in) == count:
            return True
        pause.wait(0.001)
    return False


def test_those_who_come_during_a_commit_share_the_next() -> None:
    disk = Disk()
    commit = GroupCommit(disk.write)
    ids: dict[str, object] = {}

    def putting(item: str) -> Callable[[], None]:
        def put() -> None:
            ids[item] = commit.put([given(item)])

        return put

    first = running(putting("first"))
    assert disk.began.wait(ENOUGH_S)
    others = running(*(putting(str(number)) for number in range(8)))
    assert handed_in(commit, 8)
    disk.may_go_on.set()
    assert ended([*first, *others])
    assert disk.commits == [1, 8]
    assert ids == {item: (place,) for place, item in enumerate(disk.written)}


def test_of_those_who_share_a_commit_only_the_one_without_room_is_told() -> None:
    disk = Disk(room=10)
    commit = GroupCommit(disk.write)
    outcomes: dict[str, object] = {}

    def putting(name: str, count: int) -> Callable[[], None]:
        def put() -> None:
            try:
                outcomes[name] = len(commit.put([given(name)] * count))
            except OutboxFull as error:
                outcomes[name] = str(error)

        return put

    first = running(putting("first", 1))
    assert disk.began.wait(ENOUGH_S)
    others = running(putting("one", 1), putting("many", 20), putting("two", 2))
    assert handed_in(commit, 3)
    disk.may_go_on.set()
    assert ended([*first, *others])
    assert outcomes == {"first": 1, "one": 1, "many": "full", "two": 2}


def test_a_leader_that_is_interrupted_tells_those_it_wrote_for() -> None:
    disk = Disk()

    def write(things: Sequence[Given]) -> range:
        if len(things) == 2:  # The group, written by the thread of one of the two.
            raise KeyboardInterrupt
        return disk.write(things)

    commit = GroupCommit(write)
    said: list[BaseException] = []

    def put() -> None:
        try:
            commit.put([given("1")])
        except (OutboxError, KeyboardInterrupt) as error:
            said.append(error)

    first = running(put)
    assert disk.began.wait(ENOUGH_S)
    others = running(put, put)
    assert handed_in(commit, 2)
    disk.may_go_on.set()
    assert ended([*first, *others])
    assert sorted(type(each).__name__ for each in said) == ["KeyboardInterrupt", "OutboxError"]
    assert commit.put([given("afterwards")]) == (1,)


def test_who_waits_behind_a_leader_that_was_stopped_before_it_could_hand_over_leads() -> None:
    disk = Disk()
    disk.may_go_on.set()
    commit = GroupCommit(disk.write)

    def interrupted(*_: object) -> None:
        raise Interrupted

    kept, commit._hand_over = commit._hand_over, interrupted  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        commit.put([given("1")])
    commit._hand_over = kept  # type: ignore[method-assign]
    assert commit.put([given("2")]) == (1,)


def test_interruptions_at_any_moment_leave_nobody_waiting() -> None:
    """A handler that raises, hundreds of times, in a thread that puts like the others."""
    written: list[str] = []
    lock = threading.Lock()

    def write(things: Sequence[Given]) -> range:
        with lock:
            first = len(written)
            written.extend([each.item for each in things])
            return range(first, len(written))

    commit = GroupCommit(write)
    done = threading.Event()
    ids: dict[str, int] = {}

    def putting(name: str) -> Callable[[], None]:
        def put() -> None:
            number = 0
            while not done.is_set():
                number += 1
                item = f"{name} {number}"
                with suppress(OutboxError):  # Its leader was interrupted.
                    [ids[item]] = commit.put([given(item)])

        return put

    def interrupt(signum: int, frame: FrameType | None) -> None:
        raise Interrupted

    # Not SIGALRM, by which pytest ends tests that hang.
    before = signal.signal(signal.SIGVTALRM, interrupt)
    threads = running(*(putting(str(number)) for number in range(3)))
    interruptions = 0
    gc.disable()  # Or it would call others, of whose interruptions pytest would tell as of an error.
    try:
        while interruptions < 200:
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0.0002 + interruptions % 50 * 0.00001)
                # Not for ever: what is raised while an object is freed is lost.
                for _ in range(1000):
                    with suppress(OutboxError):
                        commit.put([given("main")])
            except Interrupted:
                interruptions += 1
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        done.set()
    assert ended(threads)
    assert len(ids) > 1000
    assert all(written[place] == item for item, place in ids.items())
