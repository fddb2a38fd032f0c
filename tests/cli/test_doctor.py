"""``cloudsignal doctor``, at a real server."""

import json

import pytest

from tests.acceptance.conftest import Server
from tests.acceptance.conftest import key as key
from tests.acceptance.conftest import server as server
from tests.cli.conftest import Run


def test_it_tells_people_and_programs(
    run: Run, server: Server, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSIGNAL_BASE_URL", server.address)
    monkeypatch.setenv("CLOUDSIGNAL_APIKEY", key)
    ran = run("doctor")
    assert ran.code == 0, ran
    assert [line.split()[:2] for line in ran.out.splitlines()] == [
        ["ok", "address"],
        ["ok", "server"],
        ["ok", "key"],
        ["ok", "clock"],
    ]
    assert "a CloudSignal server, answers within" in ran.out
    assert "agrees with the server's" in ran.out
    server.restart()  # What was counted last is written when a server ends.
    with server.store() as store:
        assert {each.posts for each in store.posts.of_interfaces(0).values()} == {0}
        assert store.posts.of_strangers(0) == {}
        assert store.posts.refused(limit=9) == []
    monkeypatch.setenv("CLOUDSIGNAL_BASE_URL", server.address)
    monkeypatch.setenv("CLOUDSIGNAL_APIKEY", "f" * 32)
    ran = run("doctor", "--json")
    assert ran.code == 1
    assert ran.err == "cloudsignal: not as it should be: key\n"
    assert '"what": "key"' in ran.out
    with server.store() as store:
        assert store.reading.last_position() == 0


def test_without_a_key_the_rest_is_looked_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLOUDSIGNAL_APIKEY", raising=False)
    monkeypatch.delenv("CLOUDSIGNAL_APIKEY_FILE", raising=False)
    words = ["doctor", "--base-url", "http://127.0.0.1:1", "--outbox", "new.outbox"]
    ran = run(*words)
    assert (ran.code, ran.err) == (1, "cloudsignal: not as it should be: setup\n")
    setup, outbox = ran.out.splitlines()
    assert setup.startswith("FAIL  setup    there is no apikey: set CLOUDSIGNAL_APIKEY")
    assert outbox.startswith("ok    outbox ")
    assert [each["what"] for each in json.loads(run(*words, "--json").out)] == ["setup", "outbox"]
