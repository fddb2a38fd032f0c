"""Real servers of NATS for tests: in folders of their own, on free ports."""

import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.postgresql import free_port

PROGRAM = Path(sys.executable).with_name("nats-server")
START_S = 30.0
POLL_S = 0.01


class Server:
    """A server of one's own: to start, kill and start again, on the same port with the same data."""

    def __init__(self, folder: Path, *flags: object, config: str = "", jetstream: bool = True):
        """``config`` is what its file of settings says beside the flags."""
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config").write_text(config)
        self._flags = [*flags, *(("-js", "-sd", folder / "data") if jetstream else ())]

    def start(self) -> "Server":
        """Start it, and wait until it listens."""
        self.launch()
        self.listen()
        return self

    def launch(self) -> None:
        """Start it, and don't wait."""
        assert self.process is None
        words = [PROGRAM, "-c", self.folder / "config", "-a", "127.0.0.1", "-p", self.port]
        with (self.folder / "log").open("ab") as log:
            command = list(map(str, [*words, *self._flags]))
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def listen(self) -> None:
        """Wait until it listens."""
        process = self.process
        assert process is not None
        end = time.monotonic() + START_S
        while not self._greets():
            assert process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(POLL_S)

    def _greets(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                return connection.recv(4) == b"INFO"
        except OSError:
            return False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"nats://{self.address}"

    def log(self) -> str:
        """What it said on its log."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """End it, as a crash by default."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None


Make = Callable[..., Server]
"""Makes a server, which is not started; it takes what Server takes, without the folder."""


@contextmanager
def servers() -> Iterator[Make]:
    """Makes servers; none of them is left behind."""
    folder = Path(tempfile.mkdtemp(prefix="cloudsignal-nats-"))
    made: list[Server] = []

    def make(*flags: object, config: str = "", jetstream: bool = True) -> Server:
        place = folder / str(len(made))
        made.append(Server(place, *flags, config=config, jetstream=jetstream))
        return made[-1]

    try:
        yield make
    finally:
        for server in made:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)


def cluster(make: Make, size: int = 3) -> Sequence[Server]:
    """Servers that form one NATS, started."""
    ports = [free_port() for _ in range(size)]
    routes = ",".join(f"nats://127.0.0.1:{port}" for port in ports)
    formed = []
    for number, port in enumerate(ports):
        own = ("--cluster_name", "tests", "--cluster", f"nats://127.0.0.1:{port}")
        formed.append(make("--name", f"server-{number}", *own, "--routes", routes))
    for server in formed:
        server.launch()
    for server in formed:
        server.listen()
    return formed
