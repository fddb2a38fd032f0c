"""One client that asks one thing after the other: how soon each answer is there, and how many are not right."""

import http.client
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing

from benchmarks.places import Place
from benchmarks.rows import WARM_UP_S, Measurement
from benchmarks.servers import Server, serving

Ask = tuple[str, Callable[[int, bytes], bool]]
"""A path, and whether a status and a body are the right answer to it."""
FLAGS = ("--no-deliver",)


def measured(
    place: Place, seconds: int, headers: Mapping[str, str], asks: Callable[[], Callable[[], Ask]]
) -> tuple[Sequence[float], int, float]:
    """How long each answer took in seconds, how many were wrong, and the server's peak memory in MB.

    ``asks`` begins a round: what it gives is called for each thing to ask.
    """
    with serving("ours", place, None, FLAGS) as server:
        ask = asks()
        ask_on(server, headers, ask, WARM_UP_S)
        took_s, wrong = ask_on(server, headers, ask, seconds)
        return took_s, wrong, server.peak_rss_mb()


def measurement(took_s: Sequence[float], peak_rss_mb: float, **faults: int) -> Measurement:
    """What a row tells of it."""
    places = statistics.quantiles(took_s, n=100)
    return Measurement(
        p50_ms=places[49] * 1000, p99_ms=places[98] * 1000, peak_rss_mb=peak_rss_mb, **faults
    )


def ask_on(
    server: Server, headers: Mapping[str, str], ask: Callable[[], Ask], seconds: int
) -> tuple[list[float], int]:
    """How long each answer took, and how many were not right."""
    took_s: list[float] = []
    wrong = 0
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        end = time.perf_counter() + seconds
        while (started := time.perf_counter()) < end or len(took_s) < 2:
            path, is_right = ask()
            connection.request("GET", path, headers=dict(headers))
            answer = connection.getresponse()
            body = answer.read()
            took_s.append(time.perf_counter() - started)
            wrong += not is_right(answer.status, body)
    return took_s, wrong
