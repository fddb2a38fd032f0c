"""A simulation from its plan to its result."""

import asyncio
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from msgspec import Struct

from cloudsignal.simulator.comparison import Comparison, compare
from cloudsignal.simulator.fleet import Fleet, MakeClient
from cloudsignal.simulator.ledger import Ledger
from cloudsignal.simulator.pace import Driving
from cloudsignal.simulator.plan import Plan
from cloudsignal.simulator.reader import Reader, ReadFailed

CLOCK_SLACK: Final = timedelta(hours=1)
"""By how much the server's clock may be behind ours before items have to be asked for one by one."""

FIRST_POSTS: Final = 20
"""The beginning of a plan, of which something is stored wherever it was sent before."""


class Result(Struct, frozen=True):
    """How it went; ``comparison`` is None where nothing was compared, because of ``unread`` if that was wanted."""

    seconds: float
    was_stopped: bool
    comparison: Comparison | None
    unread: str = ""


async def run(
    plan: Plan,
    make_client: MakeClient,
    driving: Driving,
    *,
    ledger: Ledger,
    reader: Reader | None,
    stop: asyncio.Event,
    started: datetime,
) -> Result:
    """Send what is planned, then compare what the server holds, if there is a reader for it.

    The ledger shows how it goes meanwhile; ``stop`` ends the sending early, ``started`` is what time it is. Raises ReadFailed: before anything
    is sent, when the reader's token is of no use.
    """
    since = (started - CLOCK_SLACK).isoformat()
    is_new = reader is not None and not await _is_known(plan, reader)
    began = driving.now()
    fleet = Fleet(plan.partners, make_client, ledger, driving, stop)
    await fleet.send(plan.posts(until=driving.until))
    seconds = driving.now() - began
    was_stopped = stop.is_set()
    if reader is None:
        return Result(seconds, was_stopped, None)
    try:
        comparison = await compare(ledger, reader, since=since, is_new=is_new)
    except ReadFailed as error:
        return Result(seconds, was_stopped, None, str(error))
    return Result(seconds, was_stopped, comparison)


async def _is_known(plan: Plan, reader: Reader) -> bool:
    """Whether the server knows something of the plan before it is sent.

    Who ended an earlier run has sent its first posts, and these are hardly about the first orders.
    """
    posts = islice(plan.posts(), FIRST_POSTS)
    for order in dict.fromkeys(told.life.order for post in posts for told in post.told):
        if await reader.knows_order(order):
            return True
    return False
