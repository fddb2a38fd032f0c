"""What an operator sees of the server, and what it refuses to start with."""

import concurrent.futures
import re
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import (
    DEADLINE_S,
    ENDPOINT,
    MakeServer,
    Server,
    eventually,
    run,
    signal,
)

UNKNOWN_KEY = "0" * 32
STARTS = 4
"""How often programs are started on a new store at once."""


# ---- health --------------------------------------------------------------------------------------


def test_healthz_and_readyz_answer_anyone(server: Server, key: str) -> None:
    position = server.post({"apikey": key} | signal()).json["position"]
    assert server.request("GET", "/healthz").json == {"status": "ok"}
    ready = server.request("GET", "/readyz")
    assert (ready.status, ready.json) == (200, {"status": "ready", "position": position})
    assert ready.headers["cache-control"] == "no-store"
    assert server.request("HEAD", "/healthz").status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_health_is_only_read(server: Server, path: str) -> None:
    answer = server.request("POST", path, b"{}")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_readyz_tells_that_the_store_is_away_and_healthz_does_not_mind(
    make_server: MakeServer,
) -> None:
    server = make_server().start()
    assert server.request("GET", "/readyz").status == 200
    away = server.path.rename(server.path.with_name("away"))
    assert server.request("GET", "/readyz").status == 503
    assert server.request("GET", "/healthz").status == 200
    away.rename(server.path)
    assert server.request("GET", "/readyz").status == 200


# ---- metrics -------------------------------------------------------------------------------------


def figures(server: Server) -> dict[str, float]:
    """What /metrics tells, by name and labels."""
    answer = server.request("GET", "/metrics")
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line.rpartition(" ") for line in answer.body.decode().splitlines()]
    return {name: float(value) for name, _, value in lines if not name.startswith("#")}


def test_metrics_count_posts_signals_and_groups(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    told = signal()
    last = {}
    for body in (
        {"apikey": key} | told,
        {"apikey": key} | told,
        {"apikey": key, "items": [signal("ItemShipped") for _ in range(3)]},
        {"apikey": UNKNOWN_KEY} | signal(),
        {"apikey": key} | signal(datetime="never"),
        {"apikey": key} | signal(datetime="never"),
    ):
        last = server.post(body).json.get("position", last)
    found = figures(server)
    assert found['cloudsignal_posts_total{outcome="accepted"}'] == 3
    assert found['cloudsignal_posts_total{outcome="unknown_key"}'] == 1
    assert found['cloudsignal_posts_total{outcome="invalid_datetime"}'] == 2
    assert found['cloudsignal_signals_total{type="ItemRegistered"}'] == 2
    assert found['cloudsignal_signals_total{type="ItemShipped"}'] == 3
    assert found["cloudsignal_repeated_signals_total"] == 1
    assert found["cloudsignal_group_signals_count"] == 3
    assert found["cloudsignal_group_signals_sum"] == 5
    assert found['cloudsignal_group_signals_bucket{le="1.0"}'] == 2
    assert found["cloudsignal_commit_seconds_count"] == 3
    assert found["cloudsignal_commit_seconds_sum"] > 0
    assert found["cloudsignal_queue_signals"] == 0
    assert found["cloudsignal_log_position"] == last


def test_metrics_are_read_from_elsewhere_with_a_token_only(make_server: MakeServer) -> None:
    server = make_server("--metrics-allow", "192.0.2.1").start()
    answer = server.request("GET", "/metrics")
    assert answer.status == 401
    assert "cloudsignal_" not in answer.body.decode()
    for wrong in ("cst_" + UNKNOWN_KEY, server.interface(), "x"):
        headers = {"Authorization": f"Bearer {wrong}"}
        assert server.request("GET", "/metrics", headers=headers).status == 401
    headers = {"Authorization": f"Bearer {server.token()}"}
    assert server.request("GET", "/metrics", headers=headers).status == 200


# ---- logs ----------------------------------------------------------------------------------------


def test_there_is_a_log_line_for_each_refused_post_and_none_for_accepted_ones(
    make_server: MakeServer,
) -> None:
    server = make_server().start()
    key, number = server.numbered_interface("Printer")
    for _ in range(20):
        assert server.post({"apikey": key} | signal()).status == 200
    assert [line["event"] for line in server.lines()] == ["listening"]
    server.post({"apikey": key} | signal(datetime="never"))
    server.post({"apikey": UNKNOWN_KEY} | signal())
    known, stranger = eventually(lambda: len(server.lines()) == 3 and server.lines()[1:])
    assert known["timestamp"] < stranger["timestamp"]
    assert (
        known.items()
        >= {
            "level": "warning",
            "event": "post refused",
            "status": 400,
            "type": "invalid_datetime",
            "address": "127.0.0.1",
            "partner": "Printer",
            "interface": number,
        }.items()
    )
    assert "never" in known["info"]
    assert (stranger["status"], stranger["type"]) == (401, "unknown_key")
    assert "partner" not in stranger


def test_refused_posts_beyond_the_limit_of_a_minute_are_counted(make_server: MakeServer) -> None:
    limit, refused = 3, 10
    server = make_server("--refused-lines-per-minute", str(limit)).start()
    for _ in range(refused):
        assert server.post(b"{").status == 400
    assert server.terminate() == 0
    lines = len(server.lines("post refused"))
    left_out = sum(line["left_out"] for line in server.lines("posts refused"))
    # A minute may end in between, and begins with lines again.
    assert limit <= lines <= 2 * limit
    assert lines + left_out == refused


def test_what_is_no_http_is_logged_and_counted_as_other_refused_posts_are(
    make_server: MakeServer,
) -> None:
    limit = 3
    server = make_server("--refused-lines-per-minute", str(limit)).start()
    for _ in range(3 * limit):
        assert server.post_raw(b"hello\r\n\r\n").status == 400
    first = eventually(lambda: server.lines("post refused"))[0]
    assert (first["status"], first["type"], first["address"]) == (400, "invalid_http", "127.0.0.1")
    assert figures(server)['cloudsignal_posts_total{outcome="invalid_http"}'] == 3 * limit
    assert server.terminate() == 0
    # A minute may end in between; beyond that there is a line for what was left out.
    assert len(server.lines("post refused")) <= 2 * limit
    assert {line["event"] for line in server.lines()} == {
        "listening",
        "post refused",
        "posts refused",
    }


def test_a_client_that_offers_another_protocol_leaves_no_line_of_a_library(
    make_server: MakeServer,
) -> None:
    server = make_server().start()
    lines = ["GET /healthz HTTP/1.1", "Host: localhost", "Connection: Upgrade"]
    lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: eA==", "", ""]
    assert server.post_raw("\r\n".join(lines).encode(), method="GET").status == 200
    assert server.terminate() == 0
    assert [line["event"] for line in server.lines()] == ["listening"]


# ---- what it does not start with -----------------------------------------------------------------


def refuses(server: Server) -> str:
    """What the server says when it does not start: one sentence."""
    server.launch()
    assert server.wait() == 1
    assert server.stderr.startswith("cloudsignal: "), server.stderr
    assert len(server.stderr.splitlines()) == 1, server.stderr
    return server.stderr


@pytest.mark.parametrize("name", ["CLOUDSIGNAL_QUEUE_MAXIMUM", "CLOUDSIGNAL_", "CLOUDSIGNAL_Port"])
def test_an_unknown_variable_is_refused(make_server: MakeServer, name: str) -> None:
    said = refuses(make_server(environment={name: "1"}))
    assert name in said
    assert "cloudsignal settings" in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CLOUDSIGNAL_QUEUE_MAX", "0"),
        ("CLOUDSIGNAL_QUEUE_MAX", "many"),
        ("CLOUDSIGNAL_KEEP_ALIVE_S", "0"),
        ("CLOUDSIGNAL_LOG_LEVEL", "loud"),
        ("CLOUDSIGNAL_CONFIG", "/nowhere/at/all.toml"),
        ("CLOUDSIGNAL_SECRET_FILE", "/nowhere/at/all"),
        ("CLOUDSIGNAL_QUEUE_MAX_FILE", "/dev/null"),
    ],
)
def test_a_value_that_cannot_be_is_refused(make_server: MakeServer, name: str, value: str) -> None:
    assert refuses(make_server(environment={name: value}))


def test_a_store_of_a_newer_program_is_refused_and_left_alone(make_server: MakeServer) -> None:
    server = make_server().start()
    assert server.terminate() == 0
    with closing(sqlite3.connect(server.path, isolation_level=None)) as other:
        other.execute("UPDATE alembic_version SET version_num = '9999'")
    said = refuses(server)
    assert "9999" in said
    assert "newer" in said
    with closing(sqlite3.connect(server.path)) as other:
        assert other.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]


def test_a_database_of_another_program_is_refused_and_left_alone(make_server: MakeServer) -> None:
    server = make_server()
    with closing(sqlite3.connect(server.path, isolation_level=None)) as other:
        other.execute("CREATE TABLE books (title TEXT)")
    assert "something else" in refuses(server)
    with closing(sqlite3.connect(server.path)) as other:
        tables = other.execute("SELECT name FROM sqlite_master").fetchall()
    assert tables == [("books",)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(make_server: MakeServer) -> None:
    server = make_server()
    text = "Dear diary, today I was taken for a database.\n" * 100
    server.path.write_text(text)
    assert "no cloudsignal store" in refuses(server)
    assert server.path.read_text() == text


def test_a_wrong_secret_is_refused(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    assert server.terminate() == 0
    server.environment["CLOUDSIGNAL_SECRET"] = "another"
    assert "secret" in refuses(server)
    del server.environment["CLOUDSIGNAL_SECRET"]
    server.start()
    assert server.post({"apikey": key} | signal()).status == 200


def test_a_secret_that_was_lost_is_not_replaced_in_silence(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    assert server.terminate() == 0
    (secret,) = server.folder.glob("*.secret")
    secret.rename(aside := secret.with_name("aside"))
    said = refuses(server)
    assert f"bring {secret} back" in said
    assert not secret.exists(), "a new one would only be in the way of the old one"
    server.environment["CLOUDSIGNAL_SECRET_FILE"] = str(aside)
    server.start()
    assert server.post({"apikey": key} | signal()).status == 200


def test_a_folder_that_is_not_there_is_refused(make_server: MakeServer) -> None:
    said = refuses(make_server("--database", "sqlite:////nowhere/at/all/store.db"))
    assert "/nowhere/at/all" in said


@pytest.mark.parametrize(
    "url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "store.db", ""]
)
def test_a_database_that_cannot_be_is_refused(make_server: MakeServer, url: str) -> None:
    assert "sqlite:///PATH" in refuses(make_server("--database", url))


def test_a_port_that_is_taken_is_refused(make_server: MakeServer) -> None:
    first = make_server().start()
    said = refuses(make_server("--port", str(first.port)))
    assert f"port {first.port} is taken by another program" in said
    assert "--port" in said


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "1.2.3.4.5", "::2", "a..b"])
def test_a_host_that_is_none_of_this_machines_is_refused(
    make_server: MakeServer, host: str
) -> None:
    said = refuses(make_server("--host", host))
    assert host in said
    assert "--host" in said


# ---- the first start -----------------------------------------------------------------------------


def curl_line(server: Server) -> str:
    """The line to paste into a terminal."""
    return eventually(
        lambda: next((line for line in server.stdout.splitlines() if "curl " in line), ""),
        "no curl line is printed",
    ).strip()


def test_the_first_start_prints_a_curl_line_that_works_when_pasted(
    make_server: MakeServer,
) -> None:
    server = make_server("--welcome").start()
    line = curl_line(server)
    assert f"{server.address}{ENDPOINT}" in line
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    assert done.stdout.startswith("HTTP/1.1 200 OK")
    assert '{"accepted":1,"duplicates":0,"position":1}' in done.stdout
    look = eventually(lambda: re.search(r"look at the item: (.*)\n", server.stdout))[1]
    there = subprocess.run(
        ["bash", "-c", look],
        cwd=server.folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=True,
    )
    assert "registered" in there.stdout
    (shown,) = set(re.findall(r"\b[0-9a-f]{32}\b", server.stdout))
    assert server.post({"apikey": shown} | signal()).status == 200
    assert shown not in server.stderr
    (partner,) = server.cli_json("partner", "list")
    assert partner["partner"]
    server.restart()
    assert server.post({"apikey": shown} | signal()).status == 200
    assert server.terminate() == 0
    [line] = server.stdout.splitlines()
    assert line.startswith("Nobody can sign in to the panel yet."), "it greets only once"


def test_without_welcome_nothing_is_made_and_nothing_printed(make_server: MakeServer) -> None:
    server = make_server().start()
    assert server.cli_json("partner", "list") == []
    assert server.terminate() == 0
    [line] = server.stdout.splitlines()
    assert line.startswith("Nobody can sign in to the panel yet.")


@pytest.mark.parametrize("number", range(STARTS))
def test_two_servers_started_on_a_new_store_at_once_share_it(
    make_server: MakeServer, number: int
) -> None:
    first = make_server()
    second = make_server("--database", first.url)
    first.launch()
    second.launch()
    first.listen()
    second.listen()
    key = first.interface()
    told = signal()
    assert first.post({"apikey": key} | told).json["accepted"] == 1
    assert second.post({"apikey": key} | told).json["duplicates"] == 1
    assert second.post({"apikey": key} | signal()).json["accepted"] == 1


@pytest.mark.parametrize("number", range(STARTS))
def test_commands_started_on_a_new_store_at_once_all_work(tmp_path: Path, number: int) -> None:
    url = f"sqlite:///{tmp_path / 'cloudsignal.db'}"

    def create(name: str) -> Any:
        return run("partner", "create", name, "--database", url)

    names = [f"Printer {each}" for each in range(3)]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(create, names))
    listed = run("partner", "list", "--json", "--database", url).stdout
    assert all(name in listed for name in names)
    assert sorted(path.name for path in tmp_path.iterdir() if "secret" in path.name) == [
        "cloudsignal.db.secret"
    ]


def test_what_was_stored_is_there_after_a_restart(make_server: MakeServer) -> None:
    server = make_server().start()
    key = server.interface()
    told = signal("ItemShipped")
    position = server.post({"apikey": key} | told).json["position"]
    before = server.item(told["order"], told["item"])
    server.restart()
    assert server.item(told["order"], told["item"]) == before
    assert server.post({"apikey": key} | told).json == {
        "accepted": 0,
        "duplicates": 1,
        "position": position,
    }


def test_the_secret_is_for_the_operators_eyes_only(make_server: MakeServer) -> None:
    server = make_server().start()
    (secret,) = server.folder.glob("*.secret")
    assert secret.stat().st_mode & 0o077 == 0
    assert secret.read_text().strip() not in server.stderr
    assert server.process is not None
    for pid in (server.process.pid, server.writer()):
        assert secret.read_bytes().strip() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert server.url.encode() not in Path(f"/proc/{server.writer()}/cmdline").read_bytes()
