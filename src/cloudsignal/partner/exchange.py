"""Posts and what becomes of them: the core of both clients, without input or output.

It is a generator that asks for answers and for pauses, and returns a receipt. Whoever drives it
fetches the answers and keeps the pauses, with an event loop or without.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from datetime import datetime

from msgspec import Struct

from cloudsignal.partner import answers
from cloudsignal.partner.answers import Answer, Proof
from cloudsignal.partner.errors import InvalidSignals, NoAnswer, NotSent, SendError
from cloudsignal.partner.posts import Post
from cloudsignal.partner.receipts import Receipt
from cloudsignal.protocol import retry


class Pause(Struct, frozen=True):
    """Wait so many seconds."""

    seconds: float


class Manner(Struct, frozen=True, kw_only=True):
    """How posts are sent: how often each is tried, for how long one waits at most, and what a 200 has to hold."""

    tries: int
    wait_max_s: float
    proof: Proof
    now: Callable[[], datetime]
    chance: Callable[[], float]


Outcome = Answer | NoAnswer
Exchange = Generator[Post | Pause, Outcome | None, Receipt]


def exchange(posts: Iterable[Post], manner: Manner) -> Exchange:
    """Send posts one after the other; a bundle that is too large for the server in two halves.

    Yields a post, to be sent the Outcome, or a Pause, to be sent None. Raises SendError, which
    knows what was stored before.
    """
    waiting = deque(posts)
    stored = Receipt(0, 0, 0)
    while waiting:
        post = waiting.popleft()
        try:
            stored += yield from _insist(post, manner)
        except SendError as error:
            if not is_too_large(error, post):
                error.stored = stored
                raise
            waiting.extendleft(reversed(post.halves()))
    return stored


def is_too_large(error: SendError, post: Post) -> bool:
    """Whether the server would take the signals of a refused post in smaller bundles."""
    return (
        len(post.bodies) > 1
        and isinstance(error, InvalidSignals)
        and (error.status == 413 or error.type == "bundle_too_large")
    )


def _insist(post: Post, manner: Manner) -> Exchange:
    attempt = 0
    while True:
        outcome = yield post
        attempt += 1
        try:
            return judged(outcome, post, manner)
        except NotSent as error:
            asked_s = error.retry_after_s
            if attempt >= manner.tries or asked_s > manner.wait_max_s:
                raise
        yield Pause(retry.delay_s(attempt, jitter=manner.chance(), retry_after_s=asked_s))


def judged(outcome: Outcome | None, post: Post, manner: Manner) -> Receipt:
    """The receipt for a post. Raises SendError when its signals are not known to be stored."""
    if isinstance(outcome, NoAnswer):
        raise outcome
    assert outcome is not None
    return answers.read(outcome, signals=len(post.bodies), proof=manner.proof, now=manner.now())
