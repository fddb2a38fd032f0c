"""Starts what is measured, posts to it once, and reads its memory from /proc."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.places import Place
from benchmarks.wrk import PATH

CLOUDSIGNAL = Path(sys.executable).with_name("cloudsignal")
PEERS = Path(__file__).with_name("peers")

# The settings cloudsignal serves with, so that rows differ in nothing but the application.
UVICORN = ["--http", "httptools", "--loop", "uvloop", "--no-proxy-headers", "--no-date-header"]
UVICORN += ["--no-server-header", "--no-access-log", "--log-level", "warning"]

START_S_MAX, STOP_S_MAX, POLL_S = 30, 30, 0.002

# Owners are told at loopback, which is neither public nor encrypted.
TELL = ("--webhook-http", "--webhook-networks", "127.0.0.0/8")

USUAL_APIKEY = "13b37bb1ed6d3403e158abe719b4f6d0"
USUAL_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}

# What keys are digested with; on PostgreSQL there is no file beside the store to make one in.
SECRET = {"CLOUDSIGNAL_SECRET": "a secret of the benchmark"}


class ServerFailedError(Exception):
    """The server did not start, or did not answer as it should."""


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    port: int
    first_200_s: float

    def post(self, body: bytes) -> dict[str, Any]:
        return post(self.port, body)

    def peak_rss_mb(self) -> float:
        return sum(rss_mb(pid, "VmHWM:") for pid in family(self.process.pid))

    def rss_mb(self) -> float:
        return sum(rss_mb(pid, "VmRSS:") for pid in family(self.process.pid))


def ours(place: Place, port: int) -> tuple[list[str], dict[str, str]]:
    listen = ["--host", "127.0.0.1", "--port", str(port)]
    return [str(CLOUDSIGNAL), "serve", *listen, "--database", place.url], SECRET


def empty(_place: Place, port: int) -> tuple[list[str], dict[str, str]]:
    return uvicorn("empty:app", port), {}


def usual(place: Place, port: int) -> tuple[list[str], dict[str, str]]:
    scheme, separator, rest = place.url.partition("://")
    url = USUAL_DRIVERS[scheme] + separator + rest
    return uvicorn("usual:app", port), {"USUAL_DATABASE": url, "USUAL_APIKEY": USUAL_APIKEY}


KINDS = {"ours": ours, "empty": empty, "usual": usual}


def uvicorn(app: str, port: int) -> list[str]:
    place = ["--app-dir", str(PEERS), "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "uvicorn", app, *place, *UVICORN]


@contextmanager
def serving(
    kind: str, place: Place, first_body: bytes | None, flags: Sequence[str] = ()
) -> Iterator[Server]:
    """A running server that has answered 200 once: to `first_body`, or else to GET /readyz."""
    port = free_port()
    command, environment = KINDS[kind](place, port)
    command += flags
    log_file = place.folder / f"server-{port}.log"
    with log_file.open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            command, env=clean_environment() | environment, cwd=place.folder, stdout=log, stderr=log
        )
        try:
            wait_for_200(process, port, first_body, log_file)
            yield Server(process, port, time.perf_counter() - started)
        finally:
            stop(process)


def clean_environment() -> dict[str, str]:
    """Without what the shell may have set for another CloudSignal server."""
    return {name: text for name, text in os.environ.items() if not name.startswith("CLOUDSIGNAL_")}


def wait_for_200(
    process: subprocess.Popen[bytes], port: int, body: bytes | None, log_file: Path
) -> None:
    deadline = time.monotonic() + START_S_MAX
    last: Exception | None = None
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if body is None:
                get_ready(port)
            else:
                post(port, body)
        except (OSError, http.client.HTTPException, ServerFailedError) as error:
            last = error
            time.sleep(POLL_S)
        else:
            return
    log = log_file.read_text(errors="replace")[-2000:]
    raise ServerFailedError(f"no 200 from {process.args!r} ({last}). Its log ends:\n{log}")


def post(port: int, body: bytes) -> dict[str, Any]:
    return request(port, "POST", PATH, body)


def get_ready(port: int) -> None:
    request(port, "GET", "/readyz", None)


def request(port: int, method: str, path: str, body: bytes | None) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ServerFailedError(f"{answer.status} {text[:300]!r}")
    found = json.loads(text)
    return found if isinstance(found, dict) else {}


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S_MAX)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += family(int(child))
    return found


def rss_mb(pid: int, line_name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(line_name):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def run_cloudsignal(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [CLOUDSIGNAL, *words, "--json"],
        check=False,
        env=clean_environment() | SECRET,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise ServerFailedError(f"cloudsignal {' '.join(words[:2])}: {done.stderr or done.stdout}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
