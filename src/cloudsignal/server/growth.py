"""Hears when another node appends to the log, so that those who follow it here are woken."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import closing
from typing import Final

from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store

_log: Final = logging.getLogger(__name__)

POLL_S: Final = 1.0
"""How often to look, and try to listen again, while nobody can be heard."""


REST_S: Final = 0.02
"""How long it hears nothing after it has heard something: on a busy store, one wakes for many commits."""


async def watch(store: Store, wanted: asyncio.Event, grown: Callable[[], None]) -> None:
    """Say whenever the log may have grown, while somebody wants to know, as long as the server runs.

    Within a moment of each commit of another node; while the connection that tells of them is gone,
    once in ``POLL_S``. While nobody wants to know nobody is told: waking a listener costs a small group
    a quarter of all its work.
    """
    while True:
        await wanted.wait()
        try:
            await _listen(store, wanted, grown)
            continue
        except StoreUnavailable:
            pass
        except Exception:
            # Whatever it was: without another try nobody here would be woken any more.
            _log.exception("defect: the log could not be listened to")
        grown()
        await asyncio.sleep(POLL_S)


async def _listen(store: Store, wanted: asyncio.Event, grown: Callable[[], None]) -> None:
    """Listen until there is something that nobody wants to know."""
    with closing(await asyncio.to_thread(store.listen)) as listening:
        # Asked once: a connection that is lost has none any more.
        number = listening.fileno()
        grown()  # Of what came before there was anyone to hear it.
        while True:
            await _readable(number)
            if not wanted.is_set():
                return
            if listening.heard():
                grown()
            await asyncio.sleep(REST_S)


async def _readable(number: int) -> None:
    """Wait until there is something to read."""
    loop, something = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(number, something.set)
    try:
        await something.wait()
    finally:
        loop.remove_reader(number)
