"""What is sent next, and when: nothing is lost, nothing of an order out of its order, and failing is slow."""

import random
from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.partner.outbox.file import Waiting
from cloudsignal.partner.outbox.pace import POSTS_MAX, WINDOW, Pace, Sent
from cloudsignal.partner.posts import POST_BYTES_MAX
from cloudsignal.protocol.retry import CAP_S


def pace(*orders: str, chance: float = 1.0, **limits: int) -> Pace:
    pace = Pace(lambda: chance, **limits)
    pace.add(waiting(orders))
    return pace


def waiting(orders: Iterable[str], first: int = 1) -> list[Waiting]:
    return [
        Waiting(number, order, b'{"n":%d}' % number) for number, order in enumerate(orders, first)
    ]


def due(pace: Pace, now: float = 0.0) -> list[Sent]:
    found = []
    while (sent := pace.next(now)) is not None:
        found.append(sent)
    return found


def names(sent: Sent) -> str:
    return "".join(sent.orders)


def test_signals_of_an_order_are_bundled_and_orders_sent_beside_each_other() -> None:
    found = due(pace("a", "b", "a", "c"))
    assert [(names(each), each.ids) for each in found] == [("a", (1, 3)), ("b", (2,)), ("c", (4,))]
    assert found[0].post.bodies == (b'{"n":1}', b'{"n":3}')


def test_what_comes_later_waits_until_its_order_is_through() -> None:
    it = pace("a")
    [first] = due(it)
    it.add(waiting("a", 2))
    assert due(it) == []
    it.settled(first, is_counted=False)
    assert [each.ids for each in due(it)] == [(2,)]


def test_no_more_than_so_many_posts_are_under_way() -> None:
    it = pace(*"abcdefgh")
    found = due(it)
    assert len(found) == POSTS_MAX
    assert it.wait_s(0.0) is None
    it.settled(found[0], is_counted=False)
    assert len(due(it)) == 1


def test_no_more_than_so_many_signals_are_held() -> None:
    it = pace(*["a"] * WINDOW)
    assert it.room == 0
    [sent] = due(it)
    it.settled(sent, is_counted=False)
    assert it.room == len(sent.ids) == 1000


def test_after_a_failure_posts_go_out_one_at_a_time_and_ever_later() -> None:
    it = pace(*"abcdefgh")
    for sent in due(it):
        it.failed(sent, 0.0)
    # Four were under way together: that is one failure.
    assert it.failures == 1
    assert it.wait_s(0.0) == 0.5
    now, waits, tried = 0.0, [], []
    for _ in range(14):
        wait = it.wait_s(now)
        assert wait is not None
        assert due(it, now + wait / 2) == []
        now += wait
        [sent] = due(it, now)
        it.failed(sent, now)
        waits.append(wait)
        tried.append(names(sent))
    assert waits[:5] == [0.5, 1.0, 2.0, 4.0, 8.0]
    assert waits[-1] == CAP_S
    # Each time another one: a post that the server cannot stomach does not stand in the way.
    assert set(tried) == set("abcdefgh")


def test_once_one_gets_through_all_the_others_follow() -> None:
    it = pace(*"abcdefgh")
    now = 0.0
    for _ in range(10):
        for sent in due(it, now):
            it.failed(sent, now)
        now += it.wait_s(now) or 0.0
    [probe] = due(it, now)
    it.settled(probe, is_counted=False)
    assert len(due(it, now + CAP_S)) == POSTS_MAX


def test_a_server_that_asks_for_patience_gets_it() -> None:
    it = pace("a", "b")
    [a, b] = due(it)
    it.failed(a, 0.0, retry_after_s=77.0)
    it.settled(b, is_counted=False)
    it.add(waiting("c", 3))
    [c] = due(it, 1.0)
    it.failed(c, 1.0, retry_after_s=77.0)
    assert due(it, 77.9) == []
    assert len(due(it, 78.0)) == 1


def test_hurrying_tries_everything_at_once() -> None:
    it = pace("a", "b")
    for sent in due(it):
        it.failed(sent, 0.0, retry_after_s=3000)
    it.hurry()
    [sent] = due(it, 0.0)
    it.settled(sent, is_counted=False)
    assert len(due(it, 0.0)) == 1


def test_what_was_discarded_is_not_sent() -> None:
    it = pace("a", "a", "b")
    sent = it.next(0.0)
    assert sent is not None
    it.withdraw(sent, {1})
    assert [each.ids for each in due(it)] == [(3,), (2,)]
    it = pace("a")
    [sent] = due(it)
    it.withdraw(sent, {1})
    assert it.is_idle
    assert due(it) == []


def test_orders_share_posts_with_a_server_that_counts_what_it_stores() -> None:
    it = pace(*"abcdefghijkl", posts_max=1)
    shared = []
    for is_counted in (True, True, False, True, True):
        [sent] = due(it)
        shared.append(names(sent))
        it.settled(sent, is_counted=is_counted)
    assert shared == ["a", "bc", "defg", "h", "ij"]


def test_an_order_that_does_not_fit_into_a_shared_post_waits_for_one_of_its_own() -> None:
    it = pace(*"abbcccd", bundle_max=4, posts_max=1)
    shared = []
    while (sent := it.next(0.0)) is not None:
        shared.append((names(sent), len(sent.ids)))
        it.settled(sent, is_counted=True)
    assert shared == [("a", 1), ("b", 2), ("cd", 4)]


def test_signals_too_large_for_a_shared_post_wait_for_the_next() -> None:
    it = pace("a", posts_max=1)
    [sent] = due(it)
    it.settled(sent, is_counted=True)
    large = b"x" * (POST_BYTES_MAX // 3 * 2)
    it.add([Waiting(2, "b", large), Waiting(3, "c", large), Waiting(4, "d", b"{}")])
    sizes = []
    while (sent := it.next(0.0)) is not None:
        sizes.append((names(sent), sent.ids))
        it.settled(sent, is_counted=True)
    assert sizes == [("b", (2,)), ("cd", (3, 4))]


def test_what_fails_is_tried_again_with_nobody_beside_it() -> None:
    it = pace(*"abcdefg", posts_max=1)
    for _ in range(2):
        [sent] = due(it)
        it.settled(sent, is_counted=True)
    [sent] = due(it)
    assert names(sent) == "defg"
    it.failed(sent, 0.0)
    alone = []
    now = 0.0
    for _ in range(4):
        now += it.wait_s(now) or 0.0
        [sent] = due(it, now)
        alone.append(names(sent))
        it.failed(sent, now)
    assert alone == ["d", "e", "f", "g"]


@given(
    bad=st.sets(st.integers(1, 40), max_size=6),
    orders=st.text("abc", min_size=1, max_size=40),
    is_counted=st.booleans(),
)
def test_a_refused_bundle_is_split_until_the_bad_ones_stand_alone(
    bad: set[int], orders: str, is_counted: bool
) -> None:
    it = pace(*orders, bundle_max=16)
    everything = set(range(1, len(orders) + 1))
    stored: list[int] = []
    refused: list[int] = []
    posts = 0
    while (sent := it.next(0.0)) is not None:
        posts += 1
        if not bad & set(sent.ids):
            stored += sent.ids
            it.settled(sent, is_counted=is_counted)
        elif len(sent.ids) == 1:
            refused += sent.ids
            it.refused(sent)
        else:
            it.split(sent)
    assert set(refused) == bad & everything
    assert sorted(stored) == sorted(everything - bad)
    for order in set(orders):
        for sent_ones in (stored, refused):
            mine = [number for number in sent_ones if orders[number - 1] == order]
            assert mine == sorted(mine)
    assert posts <= 9 + (len(refused) + 1) * 3 * 5


class Reading:
    """What a sender does with a pace and a file, where the file is a list."""

    def __init__(self, pace: Pace, file: list[Waiting], *, at_once: int) -> None:
        self.pace = pace
        self.left = {each.id: each for each in file}
        self._at_once = at_once
        self._last = 0

    def read_on(self, now: float) -> None:
        self.pace.make_room()
        found = self._after(self._last, min(self.pace.room, self._at_once))
        if found:
            self.pace.add(found)
            self._last = found[-1].id
        while (missing := self.pace.missing(now)) is not None:
            name, last = missing
            found = self._after(last, self._at_once, name)
            self.pace.fill(name, found, is_whole=len(found) < self._at_once)

    def _after(self, last: int, limit: int, order: str | None = None) -> list[Waiting]:
        found = [
            each for each in self.left.values() if each.id > last and order in (None, each.order)
        ]
        return found[:limit]

    def settle(self, sent: Sent) -> None:
        for number in sent.ids:
            del self.left[number]


@given(seed=st.integers(0, 10_000))
def test_whatever_happens_everything_is_sent_in_the_order_of_its_order(seed: int) -> None:
    chance = random.Random(seed)
    orders = [chance.choice("abcde") for _ in range(chance.randrange(1, 60))]
    it = Pace(
        chance.random,
        bundle_max=chance.randrange(1, 9),
        posts_max=chance.randrange(1, 5),
        window=chance.choice([3, 10, 100]),
    )
    file = Reading(it, waiting(orders), at_once=chance.randrange(1, 9))
    under_way: list[Sent] = []
    sent: list[int] = []
    now = 0.0
    while file.left:
        file.read_on(now)
        while (one := it.next(now)) is not None:
            under_way.append(one)
            file.read_on(now)
        if under_way:
            one = under_way.pop(chance.randrange(len(under_way)))
            match chance.randrange(4):
                case 0:
                    it.failed(one, now, retry_after_s=chance.choice([0, 9]))
                case 1 if len(one.ids) > 1:
                    it.split(one)
                case 2 if len(one.ids) > 1:
                    gone = set(chance.sample(one.ids, 1))
                    it.withdraw(one, gone)
                    sent += gone
                    file.left.pop(*gone)
                case _:
                    file.settle(one)
                    it.settled(one, is_counted=chance.random() < 0.8)
                    sent += one.ids
        now += it.wait_s(now) or 0.0
    file.read_on(now)
    assert it.is_idle
    assert sorted(sent) == list(range(1, len(orders) + 1))


@given(seed=st.integers(0, 10_000))
def test_of_an_order_nothing_is_sent_before_what_was_put_before_it(seed: int) -> None:
    chance = random.Random(seed)
    orders = [chance.choice("abc") for _ in range(60)]
    it = Pace(chance.random, bundle_max=5, window=chance.choice([4, 100]))
    file = Reading(it, waiting(orders), at_once=4)
    stored: list[int] = []
    now = 0.0
    while file.left:
        file.read_on(now)
        if (one := it.next(now)) is None:
            now += it.wait_s(now) or 0.0
        elif chance.random() < 0.3:
            it.failed(one, now)
        else:
            file.settle(one)
            it.settled(one, is_counted=True)
            stored += one.ids
    for order in set(orders):
        mine = [number for number in stored if orders[number - 1] == order]
        assert mine == sorted(mine)


def test_an_order_that_fails_lets_all_others_by_however_much_of_it_waits() -> None:
    it = Pace(lambda: 1.0, posts_max=1, window=10)
    file = Reading(it, waiting("a" * 30 + "bcd"), at_once=10)
    now, stored = 0.0, ""
    while len(stored) < 3:
        file.read_on(now)
        if (one := it.next(now)) is None:
            now += it.wait_s(now) or 0.0
        elif "a" in one.orders:
            it.failed(one, now)
        else:
            file.settle(one)
            it.settled(one, is_counted=False)
            stored += names(one)
    assert sorted(stored) == ["b", "c", "d"]


def test_what_a_server_refuses_costs_it_little() -> None:
    it = pace(*["a"] * 10_000)
    posts = carried = 0
    while (sent := it.next(0.0)) is not None:
        posts += 1
        carried += len(sent.ids)
        if len(sent.ids) == 1:
            it.refused(sent)
        else:
            it.split(sent)
    assert posts <= 10_000 + 20
    assert carried <= 10_000 + 2 * 1000


def test_a_server_with_a_lower_limit_is_not_asked_too_much() -> None:
    it = pace(*["a"] * 10_000)
    carried = 0
    while (sent := it.next(0.0)) is not None:
        carried += len(sent.ids)
        if len(sent.ids) > 100:
            it.split(sent)
        else:
            it.settled(sent, is_counted=False)
    assert carried <= 4 * 10_000
