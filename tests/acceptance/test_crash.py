"""What is left after the power is cut: everything that was acknowledged, and no half of a bundle."""

import contextlib
import http.client
import json
import os
import random
import signal as signals
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.acceptance.conftest import (
    ENDPOINT,
    JSON,
    Answer,
    MakeServer,
    Server,
    ask,
    eventually,
    fresh,
    signal,
)

ROUNDS = 20
SEED = 20160120
CLIENTS = 6
BUNDLE = 25
LOAD_S = (0.05, 0.35)
"""How long the load goes on before the power is cut, at least and at most."""
CLIENT_TIMEOUT_S = 10.0

STEPS = ("ItemRegistered", "ItemProduce", "ItemProduced", "ItemDelay", "ItemPacked", "ItemShipped")


class Client(threading.Thread):
    """A print partner who posts until nobody answers any more, and keeps account."""

    def __init__(self, server: Server, key: str, chance: random.Random) -> None:
        super().__init__(daemon=True)
        self._server = server
        self._key = key
        self._chance = chance
        self.acknowledged: list[list[dict[str, Any]]] = []
        self.unanswered: list[dict[str, Any]] | None = None
        self.failed: Answer | None = None
        """The answer that was not 200, to the post that is unanswered."""

    def run(self) -> None:
        client = self._server.http(CLIENT_TIMEOUT_S)
        with contextlib.closing(client):
            while self.failed is None:
                post = self._next()
                self.unanswered = post
                try:
                    answer = ask(client, "POST", ENDPOINT, encoded(self._key, post), JSON)
                except (OSError, http.client.HTTPException):
                    return
                if answer.status == 200:
                    self.unanswered = None
                    self.acknowledged.append(post)
                else:
                    self.failed = answer

    def _next(self) -> list[dict[str, Any]]:
        """One signal, or several in a bundle, some of them about the same item."""
        order = fresh("order")
        count = self._chance.choice([1, 1, 2, BUNDLE])
        return [
            signal(self._chance.choice(STEPS), order=order, note=f"{order} {number}")
            | {"item": f"item {number % 5}", "datetime": f"2016-01-20T13:00:00.{number:06}Z"}
            for number in range(count)
        ]


def encoded(key: str, post: list[dict[str, Any]]) -> bytes:
    body = {"apikey": key} | (post[0] if len(post) == 1 else {"items": post})
    return json.dumps(body).encode()


@contextlib.contextmanager
def load(server: Server, key: str, chance: random.Random) -> Iterator[list[Client]]:
    """Clients who post while this lasts; at its end the server has to be gone."""
    clients = [Client(server, key, random.Random(chance.random())) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    try:
        eventually(lambda: any(client.acknowledged for client in clients), "there is no load")
        yield clients
    finally:
        for client in clients:
            client.join(2 * CLIENT_TIMEOUT_S)
            assert not client.is_alive()


def logged(server: Server, after: int) -> tuple[dict[str, int], int]:
    """How often the signal of each note is in the log beyond a position; and the last position."""
    found: dict[str, int] = {}
    with server.store() as store:
        while page := store.reading.signals(after=after, limit=1000):
            for each in page:
                note = json.loads(each.body)["note"]
                found[note] = found.get(note, 0) + 1
                assert each.position > after
                after = each.position
    return found, after


def test_twenty_power_cuts_under_load_lose_nothing_that_was_acknowledged(
    make_server: MakeServer,
) -> None:
    chance = random.Random(SEED)
    server = make_server()
    key, position, acknowledged, torn = "", 0, 0, 0
    for number in range(ROUNDS):
        server.start()
        key = key or server.interface()
        with load(server, key, chance) as clients:
            # Not waiting for anything: the moment is the point.
            time.sleep(chance.uniform(*LOAD_S))
            server.kill()
        found, position = logged(server, position)
        assert [client.failed for client in clients if client.failed] == []
        for client in clients:
            for post in client.acknowledged:
                acknowledged += 1
                assert [found.get(told["note"]) for told in post] == [1] * len(post)
            if client.unanswered:
                torn += 1
                there = [found.get(told["note"], 0) for told in client.unanswered]
                assert there in ([0] * len(there), [1] * len(there)), "half a bundle is there"
        if number % 5 == 0:
            with server.store() as store:
                assert store.rebuild().differed == 0, f"after cut {number}"
    assert acknowledged >= ROUNDS, "there was no load"
    assert torn > ROUNDS, "the power was never cut in the middle of a post"
    assert server.cli_json("rebuild")["differed"] == 0


def test_a_post_sent_again_after_a_power_cut_is_stored_once(make_server: MakeServer) -> None:
    chance = random.Random(SEED)
    server = make_server()
    unanswered: list[list[dict[str, Any]]] = []
    key = ""
    for _ in range(3):
        server.start()
        key = key or server.interface()
        with load(server, key, chance) as clients:
            time.sleep(chance.uniform(*LOAD_S))
            server.kill()
        unanswered += [client.unanswered for client in clients if client.unanswered]
    assert unanswered
    server.start()
    there, _ = logged(server, 0)
    for post in unanswered:
        before = sum(there.get(told["note"], 0) for told in post)
        answer = server.post(encoded(key, post))
        assert answer.status == 200
        assert answer.json["duplicates"] == before
        assert answer.json["accepted"] == len(post) - before
    found, _ = logged(server, 0)
    assert set(found.values()) == {1}


def test_the_server_goes_on_without_a_restart_when_its_writer_is_killed(
    make_server: MakeServer,
) -> None:
    server = make_server("--refused-lines-per-minute", "100000").start()
    key = server.interface()
    before = signal()
    assert server.post({"apikey": key} | before).status == 200
    for _ in range(3):
        writer = server.writer()
        os.kill(writer, signals.SIGKILL)
        told = signal()
        answers: list[Answer] = []

        def flows(told: dict[str, Any] = told, answers: list[Answer] = answers) -> bool:
            answers.append(server.post({"apikey": key} | told))
            return answers[-1].status == 200

        eventually(flows, "posts don't flow again")
        assert all(answer.status == 503 for answer in answers[:-1])
        assert {answer.error["type"] for answer in answers[:-1]} <= {"unavailable"}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in answers[:-1])
        assert server.writer() != writer
    assert server.item(before["order"], before["item"])["state"] == "registered"


@pytest.mark.parametrize("seed", range(3))
def test_a_writer_killed_under_load_loses_nothing_that_was_acknowledged(
    make_server: MakeServer, seed: int
) -> None:
    chance = random.Random(seed)
    server = make_server().start()
    key = server.interface()
    with load(server, key, chance) as clients:
        time.sleep(chance.uniform(*LOAD_S))
        os.kill(server.writer(), signals.SIGKILL)
        # Each client meets the gap, is told so, and stops.
        eventually(lambda: all(client.failed for client in clients))
    for client in clients:
        assert client.failed is not None
        assert client.failed.status == 503
        assert client.failed.error["type"] == "unavailable"
        assert int(client.failed.headers["retry-after"]) >= 1
    last = signal(note="after the gap")
    eventually(lambda: server.post({"apikey": key} | last).status == 200)
    there, _ = logged(server, 0)
    for client in clients:
        # A retry is safe, whether the writer had come to it or not.
        assert client.unanswered is not None
        before = sum(there.get(told["note"], 0) for told in client.unanswered)
        assert before in (0, len(client.unanswered)), "half a bundle is there"
        again = server.post(encoded(key, client.unanswered)).json
        wanted = (len(client.unanswered) - before, before)
        assert (again["accepted"], again["duplicates"]) == wanted
    found, _ = logged(server, 0)
    assert set(found.values()) == {1}
    posts = [post for client in clients for post in client.acknowledged]
    assert posts
    assert all(found.get(told["note"]) == 1 for post in posts for told in post)
    with server.store() as store:
        assert store.rebuild().differed == 0
    assert server.terminate() == 0
