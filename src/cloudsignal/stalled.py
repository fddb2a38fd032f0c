"""Hangs up on clients that stall, whatever listens: with uvicorn's connections, of either parser."""

import asyncio
from typing import Any


async def close_stalled(connections: set[Any], timeout_s: float) -> None:
    """Hang up on clients that began a request and don't go on, for as long as the server runs.

    Looks at all connections once in ``timeout_s``, and closes those found in the middle of the same
    request twice: nothing has to be counted for each request.
    """
    before: dict[Any, Any] = {}
    while True:
        await asyncio.sleep(timeout_s)
        sending = {each: each.cycle for each in connections if _is_sending(each)}
        for connection, cycle in sending.items():
            if connection in before and before[connection] is cycle:
                connection.transport.close()
        before = sending


def _is_sending(connection: Any) -> bool:
    """Whether the client has a request to finish (or to begin, on a new connection)."""
    if connection.timeout_keep_alive_task is not None:
        return False
    cycle = connection.cycle
    return cycle is None or cycle.response_complete or bool(cycle.more_body)
