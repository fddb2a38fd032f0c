"""Several server processes on one PostgreSQL store, on one port and on several."""

import contextlib
import http.client
import json
import os
import random
import signal as signals
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server.store.store import open_store
from tests import postgresql
from tests.acceptance.conftest import (
    ENDPOINT,
    JSON,
    MakeServer,
    Server,
    ask,
    eventually,
    fresh,
    run,
    signal,
)
from tests.server.test_api_live import following

CLIENTS = 4
CLIENT_TIMEOUT_S = 20.0
RETRY_S = 0.02
"""How long a client waits before it sends a post again: shorter than it is asked to, for the test."""
ROUNDS = {"newest": 10, "installed": 3}
SEED = 20160120


class Client(threading.Thread):
    """A print partner who sends each post until it is answered 200, to whichever node answers."""

    def __init__(self, nodes: list[Server], key: str, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._nodes = nodes
        self._key = key
        self._chance = chance
        self.acknowledged: list[str] = []
        self.refused: list[int] = []
        """The status of each answer that was not 200."""
        self.unanswered = 0
        self.wrong: object = None
        self.enough = threading.Event()

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                self._send(self._next())
        except Exception as error:
            self.wrong = error

    def _send(self, post: list[dict[str, Any]]) -> None:
        body = json.dumps({"apikey": self._key, "items": post}).encode()
        while not self.enough.is_set():
            node = self._chance.choice(self._nodes)
            try:
                with contextlib.closing(node.http(CLIENT_TIMEOUT_S)) as client:
                    answer = ask(client, "POST", ENDPOINT, body, JSON)
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
            else:
                if answer.status == 200:
                    assert answer.json["accepted"] + answer.json["duplicates"] == len(post)
                    self.acknowledged += [each["note"] for each in post]
                    return
                assert answer.status == 503, answer
                assert int(answer.headers["retry-after"]) >= 1
                self.refused.append(answer.status)
            time.sleep(RETRY_S)

    def _next(self) -> list[dict[str, Any]]:
        order = fresh("order")
        return [
            signal("ItemDelay", order=order, note=f"{order} {number}", message=str(number))
            for number in range(self._chance.choice([1, 1, 2, 10]))
        ]


class Load:
    """Clients who post until it ends, and keep account."""

    def __init__(self, nodes: list[Server], key: str, chance: random.Random) -> None:
        self.clients = [Client(nodes, key, random.Random(chance.random())) for _ in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for client in self.clients:
            client.start()
        self.goes_on()
        return self

    def __exit__(self, *error: object) -> None:
        for client in self.clients:
            client.enough.set()
        for client in self.clients:
            client.join(2 * CLIENT_TIMEOUT_S)
            assert not client.is_alive()
            assert client.wrong is None

    def goes_on(self, count: int = 20) -> None:
        """Wait until so many more signals are acknowledged."""
        before = len(self.acknowledged)
        eventually(lambda: len(self.acknowledged) >= before + count, "posts don't flow")

    @property
    def acknowledged(self) -> list[str]:
        return [note for client in self.clients for note in client.acknowledged]

    @property
    def refused(self) -> list[int]:
        return [status for client in self.clients for status in client.refused]


def logged(url: str) -> Counter[str]:
    """How often the signal of each note is in the log."""
    found: Counter[str] = Counter()
    after = 0
    with contextlib.closing(open_store(url)) as store:
        while page := store.reading.signals(after=after, limit=1000):
            assert after < page[0].position
            found.update(json.loads(each.body)["note"] for each in page)
            after = page[-1].position
        assert store.rebuild().differed == 0
    return found


def assert_all_there(url: str, load: Load) -> None:
    found = logged(url)
    assert set(load.acknowledged) <= found.keys()
    assert max(found.values()) == 1


# ---- several processes, several machines ----


def test_several_processes_on_one_port_are_one_server(
    make_server: MakeServer, postgresql_url: str
) -> None:
    server = make_server("--workers", "3", database=postgresql_url).start()
    key = server.interface()
    workers = server.children()
    assert len(workers) == 3

    with Load([server], key, random.Random(SEED)) as load:
        load.goes_on(200)

    assert_all_there(postgresql_url, load)
    assert load.refused == []
    posts = sum(client_posts(load))

    def counted() -> bool:
        text = server.request("GET", "/metrics").body.decode()
        accepted = text.partition('cloudsignal_posts_total{outcome="accepted"} ')[2].split()[0]
        return float(accepted) == posts

    eventually(counted, "the processes' figures are not summed")
    assert server.terminate() == 0, server.stderr
    assert not any(map(is_running, workers))


def client_posts(load: Load) -> list[int]:
    return [len({note.rpartition(" ")[0] for note in each.acknowledged}) for each in load.clients]


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_process_that_is_killed_is_replaced_and_its_figures_stay(
    make_server: MakeServer, postgresql_url: str
) -> None:
    server = make_server("--workers", "2", database=postgresql_url).start()
    key = server.interface()
    with Load([server], key, random.Random(SEED)) as load:
        load.goes_on()
        victim = server.children()[0]
        os.kill(victim, signals.SIGKILL)
        eventually(lambda: len(set(server.children()) - {victim}) == 2, "it is not replaced")
        load.goes_on(100)

    assert_all_there(postgresql_url, load)
    [line] = server.lines("a server process ended; it is started again")
    assert (line["pid"], line["code"]) == (victim, -signals.SIGKILL)


def test_all_processes_killed_at_once_are_replaced_and_the_server_ends_as_ever(
    make_server: MakeServer, postgresql_url: str
) -> None:
    server = make_server("--workers", "3", database=postgresql_url).start()
    key = server.interface()
    victims = server.children()
    for victim in victims:
        os.kill(victim, signals.SIGKILL)
    eventually(lambda: len(set(server.children()) - set(victims)) == 3, "they are not replaced")

    # What came in between has waited in the sockets.
    assert server.post({"apikey": key} | signal()).status == 200
    os.kill(server.children()[0], signals.SIGKILL)
    assert server.terminate() == 0, server.stderr


def test_a_process_that_cannot_serve_says_why_in_a_sentence(
    make_server: MakeServer, postgresql_url: str
) -> None:
    name = postgresql_url.rpartition("/")[2]
    role = f"few_{name}"
    postgresql.execute(postgresql_url, f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1")
    postgresql.execute(postgresql_url, f"ALTER DATABASE {name} OWNER TO {role}")
    url = postgresql_url.replace("//postgres", f"//{role}")
    try:
        server = make_server("--workers", "3", database=url)
        server.launch()
        assert server.wait() == 1
        assert "Traceback" not in server.stderr
        assert any("too many connections" in line["why"] for line in server.lines())
    finally:
        postgresql.execute(postgresql_url, f"ALTER DATABASE {name} OWNER TO postgres")
        postgresql.execute(postgresql_url, f"DROP OWNED BY {role}")
        postgresql.execute(postgresql_url, f"DROP ROLE {role}")


def test_processes_whose_parent_is_killed_end_by_themselves(
    make_server: MakeServer, postgresql_url: str
) -> None:
    server = make_server("--workers", "2", database=postgresql_url).start()
    processes = server.children()
    assert server.process is not None

    os.kill(server.process.pid, signals.SIGKILL)
    server.wait()

    eventually(lambda: not any(map(is_running, processes)), "they outlive their parent")


def test_more_than_one_process_on_sqlite_is_refused_with_a_sentence(tmp_path: Path) -> None:
    done = run("serve", "--workers", "2", "--database", f"sqlite:///{tmp_path}/a.db", code=1)

    assert "a store on SQLite is written by one process" in done.stderr
    assert not (tmp_path / "a.db").exists()


def test_nodes_without_a_secret_are_refused_with_a_sentence(postgresql_url: str) -> None:
    done = run("serve", "--port", "0", "--database", postgresql_url, code=1)

    assert "a secret that all of its nodes share" in done.stderr
    assert "CLOUDSIGNAL_SECRET_FILE" in done.stderr


def test_one_of_two_nodes_is_killed_and_the_other_goes_on(
    make_server: MakeServer, postgresql_url: str
) -> None:
    nodes = [make_server(database=postgresql_url).start() for _ in range(2)]
    key = nodes[0].interface()
    with Load(nodes, key, random.Random(SEED)) as load:
        load.goes_on()
        nodes[0].kill()
        load.goes_on(100)

    assert_all_there(postgresql_url, load)
    assert load.refused == []


def test_a_key_revoked_on_one_node_opens_nothing_on_another(
    make_server: MakeServer, postgresql_url: str
) -> None:
    one, other = (make_server(database=postgresql_url).start() for _ in range(2))
    key, number = one.numbered_interface()
    assert other.post({"apikey": key} | signal()).status == 200

    one.cli("interface", "revoke", str(number))

    # Within 5 seconds, of which the machine may take more than its share.
    eventually(lambda: other.post({"apikey": key} | signal()).status == 403)


def test_a_signal_taken_on_one_node_is_live_on_another(
    make_server: MakeServer, postgresql_url: str
) -> None:
    one, other = (make_server(database=postgresql_url).start() for _ in range(2))
    key = one.interface()
    waits: list[float] = []
    with following(other) as follower:
        follower.begin()
        for number in range(20):
            sent = time.monotonic()
            assert one.post({"apikey": key} | signal(item=str(number))).status == 200
            assert json.loads(follower.next()["data"])["item"] == str(number)
            waits.append(time.monotonic() - sent)

    # A follower looks by itself every 15 seconds only.
    assert max(waits) < 10
    assert sorted(waits)[len(waits) // 2] < 1


# ---- the database fails ----


@pytest.fixture
def new_database_server(postgresql_programs: str) -> Iterator[Callable[[], postgresql.Server]]:
    """Make a database server of one's own; it has no data yet."""
    made: list[postgresql.Server] = []

    def make() -> postgresql.Server:
        made.append(postgresql.Server(postgresql.binaries()[postgresql_programs]))
        return made[-1]

    yield make
    for each in made:
        each.remove()


NewDatabaseServer = Callable[[], postgresql.Server]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_primary_is_killed_again_and_again_and_nothing_acknowledged_is_lost(
    make_server: MakeServer, new_database_server: NewDatabaseServer, postgresql_programs: str
) -> None:
    primary = new_database_server().initialise().start()
    standby = new_database_server()
    hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
    # No target_session_attrs: the server finds the host that can be written to by itself.
    url = f"postgresql://postgres@{hosts}/postgres"
    node = make_server(database=url).start()
    key = node.interface()
    chance = random.Random(SEED)
    acknowledged = 0
    with Load([node], key, chance) as load:
        for _ in range(ROUNDS[postgresql_programs]):
            standby.follow(primary).start()
            primary.set("synchronous_standby_names", str(standby.port))
            is_synchronous = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"
            eventually(lambda p=primary, s=is_synchronous: p.execute(s), "there is no standby")
            load.goes_on(chance.randrange(1, 100))
            refused = len(load.refused)

            primary.stop(signals.SIGKILL)
            eventually(lambda r=refused: len(load.refused) > r, "nobody is told to wait")
            standby.set("synchronous_standby_names", "")
            standby.execute("SELECT pg_promote()")
            load.goes_on()

            primary, standby = standby, primary
            acknowledged = len(load.acknowledged)
    assert acknowledged > 20 * ROUNDS[postgresql_programs]
    assert_all_there(url, load)
    assert node.starts == 1
    assert node.terminate() == 0


def test_a_database_that_is_restarted_makes_posts_wait_and_no_more(
    make_server: MakeServer, new_database_server: NewDatabaseServer
) -> None:
    database = new_database_server().initialise().start()
    node = make_server(database=database.url()).start()
    key = node.interface()
    with Load([node], key, random.Random(SEED)) as load:
        load.goes_on()
        database.stop()
        eventually(lambda: load.refused, "nobody is told to wait")
        assert node.request("GET", "/readyz").status == 503
        database.start()
        load.goes_on()

    assert_all_there(database.url(), load)
    assert node.get("/api/v1/items").status == 200
    assert node.request("GET", "/readyz").status == 200


@pytest.mark.parametrize("how", ["pg_terminate_backend", "pg_cancel_backend"])
def test_a_commit_of_which_nobody_knows_is_503_and_its_retry_is_a_repeat(
    make_server: MakeServer, new_database_server: NewDatabaseServer, how: str
) -> None:
    """The commit waits for a standby that is not there, and then its connection is cut, or somebody
    tells it to wait no longer: it is on the primary's disk, and would be lost with the primary."""
    database = new_database_server().initialise().start()
    node = make_server(database=database.url()).start()
    key = node.interface()
    database.miss_standby()
    post = {"apikey": key} | signal()
    answers: list[Any] = []
    client = threading.Thread(target=lambda: answers.append(node.post(post)))
    client.start()
    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    [(pid,)] = eventually(lambda: database.execute(waiting), "no commit waits")

    database.execute(f"SELECT {how}({pid})")
    client.join()

    [answer] = answers
    assert (answer.status, answer.error["type"]) == (503, "unavailable")
    # Though it can be read here, a retry must not be told that it is safe.
    again = threading.Thread(target=lambda: answers.append(node.post(post)))
    again.start()
    [(pid,)] = eventually(lambda: database.execute(waiting), "the retry does not wait")
    database.execute(f"SELECT {how}({pid})")
    again.join()
    assert answers[1].status == 503
    database.set("synchronous_standby_names", "")
    again = eventually(lambda: retried(node, post), "the retry is not taken")
    assert again == {"accepted": 0, "duplicates": 1, "position": 1}


def retried(node: Server, post: Any) -> Any:
    answer = node.post(post)
    return answer.json if answer.status == 200 else None
