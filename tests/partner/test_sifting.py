"""Of many signals, a server gets all that it takes, however it refuses the others."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from cloudsignal import InvalidSignals, ItemPacked, NotNow, Receipt, SendError, Signal
from cloudsignal.partner.sifting import send_sifted
from cloudsignal.protocol.refusals import Problem


class Line(Struct, frozen=True):
    number: int
    signal: ItemPacked | None


def lines(count: int, *, blank: frozenset[int] = frozenset()) -> list[Line]:
    return [Line(n, None if n in blank else packed(n)) for n in range(count)]


def packed(number: int) -> ItemPacked:
    return ItemPacked(order="7", item=str(number), datetime="2026-01-01T00:00:00Z")


class Taking:
    """A server that refuses some items, and breaks after some posts."""

    def __init__(
        self,
        refused: frozenset[int] = frozenset(),
        breaks_after: int = 10**9,
        names: Callable[[list[int]], list[int]] = lambda bad: [],
    ) -> None:
        """``names`` is which places of a bundle it names when these are bad."""
        self.refused = {str(number) for number in refused}
        self.left = breaks_after
        self.names = names
        self.posts = 0
        self.stored: list[str] = []

    def send(self, *signals: Signal) -> Receipt:
        self.posts += 1
        self.left -= 1
        if self.left < 0:
            raise NotNow("not now")
        items = [signal.item for signal in signals]
        if bad := [place for place, item in enumerate(items) if item in self.refused]:
            named = [Problem(f"items[{place}].item", "t", "bad") for place in self.names(bad)]
            raise InvalidSignals(f"{items} are refused", problems=named)
        self.stored += items
        return Receipt(len(items), len(items), 0, len(self.stored))


numbers = st.frozensets(st.integers(0, 29), max_size=6)


NAMING: dict[str, Callable[[list[int]], list[int]]] = {
    "none": lambda bad: [],
    "the first": lambda bad: bad[:1],
    "all": lambda bad: bad,
    "others": lambda bad: [bad[0] + 1, 10**8],
}


@given(
    st.integers(0, 30), st.integers(1, 12), numbers, numbers, st.sampled_from(list(NAMING.values()))
)
def test_all_but_the_refused_are_stored_once_in_their_order(
    count: int,
    most: int,
    refused: frozenset[int],
    blank: frozenset[int],
    names: Callable[[list[int]], list[int]],
) -> None:
    server = Taking(refused, names=names)
    found = lines(count, blank=blank)

    bundles = list(send_sifted(server.send, found, most=most))

    assert [line for bundle in bundles for line in bundle.found] == found
    assert all(len(bundle.found) <= most for bundle in bundles)
    taken = [n for n in range(count) if n not in blank | refused]
    assert server.stored == [str(n) for n in taken]
    bad = [line.number for bundle in bundles for line, _ in bundle.refused]
    assert bad == [n for n in range(count) if n in refused - blank]
    assert sum(bundle.receipt.signals for bundle in bundles) == len(taken)


@pytest.mark.parametrize(("naming", "posts"), [("all", 10), ("the first", 13), ("none", 67)])
def test_a_server_that_names_the_bad_ones_is_asked_less_often(naming: str, posts: int) -> None:
    server = Taking(frozenset({1, 500, 700, 998}), names=NAMING[naming])
    [bundle] = send_sifted(server.send, lines(1000), most=1000)
    assert [line.number for line, _ in bundle.refused] == [1, 500, 700, 998]
    assert server.posts == posts


@given(st.integers(0, 8), numbers)
def test_who_cannot_go_on_tells_what_was_stored(posts: int, refused: frozenset[int]) -> None:
    server = Taking(refused, breaks_after=posts)
    with pytest.raises(SendError) as caught:
        list(send_sifted(server.send, lines(100), most=10))
    assert caught.value.stored is not None
    assert caught.value.stored.signals == len(server.stored)


def test_what_a_client_stored_before_it_failed_is_not_sent_again() -> None:
    sent: list[list[str]] = []

    def send(*signals: Signal) -> Receipt:
        sent.append([signal.item for signal in signals])
        if len(signals) == 1:
            return Receipt(1, 1, 0, 3)
        error = InvalidSignals("refused")
        error.stored = Receipt(2, 2, 0, 2)
        raise error

    [bundle] = send_sifted(send, lines(4), most=10)
    assert sent == [["0", "1", "2", "3"], ["2"], ["3"]]
    assert bundle.receipt == Receipt(4, 4, 0, 3)


def test_nothing_is_read_ahead_of_what_is_sent() -> None:
    read: list[int] = []

    def found() -> Iterator[Line]:
        for line in lines(1000):
            read.append(line.number)
            yield line

    bundles = send_sifted(Taking().send, found(), most=10)
    next(bundles)
    assert len(read) == 11


def test_a_receipt_for_nothing_adds_nothing() -> None:
    nothing, some = Receipt(0, 0, 0), Receipt(2, 1, 1, 7)
    assert nothing + some == some + nothing == some
    assert some + Receipt(1, 1, 0, 9) == Receipt(3, 2, 1, 9)
    assert some + Receipt(1) == Receipt(3)
