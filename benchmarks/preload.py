"""Fills a store through the product itself: bundles over HTTP, on a few connections."""

import asyncio
from collections.abc import Callable, Iterator

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.wrk import PATH

Posts = Iterator[tuple[int, bytes]]
Advance = Callable[[int], None]


class PreloadRefusedError(Exception):
    """A bundle was not accepted."""


def preload(port: int, posts: Posts, signals: int, title: str, connections: int) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), transient=True) as progress:
        task = progress.add_task(title, total=signals)
        asyncio.run(post_all(port, posts, connections, lambda count: progress.advance(task, count)))


async def post_all(port: int, posts: Posts, connections: int, advance: Advance) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(post_some(port, posts, advance))


async def post_some(port: int, posts: Posts, advance: Advance) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    # The connections share the one iterator: each takes the next post when it is free.
    for count, body in posts:
        if count:
            writer.write(head(len(body)) + body)
            await writer.drain()
            await read_answer(reader)
            advance(count)
    writer.close()


def head(length: int) -> bytes:
    return (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


async def read_answer(reader: asyncio.StreamReader) -> None:
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
    fields = dict(line.split(":", 1) for line in lines[1:] if line)
    body = await reader.readexactly(int(fields["content-length"]))
    if lines[0].split()[1] != "200":
        raise PreloadRefusedError(f"{lines[0]} {body[:300]!r}")
