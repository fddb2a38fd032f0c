"""Runs wrk with posts.lua and reads what it found."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks import workload

SCRIPT = Path(__file__).with_name("posts.lua")
PATH = "/cloudsignal/2.0/status/"


@dataclass(frozen=True)
class Load:
    """One kind of load: how many connections, and how many signals in each post."""

    connections: int
    bundle: int = 1


@dataclass(frozen=True)
class Posts:
    """Which signals: those of an interface, from a slot of the workload on."""

    apikey: str
    first_item: int
    first_slot: int


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


def run_wrk(port: int, load: Load, seconds: int, posts: Posts) -> Outcome:
    # One thread: it makes several times what any server here takes, and two would only
    # fight with the server for the second core.
    command = [require_wrk(), "-t1", f"-c{load.connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(SCRIPT), f"http://127.0.0.1:{port}{PATH}", "--", posts.apikey]
    numbers = (posts.first_item, posts.first_slot, workload.WINDOW, load.bundle)
    command += [str(number) for number in numbers]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return Outcome(
        posts_per_s=found["posts"] / found["duration_us"] * 1e6,
        posts=found["posts"],
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        next_slot=found["next_slot"],
        errors=found["refused"] + found["broken"],
    )
