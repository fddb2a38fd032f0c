"""Connections: who stalls is hung up on, and answers go out in one piece."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from cloudsignal.server.connections import _Joined, close_stalled

pytestmark = pytest.mark.anyio


class Cycle:
    """One request, as far as uvicorn knows it."""

    def __init__(self, *, more_body: bool = False, response_complete: bool = False) -> None:
        self.more_body = more_body
        self.response_complete = response_complete


class Peer:
    """A connection, as far as uvicorn knows it."""

    def __init__(self) -> None:
        self.cycle: Cycle | None = None
        self.timeout_keep_alive_task: object | None = None
        self.transport = self
        self.closed = 0

    def close(self) -> None:
        self.closed += 1

    def silent(self) -> None:
        """Connected, and nothing came."""

    def sends_body(self) -> None:
        self.cycle, self.timeout_keep_alive_task = Cycle(more_body=True), None

    def goes_on(self) -> None:
        """Another piece of the same body."""

    def waits(self) -> None:
        """The whole request is there; the answer is not."""
        self.cycle, self.timeout_keep_alive_task = Cycle(), None

    def idles(self) -> None:
        """Answered, and waiting for the next request."""
        self.cycle, self.timeout_keep_alive_task = Cycle(response_complete=True), object()

    def begins_next(self) -> None:
        """Answered, and the first bytes of the next request's head came."""
        self.cycle, self.timeout_keep_alive_task = Cycle(response_complete=True), None


class Over(Exception):
    """There is nothing left to look at."""


class Looks:
    """The connections at each look; before it, what happened since the last."""

    def __init__(self, peers: Iterable[Peer], happenings: Iterable[Callable[[], None]]) -> None:
        self._peers = set(peers)
        self._happenings = iter(happenings)

    def __iter__(self) -> Iterator[Peer]:
        happening = next(self._happenings, None)
        if happening is None:
            raise Over
        happening()
        return iter(self._peers)


@pytest.mark.parametrize(
    ("happenings", "closed"),
    [
        ([Peer.silent], False),
        ([Peer.silent, Peer.silent], True),
        ([Peer.silent, Peer.sends_body], False),
        ([Peer.silent, Peer.idles, Peer.silent], False),
        ([Peer.sends_body, Peer.goes_on], True),
        ([Peer.sends_body, Peer.sends_body, Peer.sends_body], False),
        ([Peer.sends_body, Peer.waits, Peer.sends_body], False),
        ([Peer.waits, Peer.silent, Peer.silent], False),
        ([Peer.idles, Peer.silent, Peer.silent], False),
        ([Peer.idles, Peer.begins_next, Peer.silent], True),
        ([Peer.idles, Peer.begins_next, Peer.waits, Peer.silent], False),
    ],
    ids=lambda each: "-".join(step.__name__ for step in each) if isinstance(each, list) else "",
)
async def test_who_is_in_the_middle_of_the_same_request_at_two_looks_is_hung_up_on(
    happenings: list[Callable[[Peer], None]], closed: bool
) -> None:
    peer, other = Peer(), Peer()
    other.idles()
    looks = Looks([peer, other], [lambda step=step: step(peer) for step in happenings])

    with pytest.raises(Over):
        await close_stalled(looks, 0)  # type: ignore[arg-type]

    assert bool(peer.closed) is closed
    assert not other.closed


async def test_a_connection_that_went_away_is_forgotten() -> None:
    peer, late = Peer(), Peer()
    peers = {peer}

    class Changing(Looks):
        def __iter__(self) -> Iterator[Peer]:
            self._peers = peers
            return super().__iter__()

    looks = Changing([], [peer.silent, lambda: peers.symmetric_difference_update({peer, late})])

    with pytest.raises(Over):
        await close_stalled(looks, 0)  # type: ignore[arg-type]

    assert not peer.closed
    assert not late.closed


class Wire:
    """A transport that keeps what goes out."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def close(self) -> None:
        self.sent.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.sent


async def test_what_is_written_in_one_moment_goes_out_together_and_in_order() -> None:
    wire = Wire()
    joined = _Joined(wire, asyncio.get_running_loop())  # type: ignore[arg-type]

    joined.write(b"head")
    joined.write(b"body")
    assert wire.sent == []
    await asyncio.sleep(0)
    joined.write(b"next")
    await asyncio.sleep(0)

    assert wire.sent == [b"headbody", b"next"]


async def test_closing_sends_what_was_written_first_and_once() -> None:
    wire = Wire()
    joined = _Joined(wire, asyncio.get_running_loop())  # type: ignore[arg-type]

    joined.write(b"answer")
    joined.close()
    await asyncio.sleep(0)

    assert wire.sent == [b"answer", "closed"]
    assert joined.is_closing()
