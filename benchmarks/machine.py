"""What the figures were made on, in a few lines."""

import os
import platform
import sqlite3
import statistics
import time
from importlib.metadata import version
from pathlib import Path

BLOCK_BYTES, WRITES = 4096, 300
PACKAGES = ("uvicorn", "uvloop", "httptools", "msgspec", "sqlalchemy")


def describe(folder: Path) -> dict[str, str]:
    return {
        "processor": f"{processor()}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "python": f"{platform.python_version()}, SQLite {sqlite3.sqlite_version}",
        "packages": ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "fsync": f"{fsync_us(folder):.0f} µs for 4 KiB appended (median of {WRITES})",
    }


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def fsync_us(folder: Path) -> float:
    """How long this disk takes until an append is durable: what every commit waits for."""
    path = folder / "fsync"
    file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    times = []
    for _ in range(WRITES):
        started = time.perf_counter()
        os.write(file, b"x" * BLOCK_BYTES)
        os.fdatasync(file)
        times.append(time.perf_counter() - started)
    os.close(file)
    path.unlink()
    return statistics.median(times) * 1e6
