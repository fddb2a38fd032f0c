"""Hears when another node appends to the log, so that those who follow it here are woken."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store

_log: Final = logging.getLogger(__name__)

POLL_S: Final = 1.0
"""How often to look, and try to listen again, while nobody can be heard."""


async def watch(store: Store, grown: Callable[[], None]) -> None:
    """Say so whenever the log may have grown, for as long as the server runs.

    Within a moment of each commit of another node; while the connection that tells of them is gone,
    once in ``POLL_S``.
    """
    while True:
        try:
            await _listen(store, grown)
        except StoreUnavailable:
            pass
        except Exception:
            # Whatever it was: without another try nobody here would be woken any more.
            _log.exception("defect: the log could not be listened to")
        grown()
        await asyncio.sleep(POLL_S)


async def _listen(store: Store, grown: Callable[[], None]) -> None:
    listening = await asyncio.to_thread(store.listen)
    loop = asyncio.get_running_loop()
    something = asyncio.Event()
    # Asked once: a connection that is lost has none any more.
    number = listening.fileno()
    loop.add_reader(number, something.set)
    try:
        grown()  # Of what came before there was anyone to hear it.
        while True:
            await something.wait()
            something.clear()
            if listening.heard():
                grown()
    finally:
        loop.remove_reader(number)
        listening.close()
