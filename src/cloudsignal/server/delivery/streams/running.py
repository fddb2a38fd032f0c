"""The streams that are set, each followed by itself."""

import asyncio
from collections.abc import Callable

from cloudsignal.server.delivery.streams.following import Following, Growth
from cloudsignal.server.delivery.streams.stream import Stream
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.store import Store


def streams_of(settings: Settings) -> list[Stream]:
    """The streams that are set. Nothing is connected yet.

    Raises SettingsError with a sentence if one of them cannot be as it is set.
    """
    found: list[Stream] = []
    if settings.nats_url:
        # Only now: its library is not everybody's.
        from cloudsignal.server.delivery.streams.nats import NatsStream

        found.append(NatsStream(settings))
    return found


async def run(settings: Settings, store: Store, growth: Callable[[], Growth]) -> None:
    """Publish every signal to each stream that is set, until cancelled; returns at once if none is.

    What ``growth`` makes waits until the log may have grown, or for so many seconds; what has come since it
    was last asked makes it return at once. To be run by one node at a time: should two overlap, for
    example because a lease has just passed to another, streams recognise most of what is repeated by
    its id, and the order stays. Raises SettingsError as ``streams_of`` does.
    """
    streams = streams_of(settings)
    async with asyncio.TaskGroup() as group:
        for stream in streams:
            group.create_task(Following(store, stream, growth()).run())
