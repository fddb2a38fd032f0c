"""A fleet of print partners against a server as it is run: zero differences."""

import json
import os
import pty
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import COMMAND, DEADLINE_S, MakeServer, Server, eventually, run


def simulate(server: Server, *flags: str, code: int = 0) -> Any:
    done = server.cli("simulate", "--base-url", server.address, "--json", *flags, code=code)
    return json.loads(done.stdout)


def test_500_items_with_all_faults_have_zero_differences(server: Server) -> None:
    told = simulate(server, "--items", "500", "--faults", "--seed", "1")

    assert told["comparison"]["differences"] == []
    assert told["comparison"]["items"] == told["comparison"]["against_plan"] == 500
    assert told["accepted"] == told["distinct"]
    assert told["duplicates"] > 100
    assert told["failed"] == {}
    with server.store() as store:
        assert {each.state for each in store.access.interfaces()} == {"revoked"}
        assert all(each.revoked for each in store.access.tokens() if "simulation" in each.name)
    assert server.cli_json("rebuild")["differed"] == 0


def test_with_keys_and_a_token_of_ones_own(server: Server, tmp_path: Path) -> None:
    keys, token = tmp_path / "keys", tmp_path / "token"
    keys.write_text("".join(f"{server.interface(f'Simulated {n}')}\n" for n in range(3)))
    token.write_text(server.token())
    done = run(
        "simulate", "--base-url", server.address, "--apikeys-file", str(keys),
        "--token-file", str(token), "--items", "20", "--speed", "999999999x",
    )  # fmt: skip
    assert "Zero differences." in done.stdout


def test_ctrl_c_ends_it_with_a_summary(server: Server) -> None:
    command = [COMMAND, "simulate", "--base-url", server.address, "--database", server.url]
    before = position(server)
    with subprocess.Popen(
        [*command, "--duration", "5m", "--rate", "200", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=server.environment,
        start_new_session=True,
    ) as process:
        eventually(lambda: position(server) > before + 50)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["stopped"]
    assert told["comparison"]["differences"] == []
    assert told["comparison"]["items"] > 0


def test_a_server_that_holds_something_else_is_found_out(server: Server) -> None:
    """Someone else's signal about an item of the plan: the item is not what the plan's say."""
    flags = ["--items", "3", "--no-faults", "--seed", "77", "--partners", "1"]
    posts = server.cli("simulate", "--dry-run", *flags).stdout.splitlines()
    first = json.loads(posts[0])["items"][0]
    simulate(server, *flags)
    key = "9" * 32
    with server.access() as (access, keyring):
        partner = next(each for each in access.partners() if each.name == "Paper and Ink")
        access.create_interface(
            partner, keyring.digest(key), timezone="UTC", allow=(), test=False, now=1
        )
    stray = {
        "type": "ItemCanceled", "order": first["order"], "item": first["item"],
        "datetime": "2027-01-01T00:00:00Z", "cause": "CancelMiscError", "apikey": key,
    }  # fmt: skip
    assert server.post(stray).status == 200

    told = simulate(server, *flags, code=1)

    found = {(each["what"], each["measure"]) for each in told["comparison"]["differences"]}
    assert {("state", "signals"), ("state", "plan"), ("cause", "plan")} <= found
    assert {each["item"] for each in told["comparison"]["differences"]} == {first["item"]}


def test_on_a_terminal_it_shows_how_it_goes(server: Server) -> None:
    terminal, end = pty.openpty()
    command = [COMMAND, "simulate", "--base-url", server.address, "--database", server.url]
    with subprocess.Popen(
        [*command, "--duration", "2s", "--rate", "100", "--json"],
        stdout=subprocess.PIPE,
        stderr=end,
        env=server.environment | {"TERM": "xterm"},
        start_new_session=True,
    ) as process:
        os.close(end)
        shown = b"".join(iter(lambda: read(terminal), b""))
        out, _ = process.communicate(timeout=DEADLINE_S)
    os.close(terminal)
    assert process.returncode == 0
    assert json.loads(out)["comparison"]["differences"] == []
    assert b"signals per second" in shown
    assert b"registered" in shown


def read(terminal: int) -> bytes:
    """What comes next, nothing once the other end is closed, which a terminal calls an error."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""


@pytest.mark.slow
def test_a_restarted_server_loses_nothing(make_server: MakeServer) -> None:
    server = make_server("--port", "0").start()
    server.flags = ("--port", str(server.port))
    command = [COMMAND, "simulate", "--base-url", server.address, "--database", server.url]
    with subprocess.Popen(
        [*command, "--items", "150", "--rate", "150", "--faults", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=server.environment,
        start_new_session=True,
    ) as process:
        eventually(lambda: position(server) > 50)
        server.kill()
        server.start()
        out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    told = json.loads(out)
    assert told["retries"] > 0
    assert told["comparison"]["differences"] == []
    assert told["comparison"]["uncertain"] == 0


def position(server: Server) -> int:
    return int(server.get("/readyz").json["position"])
