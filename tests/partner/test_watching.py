"""A hot folder: complete files become signals, others are told what is wrong, and none is lost."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cloudsignal import OutboxFull, SetupError, Signal
from cloudsignal.partner.rows import Layout
from cloudsignal.partner.watching import PROBLEMS_MAX, SETTLE_S, Folder, Taken

LINE = {"type": "ItemPacked", "order": "7", "datetime": "2026-01-01T00:00:00Z"}


class Outbox:
    def __init__(self) -> None:
        self.items: list[str] = []
        self.left = 1_000_000
        self.on_put: Callable[[], None] = lambda: None

    def put(self, *signals: Signal) -> None:
        if not self.left:
            raise OutboxFull("it is full")
        self.left -= 1
        self.items += [each.item for each in signals]
        self.on_put()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def outbox() -> Outbox:
    return Outbox()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, outbox: Outbox, clock: Clock) -> Iterator[Folder]:
    folder = Folder(tmp_path, outbox, Layout(type="ItemPacked"), clock=clock)
    yield folder
    folder.close()


def lines(*items: str) -> str:
    return "".join(json.dumps(LINE | {"item": item}) + "\n" for item in items)


def settled(folder: Folder, clock: Clock) -> list[Taken]:
    """What is taken once nothing changes any more."""
    assert list(folder.look()) == []
    clock.now += SETTLE_S
    return list(folder.look())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", lines("1", "2")),
        ("a.JSON", json.dumps([LINE | {"item": "1"}, LINE | {"item": "2"}])),
        ("a.csv", "order,item,datetime\n7,1,2026-01-01T00:00Z\n7,2,2026-01-01T00:00Z\n"),
        ("a.tsv", "order\titem\tdatetime\n7\t1\t2026-01-01T00:00Z\n7\t2\t2026-01-01T00:00Z\n"),
    ],
)
def test_a_files_signals_are_put_and_the_file_is_moved(
    folder: Folder, outbox: Outbox, clock: Clock, name: str, content: str
) -> None:
    (folder.path / name).write_text(content)
    done = folder.path / "done" / name
    assert settled(folder, clock) == [Taken(done, 2, ())]
    assert outbox.items == ["1", "2"]
    assert done.read_text() == content
    assert not folder.is_unsettled
    assert list(folder.look()) == []


def test_a_file_that_grows_is_waited_for(folder: Folder, outbox: Outbox, clock: Clock) -> None:
    path = folder.path / "a.jsonl"
    for number in range(5):
        with path.open("a") as file:
            file.write(lines(str(number)))
        assert list(folder.look()) == []
        clock.now += SETTLE_S / 2
    assert folder.is_unsettled
    clock.now += SETTLE_S / 2
    [taken] = folder.look()
    assert taken.signals == 5


@pytest.mark.parametrize("name", [".a.jsonl", "~a.csv", "a.jsonl.tmp", "a.csv.part", "A.PART"])
def test_a_file_that_is_called_unfinished_is_left_alone(
    folder: Folder, clock: Clock, name: str
) -> None:
    (folder.path / name).write_text(lines("1"))
    assert settled(folder, clock) == []
    assert (folder.path / name).exists()


def test_what_is_wrong_is_told_beside_the_file_and_nothing_of_it_is_put(
    folder: Folder, outbox: Outbox, clock: Clock
) -> None:
    (folder.path / "a.jsonl").write_text(lines("1") + '{"type": "ItemPackt"}\nwhat?\n')
    [taken] = settled(folder, clock)
    assert outbox.items == []
    assert taken.path == folder.path / "failed" / "a.jsonl"
    reason = (folder.path / "failed" / "a.jsonl.reason.txt").read_text().splitlines()
    assert tuple(reason) == taken.problems
    assert "line 2: " in reason[0]
    assert "did you mean ItemPacked?" in reason[0]
    assert "line 3: " in reason[-1]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.pdf", "", "what a file .pdf holds is not known"),
        ("a", "", "without an ending"),
        ("a.json", "", "there is no signal in it"),
        ("a.csv", "", "is empty"),
        ("a.csv", "what,ever\n1,2\n", "order"),
    ],
)
def test_a_file_without_signals_fails(
    folder: Folder, clock: Clock, name: str, content: str, told: str
) -> None:
    (folder.path / name).write_text(content)
    [taken] = settled(folder, clock)
    assert told in " ".join(taken.problems)
    assert taken.path.parent.name == "failed"


def test_of_very_many_problems_not_all_are_told(folder: Folder, clock: Clock) -> None:
    (folder.path / "a.jsonl").write_text("x\n" * 10_000)
    [taken] = settled(folder, clock)
    assert len(taken.problems) == PROBLEMS_MAX


def test_files_of_one_name_are_all_kept(folder: Folder, outbox: Outbox, clock: Clock) -> None:
    for number in range(3):
        (folder.path / "a.jsonl").write_text(lines(str(number)))
        settled(folder, clock)
    kept = sorted(path.name for path in (folder.path / "done").iterdir())
    assert kept == ["a.2.jsonl", "a.3.jsonl", "a.jsonl"]
    assert outbox.items == ["0", "1", "2"]


def test_the_oldest_file_is_taken_first(folder: Folder, outbox: Outbox, clock: Clock) -> None:
    for age, name in enumerate(["c", "a", "b"]):
        path = folder.path / f"{name}.jsonl"
        path.write_text(lines(name))
        os.utime(path, (age, age))
    settled(folder, clock)
    assert outbox.items == ["c", "a", "b"]


def test_a_full_outbox_leaves_the_file_where_it_is(
    folder: Folder, outbox: Outbox, clock: Clock
) -> None:
    (folder.path / "a.jsonl").write_text(lines("1"))
    outbox.left = 0
    with pytest.raises(OutboxFull):
        settled(folder, clock)
    assert (folder.path / "a.jsonl").exists()
    outbox.left = 1
    assert [taken.signals for taken in folder.look()] == [1]


def test_one_program_at_a_time_watches_a_folder(
    folder: Folder, outbox: Outbox, clock: Clock
) -> None:
    with pytest.raises(SetupError, match="another program watches"):
        Folder(folder.path, outbox, Layout(), clock=clock)
    folder.close()
    Folder(folder.path, outbox, Layout(), clock=clock).close()


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, outbox: Outbox, clock: Clock) -> None:
    with pytest.raises(SetupError, match=r"cannot be watched: No such file or directory$"):
        Folder(tmp_path / "nowhere", outbox, Layout(), clock=clock)


def test_done_may_be_cleared_away(folder: Folder, outbox: Outbox, clock: Clock) -> None:
    for name in ("done", "failed"):
        (folder.path / name).rmdir()
    (folder.path / "good.jsonl").write_text(lines("1"))
    (folder.path / "bad.jsonl").write_text("")
    assert {taken.path.parent.name for taken in settled(folder, clock)} == {"done", "failed"}


def test_a_file_that_cannot_be_moved_is_put_once_and_holds_up_nobody(
    folder: Folder, outbox: Outbox, clock: Clock
) -> None:
    (folder.path / "done").rmdir()
    (folder.path / "done").symlink_to("nowhere")
    (folder.path / "a.jsonl").write_text(lines("1"))
    (folder.path / "b.jsonl").write_text("what?")
    os.utime(folder.path / "a.jsonl", (0, 0))
    list(folder.look())
    clock.now += SETTLE_S
    looked = folder.look()
    assert next(looked).path.name == "b.jsonl"
    with pytest.raises(FileExistsError):
        next(looked)
    with pytest.raises(FileExistsError):
        list(folder.look())
    assert outbox.items == ["1"]
    (folder.path / "done").unlink()
    assert [taken.signals for taken in folder.look()] == [1]
    assert outbox.items == ["1"]


def test_what_an_outbox_took_of_a_file_before_it_was_full_is_not_put_again(
    folder: Folder, outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudsignal.partner.watching.PUT_AT_ONCE", 2)
    (folder.path / "a.jsonl").write_text(lines(*"12345"))
    outbox.left = 2
    with pytest.raises(OutboxFull):
        settled(folder, clock)
    assert outbox.items == ["1", "2", "3", "4"]
    outbox.left = 9
    assert [taken.signals for taken in folder.look()] == [5]
    assert outbox.items == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize("more", [lines("2"), "half a"])
def test_a_file_that_grows_while_it_is_taken_is_taken_whole(
    folder: Folder, outbox: Outbox, clock: Clock, more: str
) -> None:
    path = folder.path / "a.jsonl"
    path.write_text(lines("1"))

    def write_on() -> None:
        outbox.on_put = lambda: None
        with path.open("a") as file:
            file.write(more)

    outbox.on_put = write_on
    assert settled(folder, clock) == []
    assert path.exists()
    [taken] = settled(folder, clock)
    assert taken.path.parent.name == ("done" if more.startswith("{") else "failed")


def test_a_file_that_is_put_in_the_place_of_another_is_taken_too(
    folder: Folder, outbox: Outbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder.path / "a.jsonl"
    path.write_text(lines("1"))
    moved = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self == path and outbox.items == ["1"]:
            (folder.path / ".new").write_text(lines("22"))
            moved(folder.path / ".new", path)
        return moved(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert settled(folder, clock) == []
    assert [taken.path.name for taken in settled(folder, clock)] == ["a.jsonl"]
    assert outbox.items == ["1", "22"]


def test_a_name_that_is_no_text_fails_as_others_do(folder: Folder, clock: Clock) -> None:
    name = os.fsdecode(b"\xff.csv")
    (folder.path / name).touch()
    [taken] = settled(folder, clock)
    assert taken.path == folder.path / "failed" / name
    assert "\\udcff.csv is empty" in taken.path.with_name(f"{name}.reason.txt").read_text()
