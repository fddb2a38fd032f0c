"""A bare aiohttp client that posts given webhooks: what the deliverer's own HTTP client can do at most.

In a process of its own, as the deliverer is. Nothing is read, made, signed, checked or noted.
"""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import uvloop

from benchmarks.receiver import Arrival, url

USUAL: Final = {
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "cloudsignal/0.0.0",
}


def post_all(file: Path, arrivals: list[Arrival], port: int, at_once: int) -> None:
    """Have the same posted again to the same receivers, so many at each of them at once."""
    file.write_bytes(msgspec.msgpack.encode(arrivals))
    command = [sys.executable, "-m", "benchmarks.posting", str(file), str(port), str(at_once)]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[1])


async def post(arrivals: list[Arrival], port: int, at_once: int) -> None:
    places = sorted({each.endpoint for each in arrivals})
    connector = aiohttp.TCPConnector(limit=at_once * len(places), limit_per_host=at_once)
    async with (
        aiohttp.ClientSession(connector=connector, headers=USUAL) as session,
        asyncio.TaskGroup() as group,
    ):
        for place in places:
            its = iter([each for each in arrivals if each.endpoint == place])
            for _ in range(at_once):
                group.create_task(post_some(session, url(place, port), its))


async def post_some(session: aiohttp.ClientSession, place: str, posts: Iterator[Arrival]) -> None:
    # They share the one iterator: each takes the next one when it is free.
    for each in posts:
        async with session.post(place, data=each.body, headers=each.headers) as answer:
            await answer.read()


def main() -> None:
    file, port, at_once = sys.argv[1:]
    arrivals = msgspec.msgpack.decode(Path(file).read_bytes(), type=list[Arrival])
    uvloop.run(post(arrivals, int(port), int(at_once)))


if __name__ == "__main__":
    main()
