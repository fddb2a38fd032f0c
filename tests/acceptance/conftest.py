"""The installed command, on a real port, with a real store on disk."""

import http.client
import itertools
import json
import os
import re
import signal as signals
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from cloudsignal.server import clock
from cloudsignal.server.keys import Keyring, new_apikey, new_token, secret_of
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.store import Store, open_store

COMMAND = str(Path(sys.executable).with_name("cloudsignal"))
ENDPOINT = "/cloudsignal/2.0/status/"
JSON = {"Content-Type": "application/json"}
DEADLINE_S = 60.0
"""How long anything may take on a machine that has much else to do."""
POLL_S = 0.02
DATETIME = "2016-01-20 13:00:00 GMT"
HOST = re.compile(r"http://\[?([^\]/]+?)\]?:(\d+)$")
SECRET = "shared by all nodes of a test"

_numbers = itertools.count(1)


def eventually(check: Callable[[], Any], what: str = "", deadline_s: float = DEADLINE_S) -> Any:
    """What ``check`` returns, once it is true."""
    end = time.monotonic() + deadline_s
    while not (found := check()):
        assert time.monotonic() < end, what or f"{check} did not come true in {deadline_s} s"
        time.sleep(POLL_S)
    return found


def fresh(name: str) -> str:
    """An id that no other test uses, in this process or another."""
    return f"{name}-{os.getpid()}-{next(_numbers)}"


def signal(type: str = "ItemRegistered", **fields: Any) -> dict[str, Any]:
    """A valid signal of that type about an item of its own; a field that is ... is left out."""
    body: dict[str, Any] = {
        "type": type,
        "order": fresh("order"),
        "item": fresh("item"),
        "datetime": DATETIME,
    }
    if type == "ItemShipped":
        body |= {"tracking": "1A2B3C4D5E6F", "shipping_option": "GLS"}
    return {name: value for name, value in (body | fields).items() if value is not ...}


class Answer(NamedTuple):
    """What a request was answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """The error of a refusal, which is always JSON of one shape."""
        assert self.headers["content-type"] == "application/json", self
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"type", "info", "details"}, self
        assert error["details"][0] | {"at": ""} == {"at": ""} | {
            name: error[name] for name in ("type", "info")
        }
        return error


def read_answer(connection: socket.socket, method: str = "POST") -> Answer:
    """The next answer on a connection; HTTPException or OSError when there is none."""
    response = http.client.HTTPResponse(connection, method=method)
    try:
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())
    finally:
        response.close()


class Server:
    """A server as an operator runs it, and what its operator and its clients do to it."""

    def __init__(
        self,
        folder: Path,
        *flags: str,
        environment: Mapping[str, str] | None = None,
        before: tuple[str, ...] = (),
        database: str = "",
    ) -> None:
        """``before`` are words of a command that runs the server's command.

        Without a ``database``, its URL, the server has one in its folder.
        """
        self.folder = folder
        self.path = folder / "cloudsignal.db"
        self.url = database or f"sqlite:///{self.path}"
        self.flags = flags
        self.before = before
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("CLOUDSIGNAL_")
        } | dict(environment or {})
        if database:
            self.environment["CLOUDSIGNAL_SECRET"] = SECRET
        self.process: subprocess.Popen[bytes] | None = None
        self.starts = 0
        self.address = ""
        self.host = ""
        self.port = 0
        self._partners: dict[str, Any] = {}
        self._token = ""

    # ---- its life ----

    def launch(self) -> None:
        """Start it, and don't wait until it listens."""
        assert self.process is None, "it runs already"
        self.starts += 1
        command = [*self.before, COMMAND, "serve", "--host", "127.0.0.1", "--port", "0"]
        command += ["--database", self.url, "--log-format", "json", *self.flags]
        with self._output("stdout").open("wb") as out, self._output("stderr").open("wb") as err:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=self.folder,
                env=self.environment,
                start_new_session=True,
            )

    def start(self) -> "Server":
        """Start it, and wait until it listens."""
        self.launch()
        return self.listen()

    def listen(self) -> "Server":
        """Wait until it listens."""
        self.address = eventually(self._listening, "the server does not say that it listens")
        self.host, port = HOST.fullmatch(self.address).groups()  # type: ignore[union-attr]
        self.port = int(port)
        return self

    def _listening(self) -> str | None:
        assert self.process is not None
        ended = self.process.poll()
        for line in self.lines("listening"):
            return str(line["address"])
        assert ended is None, f"the server ended with {ended}: {self.stderr}"
        return None

    def terminate(self, deadline_s: float = DEADLINE_S) -> int:
        """Ask it to end, and wait: its exit code."""
        assert self.process is not None
        self.process.send_signal(signals.SIGTERM)
        return self.wait(deadline_s)

    def wait(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait until it has ended: its exit code."""
        assert self.process is not None
        code = self.process.wait(deadline_s)
        self.process = None
        return code

    def kill(self) -> None:
        """End it as a power cut would, and wait until its writer's process has ended by itself."""
        assert self.process is not None
        children = self.children()
        self.process.kill()
        self.wait()
        eventually(
            lambda: not any(map(_is_running, children)), "the writer's process outlives the server"
        )

    def close(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.process is not None:
            # One that has ended by itself was reaped then, and its number may be another's by now.
            if self.process.poll() is None:
                os.killpg(self.process.pid, signals.SIGKILL)
            self.wait()

    def restart(self) -> None:
        """End it in order and start it again."""
        assert self.terminate() == 0, self.stderr
        self.start()

    def children(self) -> list[int]:
        """The processes it has started that still run."""
        assert self.process is not None
        return [
            int(entry.name)
            for entry in Path("/proc").iterdir()
            if entry.name.isdigit() and _parent(entry.name) == self.process.pid
        ]

    def writer(self) -> int:
        """The process that writes."""
        return self._child("cloudsignal.server.writer")

    def deliverer(self) -> int:
        """The process that tells order owners."""
        return self._child("cloudsignal.server.deliverer")

    def _child(self, module: str) -> int:
        def find() -> list[int]:
            return [pid for pid in self.children() if module in _words(pid)]

        (pid,) = eventually(find, f"there is no process of {module}")
        return int(pid)

    # ---- what it says ----

    def _output(self, name: str) -> Path:
        return self.folder / f"{name}-{self.starts}"

    @property
    def stderr(self) -> str:
        """What it said on standard error since it was started."""
        return self._output("stderr").read_text(encoding="utf-8")

    @property
    def stdout(self) -> str:
        """What it said on standard output since it was started."""
        return self._output("stdout").read_text(encoding="utf-8")

    def lines(self, event: str = "") -> list[dict[str, Any]]:
        """The complete lines of its log, those of one event if it is named."""
        found = []
        for line in self.stderr.splitlines(keepends=True):
            if line.startswith("{") and line.endswith("}\n"):
                found.append(json.loads(line))
        return [line for line in found if event in ("", line["event"])]

    # ---- its operator ----

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Its store, opened beside it."""
        store = open_store(self.url)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def access(self) -> Iterator[tuple[Any, Keyring]]:
        """Who may speak, and how keys are digested, as the command line does it."""
        with self.store() as store:
            secret = self.environment.get("CLOUDSIGNAL_SECRET", "")
            keyring = Keyring(secret_of(Settings(database=self.url, secret=secret)))
            keyring.check(store)
            yield store.access, keyring

    def interface(self, partner: str = "Printer", **options: Any) -> str:
        """A new interface of a print partner: its key."""
        return self.numbered_interface(partner, **options)[0]

    def numbered_interface(
        self,
        partner: str = "Printer",
        *,
        timezone: str = "UTC",
        allow: tuple[str, ...] = (),
        test: bool = False,
    ) -> tuple[str, int]:
        """A new interface of a print partner: its key and its number."""
        key = new_apikey()
        with self.access() as (access, keyring):
            if partner not in self._partners:
                self._partners[partner] = access.create_partner(partner, now=clock.now())
            made = access.create_interface(
                self._partners[partner],
                keyring.digest(key),
                timezone=timezone,
                allow=allow,
                test=test,
                now=clock.now(),
            )
        return key, made.id

    def token(self, role: str = "reader") -> str:
        """A new bearer token for the API."""
        made = new_token()
        with self.access() as (access, keyring):
            access.create_token(fresh("token"), role, keyring.digest(made), now=clock.now())
        return made

    def cli(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run the command on its store."""
        return run(*words, "--database", self.url, code=code, cwd=self.folder, env=self.environment)

    def cli_json(self, *words: str) -> Any:
        """What the command answers to a program."""
        return json.loads(self.cli(*words, "--json").stdout)

    # ---- its clients ----

    def connect(self, timeout_s: float = DEADLINE_S) -> socket.socket:
        """A connection to it."""
        return socket.create_connection((self.host, self.port), timeout=timeout_s)

    def http(self, timeout_s: float = DEADLINE_S) -> http.client.HTTPConnection:
        """A client that keeps its connection."""
        return http.client.HTTPConnection(self.host, self.port, timeout=timeout_s)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = DEADLINE_S,
    ) -> Answer:
        """One request on a connection of its own."""
        client = self.http(timeout_s)
        try:
            return ask(client, method, path, body, headers)
        finally:
            client.close()

    def post(
        self,
        body: Any,
        *,
        path: str = ENDPOINT,
        headers: Mapping[str, str] = JSON,
        timeout_s: float = DEADLINE_S,
    ) -> Answer:
        """Post a body, made JSON if it isn't bytes."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.request("POST", path, data, headers, timeout_s)

    def post_raw(
        self, data: bytes, *, method: str = "POST", timeout_s: float = DEADLINE_S
    ) -> Answer:
        """Send exactly these bytes, and read one answer."""
        with self.connect(timeout_s) as connection:
            connection.sendall(data)
            return read_answer(connection, method)

    def get(self, path: str, token: str | None = None) -> Answer:
        """Read something, as a reader of the API unless a token is given."""
        self._token = self._token or self.token()
        return self.request(
            "GET", path, headers={"Authorization": f"Bearer {token or self._token}"}
        )

    def queue(self) -> float:
        """How many signals are on their way to its disk."""
        text = self.request("GET", "/metrics").body.decode()
        return float(text.partition("\ncloudsignal_queue_signals ")[2].split()[0])

    def item(self, order: str, item: str) -> Any:
        """An item as the API shows it; None if there is none."""
        answer = self.get(f"/api/v1/items/{quote(order, safe='')}/{quote(item, safe='')}")
        assert answer.status in (200, 404), answer
        return answer.json if answer.status == 200 else None


def ask(
    client: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request on a client's connection."""
    client.request(method, path, body, dict(headers or {}))
    response = client.getresponse()
    found = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, found, response.read())


def run(*words: str, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the installed command, and expect an exit code."""
    done = subprocess.run(
        [COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        stdin=subprocess.DEVNULL,
        check=False,
        **options,
    )
    assert done.returncode == code, (done.stdout, done.stderr)
    return done


def _stat(pid: str) -> list[str]:
    try:
        # The name in brackets may hold blanks; what follows it does not.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ["X", "0"]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


def _parent(pid: str) -> int:
    state, parent = _stat(pid)[:2]
    return 0 if state in "XZ" else int(parent)


def _is_running(pid: int) -> bool:
    return _stat(str(pid))[0] not in "XZ"


MakeServer = Callable[..., Server]


@pytest.fixture(scope="module")
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server for all tests of a module, with the flags in its FLAGS."""
    made = Server(tmp_path_factory.mktemp("server"), *getattr(request.module, "FLAGS", ()))
    try:
        yield made.start()
    finally:
        made.close()


@pytest.fixture(scope="module")
def key(server: Server) -> str:
    """The key of an interface of the module's server."""
    return server.interface()


@pytest.fixture
def make_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MakeServer]:
    """Make a server of one's own, with the flags given; it is not started yet."""
    made: list[Server] = []

    def make(*flags: str, **options: Any) -> Server:
        made.append(Server(tmp_path_factory.mktemp("server"), *flags, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
