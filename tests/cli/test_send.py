"""``cloudsignal send``: signals from flags and from files, over a real port."""

import io
import json
import os
import signal as signals
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer

from cloudsignal import Outbox, cli
from cloudsignal.protocol.signals import BY_NAME, SIGNAL_TYPES, example, fields
from cloudsignal.testing import FakeServer, answering, some_page, unavailable
from cloudsignal.testing.fakes import APIKEY
from tests.cli.conftest import Ran, Run
from tests.cli.test_look import COMMAND, quiet

NOON = "2026-01-01T12:00:00Z"
PACKED = ["ItemPacked", "--order", "7", "--item", "1", "--datetime", NOON]


def body(item: str = "1", type: str = "ItemPacked", **fields: Any) -> dict[str, Any]:
    return {"type": type, "order": "7", "item": item, "datetime": NOON} | fields


def written(path: Path, *bodies: Any) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in bodies))
    return str(path)


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return tmp_path / "signals.jsonl"


# ---- one signal ----


def test_a_signal_is_stored_and_one_line_says_so(run: Run, server: FakeServer) -> None:
    assert run("send", *PACKED) == Ran(0, "stored: 1 new, position 1\n", "")
    assert run("send", *PACKED) == Ran(0, "stored: known already\n", "")
    server.assert_received("ItemPacked", order="7", item="1", datetime=NOON)


def test_programs_get_the_receipt(run: Run, server: FakeServer) -> None:
    receipt = {"signals": 1, "accepted": 1, "duplicates": 0, "position": 1}
    assert run("send", *PACKED, "--json").json == receipt
    assert run("send", "--json", *PACKED).json == receipt | {"accepted": 0, "duplicates": 1}


@pytest.mark.parametrize("type", BY_NAME)
def test_every_type_is_a_command_with_a_flag_for_each_field(
    run: Run, server: FakeServer, type: str
) -> None:
    sent = example(BY_NAME[type])  # type: ignore[type-abstract]
    flags = [
        word
        for name, value in sent.items()
        if name != "type"
        for word in (f"--{name.replace('_', '-')}", value)
    ]
    assert run("send", type, *flags).out == "stored: 1 new, position 1\n"
    server.assert_received(type, **{name: sent[name] for name in sent if name != "type"})


def test_flags_are_declared_nowhere_but_at_the_signals() -> None:
    group: Any = typer.main.get_command(cli.app)
    commands = group.commands["send"].commands
    assert list(commands) == [signal.__name__ for signal in SIGNAL_TYPES]
    for signal in SIGNAL_TYPES:
        params = {each.name: each for each in commands[signal.__name__].params}
        for field in fields(signal):
            assert params[field.name].help.lower().startswith(field.description.lower())
            assert params[field.name].required == (field.required and field.name != "datetime")


def test_without_a_datetime_it_happened_now(run: Run, server: FakeServer) -> None:
    before = datetime.now(UTC)
    assert run("send", "ItemPacked", "--order", "7", "--item", "1").code == 0
    [signal] = server.received()
    happened = datetime.fromisoformat(signal.datetime)
    assert before <= happened <= before + timedelta(minutes=1)


def test_a_server_without_a_receipt_is_believed(run: Run, server: FakeServer) -> None:
    server.fail(answering(200))
    assert run("send", *PACKED).out == "stored: 1 signal\n"


def test_a_dry_run_needs_neither_server_nor_key(run: Run) -> None:
    assert run("send", *PACKED, "--dry-run").json == body()
    ran = run("send", "--dry-run", "ItemPacked", "--order", "", "--item", "1", "--datetime", "noon")
    told = ran.failed(3)
    assert told.startswith("order must be a string of 1 to 128 characters")
    assert '; datetime "noon" cannot be read' in told


# ---- exit codes ----


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--item", ""], 3, "item must be a string of 1 to 128"),
        (["--apikey-file", "none"], 6, "the apikey cannot be read from none: No such file"),
        (["--base-url", "example.com"], 6, "base_url has to begin with https:// or http://"),
        (["--profile", "plant2"], 6, "there is no file "),
        (
            ["--base-url", "{url}/elsewhere"],
            6,
            'there is nothing at "/elsewhere/cloudsignal/2.0/status/"',
        ),
    ],
)
def test_what_goes_wrong_has_an_exit_code(
    run: Run, server: FakeServer, words: list[str], code: int, sentence: str
) -> None:
    ran = run("send", *PACKED, *(word.format(url=server.url) for word in words))
    assert ran.failed(code).startswith(sentence)
    assert server.signals == []


def test_a_refused_key_has_an_exit_code(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSIGNAL_APIKEY", "f" * 32)
    told = run("send", *PACKED).failed(5)
    assert told.startswith("this apikey is not known here")
    assert "f" * 32 not in told


@pytest.fixture
def once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile with which everything is tried once."""
    path = tmp_path / "profiles.toml"
    path.write_text("[default]\ntries = 1\nbundle_max = 10\n")
    monkeypatch.setenv("CLOUDSIGNAL_PROFILES", str(path))


@pytest.mark.usefixtures("once")
def test_what_may_be_sent_later_has_an_exit_code(run: Run, server: FakeServer) -> None:
    server.fail(unavailable(), some_page())
    assert run("send", *PACKED).failed(4).startswith("the store cannot be used just now")
    assert run("send", *PACKED).failed(4).startswith("what answered 200 is not a CloudSignal")
    assert (
        run("send", *PACKED, "--base-url", "http://127.0.0.1:1").failed(4).startswith("no answer")
    )
    assert run("send", *PACKED).code == 0


def test_without_an_address_the_ways_to_say_it_are_told(run: Run) -> None:
    assert run("send", *PACKED).failed(6).startswith("where is the server? Give --base-url")


def test_a_profile_says_where_to_and_with_which_key(
    run: Run, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLOUDSIGNAL_BASE_URL")
    monkeypatch.delenv("CLOUDSIGNAL_APIKEY")
    folder = tmp_path / "config" / "cloudsignal"
    folder.mkdir(parents=True)
    (folder / "key").write_text(APIKEY + "\n")
    (folder / "profiles.toml").write_text(
        f'[plant2]\nbase_url = "{server.url}"\napikey_file = "key"\n'
    )
    assert run("send", *PACKED, "--profile", "plant2").code == 0
    assert run("send", "--profile", "plant2", *PACKED).out == "stored: known already\n"
    monkeypatch.setenv("CLOUDSIGNAL_PROFILE", "plant2")
    assert run("send", *PACKED).out == "stored: known already\n"
    assert run("send", *PACKED, "--profile", "plant3").failed(6).endswith("there are plant2")


@pytest.mark.parametrize(
    "words",
    [
        ["send"],
        ["send", "--json"],
        ["send", "nonsense"],
        ["send", "ItemPacked"],
        ["send", "ItemPacked", "--order", "7"],
        ["send", "ItemPacked", "--apikey", "a"],
        ["send", *PACKED, "--tracking", "1A"],
        ["send", *PACKED, "--timeout", "0"],
        ["send", "--file", "a", *PACKED],
    ],
    ids=" ".join,
)
def test_a_command_line_that_makes_no_sense_ends_with_2(
    run: Run, server: FakeServer, words: list[str]
) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert "Usage: cloudsignal send" in ran.out + ran.err
    assert server.posts == 0


# ---- files ----


def test_lines_are_sent_in_bundles(run: Run, server: FakeServer, lines: Path) -> None:
    file = written(lines, *(body(str(n)) for n in range(2500)))
    assert run("send", "--file", file) == Ran(0, "stored: 2500 new, position 2500\n", "")
    assert server.posts == 3
    assert run("send", "--file", file).out == "stored: all 2500 known already\n"
    written(lines, body("0"), body("new"))
    assert run("send", "--file", file).out == "stored: 1 new, 1 known already, position 2501\n"


def test_a_document_comes_from_standard_input(
    run: Run, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = json.dumps({"apikey": "f" * 32, "items": [body("1"), body("2")]}, indent=2)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bundle.encode())))
    ran = run("send", "--file", "-")
    assert (ran.code, ran.out) == (0, "stored: 2 new, position 2\n")
    assert ran.err.startswith("cloudsignal: the apikey in the file is not used")
    assert {each.apikey for each in server.signals} == {APIKEY}


def test_a_pipe_can_be_a_file(run: Run, server: FakeServer, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: written(pipe, body("1"), body("2")))
    writer.start()
    assert run("send", "--file", str(pipe)).out == "stored: 2 new, position 2\n"
    writer.join()


def test_an_empty_file_is_no_mistake(run: Run, server: FakeServer, lines: Path) -> None:
    assert run("send", "--file", written(lines)) == Ran(0, "stored: 0 signals\n", "")
    assert server.posts == 0


def test_a_file_that_cannot_be_read_is_said(run: Run, server: FakeServer) -> None:
    assert (
        run("send", "--file", "none").failed(6) == "none cannot be read: No such file or directory"
    )


def test_every_bad_line_is_listed_and_nothing_is_sent(
    run: Run, server: FakeServer, lines: Path
) -> None:
    file = written(lines, body("1"), body("2", "ItemShipped"), body("3"), body("4", order=7))
    ran = run("send", "--file", file)
    assert (ran.code, ran.out, server.posts) == (3, "", 0)
    assert ran.err.splitlines() == [
        "line 2: ItemShipped needs tracking: the tracking number of the parcel; ItemShipped needs"
        " shipping_option: the shipping option the item left with",
        "line 4: order must be a string, not a number: put it in quotes",
        "cloudsignal: 2 of 4 signals are invalid, and nothing was sent: correct them, or send the others with"
        " --skip-invalid",
    ]

    ran = run("send", "--file", file, "--skip-invalid")
    assert (ran.code, ran.out) == (0, "stored: 2 new, position 2\n")
    assert [line.partition(":")[0] for line in ran.err.splitlines()] == ["line 2", "line 4"]


def test_a_line_with_a_command_for_the_terminal_is_shown_harmless(
    run: Run, server: FakeServer, lines: Path
) -> None:
    ran = run("send", "--file", written(lines, body("1", "\x1b[2J")))
    assert ran.code == 3
    assert "\x1b" not in ran.err


def test_a_dry_run_prints_lines_that_can_be_sent(run: Run, server: FakeServer, lines: Path) -> None:
    sent = [body("1", apikey="f" * 32), body("2")]
    ran = run("send", "--file", written(lines, *sent), "--dry-run")
    assert (ran.code, server.posts) == (0, 0)
    assert [json.loads(line) for line in ran.out.splitlines()] == [body("1"), body("2")]
    file = written(lines, body("1"), body("2", "Item"))
    assert run("send", "--file", file, "--dry-run").code == 3
    assert run("send", "--file", file, "--dry-run", "--skip-invalid").code == 0


class Strict(FakeServer):
    """A server that refuses what cannot be known before it is sent."""

    def _store(self, method: str, headers: Any, body: bytes) -> Any:
        if b'"item":"other"' in body:
            from cloudsignal.protocol.refusals import refuse

            raise refuse("not_your_item", "another print partner has reported this item")
        return super()._store(method, headers, body)


@pytest.mark.usefixtures("server")
def test_what_the_server_refuses_is_listed_and_the_others_are_stored(run: Run, lines: Path) -> None:
    items = [str(n) for n in range(2000)]
    items[1234] = "other"
    with Strict() as strict:
        words = ["--file", written(lines, *map(body, items)), "--base-url", strict.url, "--json"]
        ran = run("send", *words)
        assert ran.code == 3
        assert json.loads(ran.out)["accepted"] == 1999
        assert ran.err.splitlines() == [
            "line 1235: another print partner has reported this item",
            "cloudsignal: the server refused 1 of 2000 signals",
        ]
        assert len(strict.signals) == 1999


def test_what_is_appended_while_a_file_is_sent_is_left_for_another_time(
    run: Run, server: FakeServer, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(lines, *(body(str(n)) for n in range(2500)))
    answer = server.answer

    def appending(*request: Any) -> Any:
        if not server.posts:
            with lines.open("a") as log:
                log.write("half a line\n" + json.dumps(body("new")) + "\n")
        return answer(*request)

    monkeypatch.setattr(server, "answer", appending)
    assert run("send", "--file", file) == Ran(0, "stored: 2500 new, position 2500\n", "")


@pytest.mark.usefixtures("once")
def test_what_was_stored_before_it_failed_is_told(
    run: Run, server: FakeServer, lines: Path
) -> None:
    file = written(lines, *(body(str(n)) for n in range(25)))
    server.fail(answering(200), answering(200), unavailable())
    told = run("send", "--file", file).failed(4)
    assert told.startswith("the store cannot be used just now")
    assert "(20 signals were stored before this; " in told
    assert run("send", "--file", file).out == "stored: 25 new, position 25\n"


def test_who_breaks_it_off_is_told_what_is_stored_and_what_to_do(
    run: Run, server: FakeServer, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(lines, *(body(str(n)) for n in range(2500)))
    answer = server.answer

    def interrupting(*request: Any) -> Any:
        if server.posts:
            signals.raise_signal(signals.SIGINT)
        return answer(*request)

    monkeypatch.setattr(server, "answer", interrupting)
    ran = run("send", "--file", file)
    assert (ran.code, ran.out) == (130, "")
    assert (
        "cloudsignal: interrupted: 1000 of 2500 signals are known to be stored; what is stored is recognised, so send"
        " the same again\n"
    ) in ran.err
    monkeypatch.undo()


# ---- an outbox ----


@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_signal_is_put_into_an_outbox_without_server_or_key(run: Run, place: str) -> None:
    flag = ["--outbox", "signals.outbox"]
    words = [*flag, *PACKED] if place == "before" else [*PACKED, *flag]
    assert run("send", *words) == Ran(0, "put: 1 signal, id 1\n", "")
    assert run("send", *words, "--json").json == {"signals": 1, "first_id": 2, "last_id": 2}
    first, _ = run("outbox", "list", *flag, "--json").json
    assert (first["type"], first["order"], first["item"]) == ("ItemPacked", "7", "1")
    assert first["signal"]["datetime"] == NOON


def test_a_file_is_put_into_an_outbox_from_which_it_is_sent(
    run: Run, server: FakeServer, lines: Path
) -> None:
    file = written(lines, *(body(str(n)) for n in range(2500)), "no signal")
    words = ["--file", file, "--outbox", "signals.outbox"]
    assert run("send", *words).code == 3
    assert not lines.with_name("signals.outbox").exists()
    assert run("send", *words, "--skip-invalid").out == "put: 2500 signals\n"
    assert server.posts == 0
    assert run("outbox", "flush", "--outbox", "signals.outbox").code == 0
    assert [each.item for each in server.received()] == [str(n) for n in range(2500)]


def test_what_is_put_says_nothing_of_the_server(run: Run) -> None:
    ran = run("send", *PACKED, "--outbox", "a", "--base-url", "http://127.0.0.1:1")
    assert ran.code == 2
    assert "with --outbox nothing is sent" in " ".join(ran.err.replace("│", " ").split())
    assert "cannot be opened" in run("send", *PACKED, "--outbox", "no/where").failed(6)
    assert run("send", "ItemPacked", "--order", "", "--item", "1", "--outbox", "a").code == 3


# ---- the installed command ----


def test_other_commands_start_without_what_sending_needs() -> None:
    program = "import sys; from cloudsignal import cli; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    needed = {"httpx2", "csv", "tempfile", "zoneinfo", "rich.progress", "sqlalchemy"}
    assert needed & set(ran.stdout.split()) == set()


def test_the_base_install_is_enough(lines: Path) -> None:
    hide = (
        "import sys\n"
        "extra = 'alembic httptools litestar prometheus_client psycopg python_calamine sqlalchemy'\n"
        "sys.modules.update(dict.fromkeys(extra.split()))\n"
        "from cloudsignal.cli import main\n"
        "main()\n"
    )
    table = lines.with_suffix(".csv")
    table.write_text(f"type,order,item,datetime\nItemPacked,7,2,{NOON}\n")
    with FakeServer() as server:
        environment = {"CLOUDSIGNAL_APIKEY": APIKEY, "CLOUDSIGNAL_BASE_URL": server.url}
        for words in (["send", *PACKED], ["import", str(table)]):
            ran = subprocess.run(
                [sys.executable, "-c", hide, *words],
                capture_output=True, text=True, env=quiet() | environment, check=False, timeout=60,
            )  # fmt: skip
            assert (ran.returncode, ran.stderr) == (0, "")
        assert len(server.signals) == 2


def test_the_installed_command_sends_from_a_pipe() -> None:
    with FakeServer() as server:
        ran = subprocess.run(
            [COMMAND, "send", "--file", "-", "--base-url", server.url],
            input=json.dumps(body()), capture_output=True, text=True, check=False, timeout=60,
            env=quiet() | {"CLOUDSIGNAL_APIKEY": APIKEY},
        )  # fmt: skip
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "stored: 1 new, position 1\n", "")


def in_shell(line: str, *, folder: Path, unbuffered: str = "") -> tuple[int, str]:
    """Call the command as this line of a shell does: the exit code, and what is said on standard error."""
    environment = quiet() | {"PYTHONUNBUFFERED": unbuffered, "cloudsignal": str(COMMAND)}
    ran = subprocess.run(
        ["sh", "-c", line], cwd=folder, env=environment,
        stderr=subprocess.PIPE, text=True, check=False, timeout=60,
    )  # fmt: skip
    return ran.returncode, ran.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it needs a device that is full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("flag", ["", "--json"])
def test_output_that_cannot_be_written_is_said_and_the_signal_is_sent_all_the_same(
    tmp_path: Path, unbuffered: str, flag: str
) -> None:
    line = f'"$cloudsignal" send {" ".join(PACKED)} --outbox signals.outbox {flag} >/dev/full'
    code, told = in_shell(line, folder=tmp_path, unbuffered=unbuffered)
    assert (code, told) == (
        6,
        "cloudsignal: the output cannot be written: No space left on device; what was sent or changed before stays"
        " so\n",
    )
    with Outbox(tmp_path / "signals.outbox") as outbox:
        assert outbox.health().waiting == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="it needs a device that is full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_where_nothing_can_be_said_there_is_the_exit_code(
    tmp_path: Path, lines: Path, unbuffered: str
) -> None:
    file = written(lines, body("1"), body("2", "Item"))
    line = f'"$cloudsignal" send --file {file} --outbox o'
    assert in_shell(f"{line} 2>/dev/full", folder=tmp_path, unbuffered=unbuffered) == (3, "")


def test_who_reads_no_more_is_not_told() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [COMMAND, "send", *PACKED, "--dry-run"],
        stdout=writing, stderr=subprocess.PIPE, env=quiet(), check=False, timeout=60,
    )  # fmt: skip
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (1, b"")


def test_a_standard_input_that_is_closed_is_said(tmp_path: Path) -> None:
    assert in_shell('"$cloudsignal" send --file - --outbox o <&-', folder=tmp_path) == (
        6,
        "cloudsignal: there is no standard input: it is closed\n",
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_the_letters_is_no_reason_to_break_off(
    lines: Path, encoding: str
) -> None:
    table = lines.with_suffix(".csv")
    table.write_text(f"type,order,item,datetime\nItemPacked,ü→,1,{NOON}\n", encoding="utf-8")
    environment = quiet() | {"PYTHONIOENCODING": encoding}
    for flag, shown in (("--json", "ü→".encode()), ("--dry-run", b"\\u2192")):
        ran = subprocess.run(
            [COMMAND, "import", str(table), "--dry-run", flag],
            capture_output=True, check=False, timeout=60, env=environment,
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert shown in ran.stdout
