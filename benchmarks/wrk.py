"""Runs wrk with posts.lua and reads what it found."""

import json
import math
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks import workload

SCRIPT = Path(__file__).with_name("posts.lua")
PATH = "/cloudsignal/2.0/status/"
STEPS = len(workload.TYPES)


class WrkFailedError(Exception):
    """It did not run to its end."""


@dataclass(frozen=True)
class Load:
    """One kind of load: how many connections, and how many signals in each post.

    Several generators, each a wrk of its own, share the connections.
    """

    connections: int
    bundle: int = 1
    generators: int = 1


@dataclass(frozen=True)
class Posts:
    """Which signals: those of an interface, from a slot of the workload on."""

    apikey: str
    first_item: int
    first_slot: int
    lanes: int = 1

    def lane(self, number: int, lanes: int) -> "Posts":
        """One generator's part: every so manieth tick, and by that whole items (workload.py)."""
        first_tick = math.ceil(self.first_slot / STEPS)
        tick = first_tick + (number - first_tick) % lanes
        return replace(self, first_slot=tick * STEPS, lanes=lanes)


@dataclass(frozen=True)
class Outcome:
    posts_per_s: float
    posts: int
    p50_ms: float
    p99_ms: float
    next_slot: int
    errors: int


def require_wrk() -> str:
    found = shutil.which("wrk")
    if found is None:
        sys.exit("The benchmark needs wrk on PATH: `apt install wrk` on Debian and Ubuntu.")
    return found


def run_load(ports: list[int], load: Load, seconds: int, posts: Posts) -> Outcome:
    """Every generator at once, on the servers in turn."""
    running = [
        start_wrk(ports[number % len(ports)], load, seconds, posts.lane(number, load.generators))
        for number in range(load.generators)
    ]
    return together([outcome(process) for process in running])


def start_wrk(port: int, load: Load, seconds: int, posts: Posts) -> "subprocess.Popen[str]":
    # One thread: it makes several times what any server here takes, and two would only
    # fight with the server for the second core.
    connections = load.connections // load.generators
    command = [require_wrk(), "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}{PATH}", "--", posts.apikey]
    numbers = (posts.first_item, posts.first_slot, posts.lanes, workload.WINDOW, load.bundle)
    command += [str(number) for number in numbers]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def outcome(process: "subprocess.Popen[str]") -> Outcome:
    printed, complaints = process.communicate()
    if process.returncode != 0:
        raise WrkFailedError(complaints or printed)
    found = json.loads(printed.strip().splitlines()[-1])
    return Outcome(
        posts_per_s=found["posts"] / found["duration_us"] * 1e6,
        posts=found["posts"],
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        next_slot=found["next_slot"],
        errors=found["refused"] + found["broken"],
    )


def together(outcomes: list[Outcome]) -> Outcome:
    """Rates added; of latencies the worst."""
    return Outcome(
        posts_per_s=sum(one.posts_per_s for one in outcomes),
        posts=sum(one.posts for one in outcomes),
        p50_ms=max(one.p50_ms for one in outcomes),
        p99_ms=max(one.p99_ms for one in outcomes),
        next_slot=max(one.next_slot for one in outcomes),
        errors=sum(one.errors for one in outcomes),
    )
