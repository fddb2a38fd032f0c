"""``cloudsignal import``: tables over a real port, and what happens when it is killed."""

import json
import signal as signals
import subprocess
import threading
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.protocol.http import Answer, Header
from cloudsignal.testing import FakeServer, Fault, unavailable
from cloudsignal.testing.fakes import APIKEY
from tests.cli.conftest import Ran, Run
from tests.cli.test_look import COMMAND, quiet
from tests.cli.test_send import Strict

NOON = "2026-01-01T12:00:00Z"
HEADER = "type,order,item,datetime\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orders.csv"


def packed(items: Iterable[object]) -> str:
    return HEADER + "".join(f"ItemPacked,7,{item},{NOON}\n" for item in items)


def beside(path: Path) -> list[str]:
    return sorted(each.name for each in path.parent.iterdir() if each.name.startswith("orders"))


# ---- what is sent ----


def test_rows_are_sent_in_bundles(run: Run, server: FakeServer, path: Path) -> None:
    path.write_text(packed(range(2500)))
    assert run("import", str(path)) == Ran(0, "stored: 2500 new, position 2500\n", "")
    assert server.posts == 3
    assert [each.item for each in server.received()] == [str(n) for n in range(2500)]
    receipt = {"signals": 2500, "accepted": 0, "duplicates": 2500, "position": 2500}
    assert run("import", str(path), "--json").json == receipt
    assert beside(path) == ["orders.csv"]


def test_a_table_as_a_spreadsheet_in_germany_saves_it(
    run: Run, server: FakeServer, path: Path
) -> None:
    path.write_bytes(
        "Auftrag;Position;Versandt am;Tracking;Shipping Option;Gewicht\r\n"
        "0007;1;20.01.2016 13:00;1A;Müller;2,5\r\n".encode("cp1252")
    )
    words = [
        *("--type", "ItemShipped", "--map", "Auftrag=order", "--map", "Position=item"),
        *("--map", "Versandt am=datetime", "--datetime-format", "%d.%m.%Y %H:%M"),
        *("--timezone", "Europe/Berlin"),
    ]
    told = run("import", str(path), *words).failed(6)
    assert told.endswith("try --encoding cp1252")
    ran = run("import", str(path), *words, "--encoding", "cp1252")
    assert ran.out == "stored: 1 new, position 1\n"
    assert ran.err == "cloudsignal: these columns are no fields, and not sent: Gewicht\n"
    server.assert_received(
        "ItemShipped",
        order="0007",
        item="1",
        datetime="2016-01-20T13:00:00+01:00",
        tracking="1A",
        shipping_option="Müller",
    )


def test_wrong_and_refused_rows_are_left_to_be_corrected(run: Run, path: Path) -> None:
    items: list[object] = list(range(100))
    items[10], items[20] = "other", " "
    path.write_text(packed(items))
    with Strict() as strict:
        words = ["--base-url", strict.url]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("CLOUDSIGNAL_APIKEY", APIKEY)
            ran = run("import", "orders.csv", *words)
            assert (ran.code, ran.out) == (3, "stored: 98 new, position 98\n")
            assert ran.err == (
                "cloudsignal: 2 of 100 rows are not stored: they are in orders.errors.csv with what is wrong;"
                " correct them there, and import that file\n"
            )
            errors = path.with_name("orders.errors.csv")
            listed = errors.read_text(encoding="utf-8-sig")
            assert listed.splitlines() == [
                "error,type,order,item,datetime",
                f"another print partner has reported this item,ItemPacked,7,other,{NOON}",
                f'"ItemPacked needs item: the item id, as the platform gave it",ItemPacked,7, ,{NOON}',
            ]
            errors.write_text(listed.replace(",other,", ",a,").replace(", ,", ",b,"))
            assert run("import", "orders.errors.csv", *words).out == "stored: 2 new, position 100\n"


# ---- a dry run ----


def test_a_dry_run_shows_rows_and_sends_nothing(run: Run, path: Path) -> None:
    path.write_text(packed([*range(499), " "]))
    ran = run("import", str(path), "--dry-run")
    assert (ran.code, ran.err) == (3, "cloudsignal: 1 of 500 rows are wrong\n")
    first, *_, last = ran.out.splitlines()
    assert first == f"ok    line 2: ItemPacked order 7, item 0, datetime {NOON}"
    assert last == "FAIL  line 501: ItemPacked needs item: the item id, as the platform gave it"
    assert beside(path) == ["orders.csv"]


def test_a_dry_run_shows_the_first_rows_and_those_that_are_wrong_later(
    run: Run, path: Path
) -> None:
    path.write_text(packed([*range(700), " ", *range(100)]))
    ran = run("import", str(path), "--dry-run")
    assert ran.code == 3
    shown = [line.partition(":")[0] for line in ran.out.splitlines()]
    assert shown == [*(f"ok    line {number}" for number in range(2, 502)), "FAIL  line 702"]
    assert ran.err.splitlines() == [
        "cloudsignal: 300 more rows are not shown, none of them wrong: with --json all are",
        "cloudsignal: 1 of 801 rows are wrong",
    ]


def test_a_dry_run_in_which_everything_is_wrong_can_be_read_all_the_same(
    run: Run, path: Path
) -> None:
    path.write_text(packed([" "] * 2000))
    ran = run("import", str(path), "--dry-run")
    assert ran.out.count("ItemPacked needs item") == 1000
    assert ran.err.splitlines() == [
        "cloudsignal: 1000 more rows are not shown, 1000 of them wrong: with --json all are",
        "cloudsignal: 2000 of 2000 rows are wrong",
    ]
    ran = run("import", str(path), "--dry-run", "--json")
    assert (ran.out.count("\n"), ran.err) == (2000, "cloudsignal: 2000 of 2000 rows are wrong\n")


def test_a_dry_run_for_programs_is_a_line_for_each_row(run: Run, path: Path) -> None:
    path.write_text(packed(["1", ""]))
    ran = run("import", str(path), "--dry-run", "--json")
    assert ran.code == 3
    first, second = map(json.loads, ran.out.splitlines())
    signal = {"type": "ItemPacked", "order": "7", "item": "1", "datetime": NOON}
    assert first == {"line": 2, "signal": signal}
    assert second["line"] == 3
    assert second["problems"][0].startswith("ItemPacked needs item")


# ---- what cannot be done ----


@pytest.mark.parametrize(
    ("content", "words", "sentence"),
    [
        ("order,item\n", [], "no column is datetime: there are order, item; say which it is with"),
        (HEADER, ["--timezone", "Mars"], "there is no time zone 'Mars'"),
        (HEADER, ["--type", "Item"], "there is no type 'Item'"),
        (HEADER, ["--base-url", "x"], "base_url has to begin with https://"),
        ("\x1b[2J,order\n", [], "no column is item: there are \\x1b[2J, order"),
    ],
)
def test_what_cannot_be_used_ends_with_6(
    run: Run, server: FakeServer, path: Path, content: str, words: list[str], sentence: str
) -> None:
    path.write_text(content)
    assert run("import", str(path), *words).failed(6).startswith(sentence)
    assert server.posts == 0


def test_a_map_that_makes_no_sense_ends_with_2(run: Run, path: Path) -> None:
    ran = run("import", str(path), "--map", "Auftrag")
    assert ran.code == 2
    assert "write --map 'COLUMN=FIELD'" in " ".join(ran.err.replace("│", " ").split())
    ran = run("import", str(path), "--map", "Auftrag=order", "--map", "Auftrag=item")
    assert ran.code == 2
    assert "--map names a column twice" in " ".join(ran.err.replace("│", " ").split())


def test_what_could_not_be_sent_is_sent_by_the_same_command(
    run: Run, server: FakeServer, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profiles.toml").write_text("[default]\ntries = 1\nbundle_max = 10\n")
    monkeypatch.setenv("CLOUDSIGNAL_PROFILES", "profiles.toml")
    path.write_text(packed([*range(5), "", *range(5, 29)]))
    server.fail(*[unavailable()] * 1)
    assert run("import", str(path)).failed(4).startswith("the store cannot be used just now")
    assert beside(path) == ["orders.csv", "orders.csv.progress"]
    ran = run("import", str(path))
    assert (ran.code, ran.out) == (3, "stored: 29 new, position 29\n")
    assert ran.err.startswith("cloudsignal: it goes on after row 0, where it was interrupted\n")
    assert beside(path) == ["orders.csv", "orders.errors.csv"]


def test_who_breaks_it_off_is_told_that_it_goes_on(
    run: Run, server: FakeServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.write_text(packed(range(2500)))
    answer = server.answer

    def interrupting(*request: Any) -> Any:
        if server.posts:
            signals.raise_signal(signals.SIGINT)
        return answer(*request)

    monkeypatch.setattr(server, "answer", interrupting)
    ran = run("import", str(path))
    assert (ran.code, ran.out) == (130, "")
    assert "cloudsignal: interrupted: the same command goes on from here\n" in ran.err
    monkeypatch.undo()


# ---- killed ----


class Killing(FakeServer):
    """A server that kills who sends the posts of some numbers, before or after it stores them."""

    def __init__(self, *moments: tuple[int, bool]) -> None:
        super().__init__()
        self.moments = dict(moments)
        self.sender: subprocess.Popen[str] | None = None
        self.started = threading.Event()
        self.bundles: list[list[str]] = []

    def answer(
        self, method: str, path: str, headers: Iterable[Header], body: bytes
    ) -> Answer | Fault:
        self.bundles.append([each["item"] for each in json.loads(body)["items"]])
        moment = self.moments.get(len(self.bundles))
        if moment is False:
            self.kill()
        answer = super().answer(method, path, headers, body)
        if moment is True:
            self.kill()
        return answer

    def kill(self) -> None:
        assert self.started.wait(60)
        self.started.clear()  # Before anybody can see that it is dead, and start another.
        sender = self.sender
        assert sender is not None
        sender.kill()
        sender.wait(60)

    def run(self, *words: str, cwd: Path) -> tuple[int, str, str]:
        environment = quiet() | {
            "CLOUDSIGNAL_APIKEY": APIKEY,
            "CLOUDSIGNAL_BASE_URL": self.url,
            "CLOUDSIGNAL_PROFILES": "profiles.toml",
        }
        with subprocess.Popen(
            [COMMAND, *words], cwd=cwd, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        ) as process:  # fmt: skip
            self.sender = process
            self.started.set()
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize(
    "moments",
    [
        [(1, False)],
        [(1, True)],
        [(4, False), (7, True)],
        [(10, True)],
    ],
    ids=str,
)
def test_killed_and_called_again_every_row_is_stored_once(
    path: Path, moments: list[tuple[int, bool]]
) -> None:
    """And sent once, but for the bundle that was in flight."""
    (path.parent / "profiles.toml").write_text("[default]\nbundle_max = 50\n")
    items: list[Any] = list(range(500))
    items[260] = ""
    path.write_text(packed(items))
    with Killing(*moments) as server:
        for _ in moments:
            code, out, _ = server.run("import", "orders.csv", cwd=path.parent)
            assert (code, out) == (-signals.SIGKILL, "")
            assert "orders.csv.progress" in beside(path)
        code, out, err = server.run("import", "orders.csv", cwd=path.parent)

        assert code == 3
        assert "it goes on after row" in err
        assert "1 of 500 rows are not stored" in err
        assert [each.item for each in server.received()] == [str(n) for n in items if n != ""]
        in_flight = [server.bundles[number - 1] for number, _ in moments]
        twice = {item for bundle in in_flight for item in bundle}
        assert [server.bundles[number] for number, _ in moments] == in_flight
        sent = Counter(item for bundle in server.bundles for item in bundle)
        assert {item for item, times in sent.items() if times > 1} == twice
        assert max(sent.values()) == 2
    listed = path.with_name("orders.errors.csv").read_text(encoding="utf-8-sig")
    assert len(listed.splitlines()) == 2
    assert beside(path) == ["orders.csv", "orders.errors.csv"]
