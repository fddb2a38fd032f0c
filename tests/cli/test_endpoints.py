"""cloudsignal endpoint."""

import io
import json
import os
import pty
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cloudsignal.protocol import signatures
from cloudsignal.server.store.deliveries import Progress
from cloudsignal.server.store.store import Store
from cloudsignal.webhooks import verify
from tests.acceptance.conftest import COMMAND, DEADLINE_S, Server, make_server
from tests.cli.conftest import Ran, Run
from tests.owner import FLAGS, Owner, receiving
from tests.server.arrivals import NOON, arrival, positions, report
from tests.server.store.attempts_contract import attempted

__all__ = ["make_server"]

URL = "https://zquser:zqword@owner.example/in?token=open-sesame"
SHOWN = "https://owner.example/in?…"
SECRET = signatures.written(b"k" * 32)


@pytest.fixture
def books(run: Run) -> str:
    """The name of an owner that is there, and gets what nobody registered."""
    name = "Books & Co"
    assert run("owner", "create", name, "--unregistered").code == 0
    return name


@pytest.fixture
def made(run: Run, books: str) -> Any:
    """An endpoint of that owner, as it was created."""
    return run("endpoint", "create", "--owner", books, "--url", URL, "--json").json


def told(store: Store, run: Run, count: int, state: Any = "dead") -> list[str]:
    """Deliveries that are noted of the endpoint: their messages."""
    for _ in range(count):
        run("endpoint", "test", "1", "--wait", "0")
    for each in store.delivery_log.noted(1, limit=count):
        store.delivery_log.tell(replace(each, state=state), now=NOON)
    return [each.message for each in store.delivery_log.noted(1, limit=count)]


# ---- create, list, show ----


def test_an_endpoint_is_created_and_shown_for_programs(run: Run, made: Any, books: str) -> None:
    assert len(made.pop("apikey")) == 32
    assert signatures.read(made.pop("secret"))
    assert (made["endpoint"], made["owner"], made["url"]) == (1, books, SHOWN)
    assert run("endpoint", "list", "--json").json == [made]
    assert run("endpoint", "show", "1", "--json").json == made


def test_a_new_endpoint_shows_its_key_its_secret_and_what_comes_next(run: Run, books: str) -> None:
    words = ["--owner", books, "--url", URL, "--apikey", "key-1", "--secret", SECRET, "--test"]
    said = run("endpoint", "create", *words).out

    assert f"Endpoint 1 of Books & Co, for test signals: {SHOWN}\n" in said
    assert "\n  apikey  key-1\n" in said
    assert f"\n  secret  {SECRET}\n" in said
    assert shlex.split(said.splitlines()[-1]) == ["cloudsignal", "endpoint", "test", "1"]


def test_what_is_secret_can_be_read_from_the_input(
    run: Run, books: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["endpoint", "create", "--owner", books, "--url", "-", "--apikey", "-"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{URL}\nkey-1\n"))
    made = run(*command, "--json").json
    assert (made["url"], made["apikey"]) == (SHOWN, "key-1")

    monkeypatch.setattr("sys.stdin", io.StringIO(f"{URL}\n\n"))
    missing = run(*command)
    assert (missing.code, missing.err) == (
        1,
        "cloudsignal: --apikey -: there is no line left to read it from\n",
    )


def test_on_a_terminal_what_is_secret_is_asked_for_and_not_shown(run: Run, books: str) -> None:
    words = ["endpoint", "create", "--owner", books, "--url", URL, "--secret", "-"]
    terminal, end = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *words, "--json"],
        stdin=end,
        stdout=subprocess.PIPE,
        stderr=end,
        start_new_session=True,  # With a terminal of its own, which nobody else reads from.
    ) as process:
        os.close(end)
        shown = b""
        while b"secret: " not in shown:  # What is typed before the end of it is thrown away.
            shown += os.read(terminal, 1000)
        os.write(terminal, f"{SECRET}\n".encode())
        out, _ = process.communicate(timeout=DEADLINE_S)
    with suppress(OSError):  # Nobody has the other end any more.
        shown += os.read(terminal, 1000)
    os.close(terminal)

    assert json.loads(out)["secret"] == SECRET
    assert SECRET.encode() not in shown


def test_everything_about_an_endpoint_can_be_chosen_and_changed(run: Run, books: str) -> None:
    words = ["--format", "cloudsignal-2.1", "--type", "ItemShipped", "--type", "ItemError"]
    command = ["endpoint", "create", "--owner", books, "--url", URL, *words, "--newest-only"]
    first = run(*command, "--json").json
    assert (first["format"], first["types"]) == ("cloudsignal-2.1", ["ItemShipped", "ItemError"])
    assert first["newest_only"] is True

    same = run("endpoint", "change", "1", "--json").json
    words = ["--url", "https://other.example/", "--all-types", "--everything"]
    second = run("endpoint", "change", "1", *words, "--json").json
    third = run("endpoint", "change", "1", "--type", "ItemPacked").out

    assert (same["types"], same["newest_only"]) == (first["types"], True)
    assert (second["url"], second["types"]) == ("https://other.example/", [])
    assert (second["format"], second["newest_only"]) == ("cloudsignal-2.1", False)
    assert "types  ItemPacked\n" in third


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--owner", "x"], "there is no owner called 'x'"),
        (["--url", "ftp://zqword@owner.example"], "--url: the URL of an endpoint begins with"),
        (["--url", "http://owner.example"], "unless the setting webhook_http is on"),
        (["--url", "https://10.0.0.1/"], "the setting webhook_networks allows"),
        (
            ["--type", "ItemDelay"],
            "--type: must be one of the types of webhooks: CloudprinterOrderV",
        ),
        (["--apikey", "two words"], "--apikey: must be 1 to 255 visible ASCII characters"),
        (["--secret", "s3cret"], "--secret: must be whsec_ and then base64"),
        (["--apikey", "ü", "--secret", ""], "characters; --secret: must be"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(
    run: Run, books: str, words: list[str], sentence: str
) -> None:
    given = ["endpoint", "create", "--owner", books, "--url", URL, *words]
    said = run(*given).sentence
    assert sentence in said
    assert "zqword" not in said


@pytest.mark.parametrize(
    "words",
    [
        ["show"],
        ["change"],
        ["pause"],
        ["resume"],
        ["remove"],
        ["rotate"],
        ["test"],
        ["deliveries"],
        ["redeliver", "--all"],
        ["discard", "--all"],
    ],
)
def test_an_endpoint_that_is_not_there_is_told(run: Run, words: list[str]) -> None:
    run("partner", "create", "Press")  # A store without anything has no secret yet.
    said = run("endpoint", words[0], "7", *words[1:]).sentence
    assert said == "there is no endpoint 7"


def test_endpoints_are_listed_for_people(run: Run, books: str, made: Any, store: Store) -> None:
    run("owner", "create", "Films")
    run("endpoint", "create", "--owner", "Films", "--url", "https://films.example/", "--test")
    told(store, run, 2)

    every = run("endpoint", "list").out
    films = run("endpoint", "list", "--owner", "Films").out

    assert every.splitlines()[0] == "Endpoints"
    assert "Books & Co" in every
    assert "owner.example" in every
    assert "Films" in films
    assert "owner.example" not in films
    assert run("endpoint", "list", "--owner", "Nobody").out == "Endpoints: none\n"


def test_an_endpoint_says_how_it_is_doing(run: Run, made: Any, store: Store) -> None:
    told(store, run, 2)
    store.append([arrival(report())])

    said = run("endpoint", "show", "1").out

    assert "health  good\n" in said
    assert "given up  2\n" in said
    assert "behind  by 1 of the positions in the log\n" in said


# ---- pause, resume, remove, rotate ----


def test_an_endpoint_is_paused_and_resumed(run: Run, made: Any, store: Store) -> None:
    assert run("endpoint", "pause", "1").out == "Endpoint 1 of Books & Co is paused.\n"
    assert run("endpoint", "show", "1", "--json").json["state"] == "paused"
    assert run("endpoint", "resume", "1", "--json").json["state"] == "active"
    store.endpoints.set_state(1, "disabled", "100 attempts have failed")
    assert "disabled: 100 attempts have failed" in run("endpoint", "show", "1").out
    assert run("endpoint", "resume", "1").out == "Endpoint 1 of Books & Co is probing.\n"


def test_removing_asks_on_a_terminal(
    run: Run, made: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(store, run, 1)
    asked: list[str] = []

    def confirm(question: str) -> bool:
        asked.append(question)
        return False

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", confirm)

    assert run("endpoint", "remove", "1").sentence == "nothing is removed"

    [question] = asked
    assert question.startswith(f"Remove endpoint 1 of Books & Co, {SHOWN}? 1 deliveries")
    assert run("endpoint", "show", "1").code == 0
    removed = run("endpoint", "remove", "1", "--yes")
    assert removed.out == "Endpoint 1 of Books & Co is removed.\n"
    assert run("endpoint", "list").out == "Endpoints: none\n"


def test_nothing_is_removed_where_nobody_can_be_asked(run: Run, made: Any) -> None:
    assert run("endpoint", "remove", "1").sentence == (
        "nothing is removed: say --yes where nobody can be asked"
    )

    assert run("endpoint", "remove", "1", "--yes", "--json").json["endpoint"] == 1


def test_a_secret_is_rotated_with_an_overlap(run: Run, made: Any) -> None:
    rotated = run("endpoint", "rotate", "1", "--overlap-hours", "48", "--json").json
    assert rotated["apikey"] is None
    assert signatures.read(rotated["secret"])
    assert rotated["secret"] != made["secret"]
    assert rotated["old_secret_until"] is not None

    words = ["--overlap-hours", "0", "--secret", SECRET, "--apikey", "key-2"]
    said = run("endpoint", "rotate", "1", *words).out

    assert "\n  apikey  key-2\n" in said
    assert f"\n  secret  {SECRET}\n" in said
    assert "signs as well" not in said
    assert "signs as well until 20" in run("endpoint", "rotate", "1").out
    said = run("endpoint", "rotate", "1", "--overlap-hours", "8761").sentence
    assert said == "--overlap-hours: must be a number of hours from 0 to 8760"


def test_keys_secrets_and_passwords_are_shown_once_and_kept_nowhere(
    run: Run, made: Any, store: Store, tmp_path: Path
) -> None:
    rotated = run("endpoint", "rotate", "1", "--json").json
    told(store, run, 1)
    secrets = [made["apikey"], made["secret"], rotated["secret"], "zqword", "open-sesame"]

    for words in (
        ["list"],
        ["show", "1"],
        ["change", "1", "--newest-only"],
        ["pause", "1"],
        ["resume", "1"],
        ["deliveries", "1"],
        ["attempts", "1"],
        ["redeliver", "1", "--all"],
        ["discard", "1", "--all"],
        ["rotate", "1"],
        ["remove", "1", "--yes"],
    ):
        ran = run("endpoint", *words, *(["--json"] if words[0] != "rotate" else []))
        assert ran.code == 0
        assert [each for each in secrets if each in ran.out + ran.err] == []
    for file in tmp_path.glob("store.db*"):
        content = file.read_bytes()
        assert [each for each in secrets if each.encode() in content] == []


# ---- deliveries and attempts ----


def test_deliveries_are_listed_page_by_page(run: Run, made: Any, store: Store) -> None:
    messages = told(store, run, 3)

    first = run("endpoint", "deliveries", "1", "--limit", "2", "--json")
    after = first.err.split()[-1]
    second = run("endpoint", "deliveries", "1", "--after", after, "--state", "dead", "--json")

    found = [each["message"] for each in first.json + second.json]
    assert found == messages
    assert first.err == f"cloudsignal: there may be more: --after {messages[1]}\n"
    assert run("endpoint", "deliveries", "1", "--state", "asked", "--json").json == []
    assert "dead" in run("endpoint", "deliveries", "1").out


def test_attempts_are_found_by_what_they_were_about(run: Run, store: Store) -> None:
    answer = {"status": 500, "error": "it answered 500", "answer": b"\xff", "headers": [("a", "b")]}
    good = attempted(message="msg_1", at=NOON)
    store.deliveries.note(
        Progress(attempted=[good, attempted(message="msg_2", endpoint=2, **answer)]), now=NOON
    )

    def found(*words: str) -> list[str]:
        return [each["message"] for each in run("endpoint", "attempts", *words, "--json").json]

    assert found() == ["msg_2", "msg_1"]
    assert found("2") == found("--failed") == found("--message", "msg_2") == ["msg_2"]
    assert found("--order", "8") == found("--order", "8", "--item", "1") == []
    [newest] = run("endpoint", "attempts", "--limit", "1", "--json").json
    assert newest["answer"] == {
        "status": 500,
        "headers": [["a", "b"]],
        "body": "/w==",
        "encoding": "base64",
    }
    assert found("--before", str(newest["id"])) == ["msg_1"]
    said = run("endpoint", "attempts").out
    assert "2016-01-20" in said
    assert "delivered" in said
    assert "add --order" in run("endpoint", "attempts", "--item", "1").sentence


def test_what_was_given_up_is_told_once_more_or_forgotten(
    run: Run, made: Any, store: Store
) -> None:
    first, second, third = told(store, run, 3)

    def count(verb: str, *words: str) -> int:
        found: int = run("endpoint", verb, "1", *words, "--json").json["deliveries"]
        return found

    assert count("redeliver", "--since", "2016-01-20T12:00:01Z") == 0
    assert count("redeliver", "--message", first) == 1
    assert count("discard", "--message", first, "--message", second) == 1
    assert run("endpoint", "redeliver", "1", "--all").out == "1 delivery is told once more.\n"
    assert run("endpoint", "discard", "1", "--all").out == "0 deliveries are forgotten.\n"
    states = {each.message: each.state for each in store.delivery_log.noted(1, limit=9)}
    assert states == {first: "asked", third: "asked"}


def test_signals_are_told_once_more_by_their_positions(run: Run, made: Any, store: Store) -> None:
    run("partner", "create", "Press")
    store.append([arrival(report()), arrival(report("ItemPacked"), test=True)])
    first, second = positions(store)

    ran = run("endpoint", "redeliver", "1", "--position", str(first), "--position", str(second))

    assert ran.out == "1 delivery is told once more.\n"
    assert "or of tests" in ran.err
    said = run("endpoint", "redeliver", "1", "--position", "77").sentence
    assert said == "--position: there is no signal 77 for 'Books & Co'"


def test_what_was_delivered_is_told_how_to_be_told_again(run: Run, made: Any) -> None:
    ran = run("endpoint", "redeliver", "1", "--message", "msg_0_1")
    assert ran.out == "0 deliveries are told once more.\n"
    assert "--position" in ran.err


@pytest.mark.parametrize("words", [[], ["--all", "--message", "msg_0_1"]])
def test_deliveries_are_chosen_in_one_way(run: Run, made: Any, words: list[str]) -> None:
    for verb in ("redeliver", "discard"):
        said = run("endpoint", verb, "1", *words).failed(2)
        assert said.startswith("choose deliveries in one way: --message")


# ---- test ----


@pytest.fixture
def receiver() -> Iterator[Owner]:
    with receiving() as owner:
        yield owner


@pytest.fixture
def posting(
    make_server: Callable[..., Server], run: Run, receiver: Owner, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """A server that posts, and an endpoint at the receiver as it was created."""
    server = make_server(*FLAGS).start()
    for name, value in {"DATABASE": server.url, "WEBHOOK_HTTP": "true"}.items():
        monkeypatch.setenv(f"CLOUDSIGNAL_{name}", value)
    monkeypatch.setenv("CLOUDSIGNAL_WEBHOOK_NETWORKS", FLAGS[-1])
    run("owner", "create", "Books")
    return run("endpoint", "create", "--owner", "Books", "--url", receiver.url, "--json").json


def test_a_test_shows_how_it_was_answered(run: Run, posting: Any, receiver: Owner) -> None:
    said = run("endpoint", "test", "1", "--wait", "60")

    [received] = receiver.receives(1)
    found = verify(
        received.headers, received.body, secret=posting["secret"], apikey=posting["apikey"]
    )
    assert said.code == 0
    assert f"message  {found.id}\n" in said.out
    assert "type  CloudprinterOrderValidated\n" in said.out
    assert "answer  200\n" in said.out
    assert "its body  thank you\n" in said.out


def test_a_test_that_fails_shows_why(run: Run, posting: Any, receiver: Owner) -> None:
    receiver.status, receiver.answer = 500, b"out of \x1bpaper"

    said = run("endpoint", "test", "1", "--wait", "60")
    as_json = run("endpoint", "test", "1", "--wait", "60", "--json")

    assert said.code == as_json.code == 1
    assert said.err == "cloudsignal: the test was not delivered: it answered 500\n"
    assert "its body  out of \\x1bpaper\n" in said.out
    assert json.loads(as_json.out)["answer"]["body"] == "out of \x1bpaper"


def test_a_test_says_so_when_no_server_runs(run: Run, made: Any) -> None:
    ran: Ran = run("endpoint", "test", "1", "--wait", "0")
    assert "no server runs that tells owners: start `cloudsignal serve`" in ran.failed(4)


def test_a_test_that_is_not_posted_says_where_to_look(run: Run, made: Any, store: Store) -> None:
    store.tellers.stay("node", lease_s=60)
    said = run("endpoint", "test", "1", "--wait", "0").failed(4)
    assert "`cloudsignal endpoint show 1` says how" in said
    assert "endpoint attempts 1 --message msg_" in said


def test_an_endpoint_that_is_paused_has_to_be_resumed_first(run: Run, made: Any) -> None:
    run("endpoint", "pause", "1")
    said = run("endpoint", "test", "1").sentence
    assert said == "endpoint 1 is paused: cloudsignal endpoint resume 1"
    assert run("endpoint", "deliveries", "1", "--json").json == []
