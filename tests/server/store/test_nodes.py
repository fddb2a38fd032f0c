"""Several nodes on one PostgreSQL store: one order of positions, nothing lost, nobody stopped."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from typing import Any

import psycopg
import pytest

from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.log import Answer, Arrival, Changes
from cloudsignal.server.store.postgresql import partitions, writer
from cloudsignal.server.store.store import Store, open_store
from tests import postgresql
from tests.server.arrivals import arrival, positions, problem, receipt, report, whole_log

NODES, READERS, GROUPS = 3, 2, 40


@pytest.fixture
def url(furnished_url: str) -> str:
    return furnished_url


@pytest.fixture
def nodes(url: str) -> Iterator[list[Store]]:
    with ExitStack() as stack:
        yield [stack.enter_context(closing(open_store(url))) for _ in range(NODES)]


def at_once(*actions: Callable[[], Any]) -> list[Any]:
    """What each action returns; all of them begin together."""
    ready = threading.Barrier(len(actions))

    def act(action: Callable[[], Any]) -> Any:
        ready.wait()
        return action()

    with ThreadPoolExecutor(len(actions)) as pool:
        return [done.result(60) for done in [pool.submit(act, action) for action in actions]]


# ---- one order ----


def test_no_reader_ever_skips_a_signal_however_many_nodes_write(
    nodes: list[Store], url: str
) -> None:
    writing = threading.Event()
    writing.set()

    def write(node: int) -> int:
        accepted = 0
        for group in range(GROUPS):
            own = arrival(report(item=f"{node}-{group}"), report(item="shared", minute=node))
            accepted += sum(receipt(each).accepted for each in nodes[node].append([own]))
        return accepted

    def read() -> list[int]:
        """Follow the log from its beginning as a cursor does, until the writers have ended."""
        seen: list[int] = []
        with closing(open_store(url)) as store:
            last_look = False
            while not last_look:
                last_look = not writing.is_set()
                page = store.reading.signals(after=seen[-1] if seen else 0, limit=7)
                while page:
                    seen += [each.position for each in page]
                    page = store.reading.signals(after=seen[-1], limit=7)
        return seen

    with ThreadPoolExecutor(READERS) as pool:
        reading = [pool.submit(read) for _ in range(READERS)]
        try:
            accepted = sum(at_once(*(partial(write, node) for node in range(NODES))))
        finally:
            writing.clear()
        seen = [each.result(60) for each in reading]

    stored = positions(nodes[0])
    assert stored == list(range(1, accepted + 1))
    for each in seen:
        assert each == stored
    assert nodes[0].rebuild().differed == 0


def test_bundles_that_name_the_same_items_in_opposite_order_stop_nobody(
    nodes: list[Store],
) -> None:
    names = [str(number) for number in range(20)]

    def write(node: int) -> int:
        order = names if node % 2 else names[::-1]
        posts = [
            arrival(*(report("ItemDelay", item=name, cause=f"{node} {turn}") for name in order))
            for turn in range(GROUPS)
        ]
        return sum(receipt(nodes[node].append([post])[0]).accepted for post in posts)

    accepted = at_once(*(partial(write, node) for node in range(NODES)))

    assert accepted == [GROUPS * len(names)] * NODES
    assert len(whole_log(nodes[0])) == sum(accepted)
    assert nodes[0].rebuild().differed == 0


# ---- two nodes, one item ----


def overtake(node: Store, meanwhile: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the node's loading and its turn, once, something else happens."""
    writing = node._writer.write
    left = [meanwhile]

    def write(changes: Changes) -> int:
        if left:
            left.pop()()
        return writing(changes)

    monkeypatch.setattr(node._writer, "write", write)


def append(node: Store, *posts: Arrival) -> list[Answer]:
    return node.append(posts)


def test_an_item_changed_by_another_node_meanwhile_is_folded_again(
    nodes: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes[:2]
    append(one, arrival(report()))
    between = arrival(report("ItemProduced", minute=2))
    overtake(one, lambda: append(other, between), monkeypatch)

    [answer] = append(one, arrival(report("ItemProduce", minute=1)))

    assert receipt(answer) == Receipt(accepted=1, duplicates=0, position=3)
    stored = one.reading.item("7", "1")
    assert stored is not None
    assert (stored.position, stored.folded.state) == (3, "produced")
    assert stored.folded.noted >= {"late"}
    assert one.rebuild().differed == 0


def test_a_signal_that_another_node_took_meanwhile_is_a_repeat(
    nodes: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes[:2]
    for first in (report(item="new"), report("ItemPacked", item="new", minute=5)):
        overtake(one, lambda first=first: append(other, arrival(first)), monkeypatch)

        [answer] = append(one, arrival(first))

        assert receipt(answer) == Receipt(0, 1, one.reading.last_position())
    assert len(whole_log(one)) == 2


def test_of_two_partners_that_claim_an_item_at_once_one_gets_it(
    nodes: list[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = nodes[:2]
    overtake(one, lambda: append(other, arrival(report(), partner=2)), monkeypatch)

    refused, taken = append(one, arrival(report(), partner=1), arrival(report(item="2"), partner=1))

    refused = problem(refused)
    assert refused.type == "not_your_item"
    assert receipt(taken).accepted == 1


def test_the_same_post_on_every_node_at_once_is_taken_once(nodes: list[Store]) -> None:
    for turn in range(10):
        post = arrival(report(item=f"{turn} a"), report(item=f"{turn} b"))

        answers = at_once(*(partial(append, node, post) for node in nodes))

        assert sum(receipt(each).accepted for [each] in answers) == 2
        assert len({receipt(each).position for [each] in answers}) == 1


# ---- a node that is gone ----


def test_a_node_that_stops_in_its_turn_keeps_the_others_waiting_for_a_while_only(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        writer, "_SESSION", (*writer._SESSION, "SET idle_in_transaction_session_timeout = '100ms'")
    )
    with closing(open_store(url)) as frozen, closing(open_store(url)) as other:
        with ExitStack() as its_turn:
            its_turn.enter_context(frozen._writer.transaction(alone=True))
            # It does nothing any more; as long as it has its turn the other one waits.
            [answer] = append(other, arrival(report()))
            with pytest.raises(StoreUnavailable, match="cannot be used just now"):
                its_turn.close()

        assert receipt(answer).accepted == 1
        [answer] = append(frozen, arrival(report(minute=1)))
        assert receipt(answer).position == 2


def test_a_turn_that_does_not_come_in_time_is_said_so(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "_SESSION", (*writer._SESSION, "SET lock_timeout = '50ms'"))
    with closing(open_store(url)) as busy, closing(open_store(url)) as other:
        with busy._writer.transaction(alone=True), pytest.raises(StoreUnavailable, match="lock"):
            append(other, arrival(report()))

        [answer] = append(other, arrival(report()))
        assert receipt(answer) == Receipt(1, 0, 1)


# ---- the parts of the log ----


@pytest.fixture
def start(nodes: list[Store], url: str, monkeypatch: pytest.MonkeyPatch) -> int:
    """The next position, which is the first of the parts that are small from now on."""
    start = partitions.SIGNALS
    postgresql.execute(
        url, f"INSERT INTO signals SELECT {start - 1}, 1, 0, 1, 1, false, '', 0, '', '{{}}'"
    )
    monkeypatch.setattr(partitions, "SIGNALS", 10)
    return start


def test_parts_are_begun_before_they_are_needed_by_whichever_node_comes_first(
    nodes: list[Store], url: str, start: int
) -> None:
    assert parts(url) == {0}

    for number in range(25):
        [answer] = append(nodes[number % NODES], arrival(report(item=str(number))))
        assert receipt(answer).position == start + number

    assert parts(url) == {0, *range(start, start + 40, 10)}


def test_the_next_part_waits_for_nobody_as_long_as_there_is_room(
    nodes: list[Store], url: str, start: int
) -> None:
    node = nodes[0]
    posts = [arrival(report(item=str(number))) for number in range(21)]
    append(node, posts[0])
    node._writer._open().execute("SET lock_timeout = '200ms'")  # type: ignore[attr-defined]
    with closing(psycopg.connect(url)) as vacuuming:
        vacuuming.execute("LOCK TABLE signals IN SHARE UPDATE EXCLUSIVE MODE")
        for post in posts[1:20]:
            append(node, post)
        with pytest.raises(StoreUnavailable, match="lock timeout"):
            append(node, posts[20])

    [answer] = append(node, posts[20])

    assert receipt(answer).position == start + 20
    assert parts(url) == {0, *range(start, start + 40, 10)}


def parts(url: str) -> set[int]:
    rows = postgresql.execute(
        url,
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'signals'::regclass",
    )
    return {int(row[0].removeprefix("signals_")) for row in rows}
