"""Clients that read the log as it grows, and look whether they are shown all of it."""

import http.client
import re
import threading
import time

LIVE = "/api/v1/signals/live"
POSITION = re.compile(rb"^id: (\d+)$", re.MULTILINE)
READ_BYTES = 1 << 16
BEHIND_S_MAX, POLL_S = 120, 0.01


class Reader(threading.Thread):
    """One of them, from a position on until the server stops."""

    def __init__(self, port: int, token: str, after: int) -> None:
        super().__init__(daemon=True)
        self.after = self.last = after
        self.seen = self.backward = 0
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BEHIND_S_MAX)
        self._connection.request(
            "GET", f"{LIVE}?after={after}", headers={"Authorization": f"Bearer {token}"}
        )
        self._answer = self._connection.getresponse()
        self.start()

    def run(self) -> None:
        rest = b""
        while data := self._answer.read1(READ_BYTES):
            events, _, rest = (rest + data).rpartition(b"\n\n")
            for position in POSITION.findall(events):
                self._see(int(position))

    def _see(self, position: int) -> None:
        if position > self.last:
            self.seen += 1
            self.last = position
        else:
            self.backward += 1

    def faults(self, until: int) -> int:
        """How many positions it was not shown, or not in their order: the log has no gaps."""
        skipped = self.last - self.after - self.seen
        return skipped + self.backward + max(0, until - self.last)


def wait_for(readers: list[Reader], position: int) -> float:
    """How many seconds it takes until the last of them is there."""
    started = time.monotonic()
    while any(reader.last < position for reader in readers):
        if time.monotonic() - started > BEHIND_S_MAX:
            break
        time.sleep(POLL_S)
    return time.monotonic() - started
