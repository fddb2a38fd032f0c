"""What is put into an outbox arrives, whatever the server and the disk do meanwhile."""

import asyncio
import itertools
import logging
import multiprocessing
import os
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from cloudsignal import (
    InvalidSignals,
    ItemDelay,
    ItemPacked,
    ItemProduced,
    ItemShipped,
    Outbox,
    OutboxError,
    OutboxFull,
    OutboxUnusable,
    SetupError,
)
from cloudsignal.partner.outbox import outbox as opened
from cloudsignal.partner.outbox.file import File
from cloudsignal.partner.outbox.sender import Sender
from cloudsignal.testing import (
    FakeServer,
    answering,
    garbage,
    hanging_up,
    silent,
    some_page,
    unavailable,
)
from cloudsignal.testing.fakes import APIKEY

LONG_S = 30


def packed(item: Any = 1, order: str = "7") -> ItemPacked:
    return ItemPacked(order=order, item=str(item), datetime="2026-01-01T00:00:00Z")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


@pytest.fixture
def outbox(path: Path, server: FakeServer) -> Iterator[Outbox]:
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        yield outbox


@pytest.fixture
def file(path: Path) -> Iterator[File]:
    """The file, as another program opens it."""
    file = File(path)
    yield file
    file.close()


def hurrying(file: File, condition: Callable[[], object]) -> None:
    """Wait for something, with nobody who waits for another try meanwhile."""
    for _ in range(600):
        if condition():
            return
        file.hurry()
        threading.Event().wait(0.05)
    raise AssertionError("it has not come to that")


def put_on(outbox: Outbox) -> None:
    """Put signals until that fails."""
    while True:
        outbox.put(packed(os.urandom(8).hex()))


def forked(target: Callable[[], None]) -> Any:
    process = multiprocessing.get_context("fork").Process(target=target)
    process.start()
    return process


# ---- putting -------------------------------------------------------------------------------------


def test_what_is_put_arrives(outbox: Outbox, server: FakeServer) -> None:
    assert outbox.put(packed(1)) == (1,)
    assert outbox.put(packed(2), packed(3)) == (2, 3)
    assert outbox.drain(LONG_S) == 0
    assert sorted(each.item for each in server.received()) == ["1", "2", "3"]
    assert outbox.health().waiting == 0


def test_without_an_address_it_is_kept_for_whoever_sends(path: Path, server: FakeServer) -> None:
    with Outbox(path) as outbox:
        outbox.put(packed())
        assert outbox.drain(0) == 1
        assert repr(outbox) == f"Outbox({str(path)!r})"
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        assert outbox.drain(LONG_S) == 0
    assert server.received() == [packed()]


def test_what_another_process_puts_is_sent_too(
    outbox: Outbox, path: Path, server: FakeServer
) -> None:
    with Outbox(path) as another:
        another.put(packed())
        assert another.drain(LONG_S) == 0
    assert server.received() == [packed()]


def test_what_no_server_would_take_is_not_put(outbox: Outbox, server: FakeServer) -> None:
    with pytest.raises(InvalidSignals, match=r"items\[1\]: ItemShipped needs tracking"):
        outbox.put(
            packed(),
            ItemShipped(
                order="7", item="1", datetime="2026-01-01 00:00", tracking="", shipping_option="GLS"
            ),
        )
    assert outbox.drain(0) == 0
    assert server.posts == 0


def test_signals_of_an_order_go_out_in_bundles(path: Path, server: FakeServer) -> None:
    with Outbox(path) as outbox:
        for number in range(40):
            outbox.put(packed(number, order=str(number % 4)))
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        outbox.drain(LONG_S)
    assert server.posts == 4
    assert len(server.signals) == 40


def test_many_threads_share_a_commit_and_each_gets_its_own_ids(path: Path) -> None:
    ids: dict[str, tuple[int, ...]] = {}
    with Outbox(path) as outbox:

        def put(name: str) -> None:
            for number in range(20):
                ids[f"{name} {number}"] = outbox.put(packed(f"{name} {number}"))

        threads = [threading.Thread(target=put, args=(str(name),)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    file = File(path)
    assert {each.item: (each.id,) for each in file.entries()} == ids
    file.close()


def test_a_full_outbox_takes_nothing_and_says_so(path: Path, server: FakeServer) -> None:
    with Outbox(path, bytes_max=100_000) as outbox:
        with pytest.raises(OutboxFull, match="nothing was taken"):
            outbox.put(*(packed(n) for n in range(2_000)))
        outbox.put(packed("fits"))
    # And is emptied although there is no room left to write in.
    with Outbox(path, server.url, apikey=APIKEY, bytes_max=4096) as outbox:
        with pytest.raises(OutboxFull):
            outbox.put(*(packed(n) for n in range(2_000)))
        assert outbox.drain(LONG_S) == 0
    assert server.received() == [packed("fits")]


def test_only_its_owner_can_read_it(path: Path) -> None:
    Outbox(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_key_is_not_in_the_files(path: Path, server: FakeServer) -> None:
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        server.fail(answering(400, APIKEY))
        outbox.put(packed())
        outbox.drain(LONG_S)
        for each in path.parent.iterdir():
            assert APIKEY.encode() not in each.read_bytes()


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda path: path.write_text("what is this? " * 99), "is no outbox, or is damaged"),
        (lambda path: path.mkdir(), "cannot be"),
        (
            lambda path: sqlite3.connect(path).execute("CREATE TABLE mine (x)").connection.close(),
            "is a database, but no outbox",
        ),
    ],
)
def test_a_file_that_is_no_outbox_is_left_alone(
    path: Path, prepare: Callable[[Path], None], sentence: str
) -> None:
    prepare(path)
    with pytest.raises(OutboxUnusable, match=sentence):
        Outbox(path)


def test_a_file_of_a_newer_version_is_left_alone(path: Path) -> None:
    Outbox(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(OutboxUnusable, match="newer version"):
        Outbox(path)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutboxUnusable, match="No such file or directory"):
        Outbox(tmp_path / "nowhere" / "outbox.db")


def test_a_wrong_address_is_said_before_anything_is_put(path: Path) -> None:
    with pytest.raises(SetupError):
        Outbox(path, "signals", apikey=APIKEY)


# ---- sending -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        hanging_up(),
        hanging_up(stores=True),
        unavailable(),
        answering(500),
        answering(404),
        answering(302),
        answering(
            400, "<html>The plain HTTP request was sent to HTTPS port", content_type="text/html"
        ),
        answering(429),
        some_page(),
        garbage(),
    ],
    ids=repr,
)
def test_what_fails_is_tried_until_it_arrives(
    outbox: Outbox, server: FakeServer, file: File, fault: Any
) -> None:
    server.fail_always(fault)
    outbox.put(packed(1))
    outbox.put(packed(2, order="8"))
    hurrying(file, lambda: server.posts >= 4 and file.trouble())
    health = outbox.health()
    assert health.waiting == 2
    assert health.trouble is not None
    assert health.trouble.tries >= 2
    server.recover()
    hurrying(file, lambda: outbox.drain(0) == 0)
    assert sorted(each.item for each in server.received()) == ["1", "2"]
    assert outbox.health().trouble is None


def test_a_silent_server_is_tried_again(path: Path, server: FakeServer, file: File) -> None:
    server.fail(silent())
    with Outbox(path, server.url, apikey=APIKEY, timeout_s=0.2) as outbox:
        outbox.put(packed())
        hurrying(file, lambda: outbox.drain(0) == 0)
    assert server.posts == 2


def test_a_refused_signal_stands_alone_and_the_rest_goes_on(
    outbox: Outbox, server: FakeServer, file: File
) -> None:
    server.body_bytes_max = 400  # Two or three fit in, and the long one never does.
    long = ItemDelay(order="7", item="2", datetime="2026-01-01T00:00:00Z", cause="x" * 500)
    outbox.put(packed(1), long, *(packed(number) for number in range(3, 9)))
    assert outbox.drain(LONG_S) == 0
    assert [each.item for each in server.received()] == list("1345678")
    [refused] = file.entries(states=["refused"])
    assert refused.item == "2"
    assert "larger than 400 bytes" in refused.info


def test_the_servers_sentence_is_kept_with_what_it_refused(
    outbox: Outbox, server: FakeServer, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    server.fail(
        answering(400, {"error": {"type": "unknown_order", "info": "there is no order 7 here"}})
    )
    [first] = outbox.put(packed(1))
    outbox.drain(LONG_S)
    outbox.put(packed(2))
    assert outbox.drain(LONG_S) == 0
    entry = file.entry(first)
    assert entry is not None
    assert (entry.state, entry.info) == ("refused", "there is no order 7 here")
    assert outbox.health().refused == 1
    assert "signal 1 is refused: there is no order 7 here" in caplog.text
    assert server.received() == [packed(2)]

    assert file.retry([first], 0) == 1
    assert outbox.drain(LONG_S) == 0
    assert [each.item for each in server.received()] == ["2", "1"]
    assert outbox.health().refused == 0


def test_another_partners_item_does_not_pause_everything(
    outbox: Outbox, server: FakeServer
) -> None:
    server.fail(answering(403, {"error": {"type": "not_your_item", "info": "it is another's"}}))
    outbox.put(packed())
    assert outbox.drain(LONG_S) == 0
    assert outbox.health().refused == 1


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_pauses_everything_until_it_is_resumed(
    outbox: Outbox,
    server: FakeServer,
    file: File,
    status: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.fail(answering(status, {"error": {"type": "unknown_key", "info": "no such key"}}))
    outbox.put(packed(1))
    assert outbox.drain(LONG_S) == 1
    assert outbox.health().paused == "no such key"
    assert "NOTHING IS SENT ANY MORE: no such key" in caplog.text
    assert caplog.records[-1].levelno == logging.ERROR
    outbox.put(packed(2))
    assert outbox.drain(LONG_S) == 2
    assert server.posts == 1

    file.resume()
    assert outbox.drain(LONG_S) == 0
    assert [each.item for each in server.received()] == ["1", "2"]


def test_who_starts_it_again_has_perhaps_mended_it(path: Path, server: FakeServer) -> None:
    server.fail(answering(401))
    for left in (1, 0):
        with Outbox(path, server.url, apikey=APIKEY) as outbox:
            if left:
                outbox.put(packed())
            assert outbox.drain(LONG_S) == left


def test_what_is_discarded_is_not_sent(outbox: Outbox, server: FakeServer, file: File) -> None:
    server.fail_always(unavailable())
    [one] = outbox.put(packed(1))
    outbox.put(packed(2))
    hurrying(file, lambda: server.posts)
    assert file.discard([one], 5) == 1
    server.recover()
    hurrying(file, lambda: outbox.drain(0) == 0)
    assert [each.item for each in server.received()] == ["2"]
    assert [each.state for each in file.entries()] == ["discarded", "sent"]


def test_signals_of_an_item_arrive_in_the_order_in_which_they_were_put(
    outbox: Outbox, server: FakeServer, file: File
) -> None:
    for number in range(60):
        if number % 7 == 0:
            server.fail(answering(500), hanging_up(stores=True))
        kind = (ItemPacked, ItemProduced)[number % 2]
        outbox.put(kind(order="7", item=str(number % 3), datetime=f"2026-01-01T00:00:{number:02}Z"))
    hurrying(file, lambda: outbox.drain(0) == 0)
    assert len(server.signals) == 60
    for item in "012":
        times = [each.datetime for each in server.received(item=item)]
        assert times == sorted(times)


def test_a_file_that_is_full_of_what_was_sent_has_room_again(
    path: Path, server: FakeServer
) -> None:
    with Outbox(path, server.url, apikey=APIKEY, bytes_max=200_000) as outbox:
        for number in range(6):
            outbox.put(*(packed(f"{number} {n}", order=str(number)) for n in range(200)))
            assert outbox.drain(LONG_S) == 0
    assert len(server.signals) == 1200


def test_an_outbox_that_is_full_is_emptied_by_sending(path: Path, server: FakeServer) -> None:
    with Outbox(path, bytes_max=100_000) as outbox, pytest.raises(OutboxFull):
        put_on(outbox)
    with Outbox(path, server.url, apikey=APIKEY, bytes_max=100_000) as outbox:
        assert outbox.drain(LONG_S) == 0
        outbox.put(packed("fits again"))
        assert outbox.drain(LONG_S) == 0
    assert server.signals[-1].signal == packed("fits again")


def test_a_read_that_fails_costs_nothing_but_time(
    outbox: Outbox, server: FakeServer, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = File.still_waiting, [OutboxError("the disk hiccups")]

    def still_waiting(self: File, ids: Sequence[int]) -> set[int]:
        if failures:
            raise failures.pop()
        return real(self, ids)

    monkeypatch.setattr(File, "still_waiting", still_waiting)
    outbox.put(packed())
    hurrying(file, lambda: outbox.drain(0) == 0)
    assert not failures
    assert server.received() == [packed()]


def test_sending_that_breaks_off_is_noted_and_begins_again(
    path: Path, server: FakeServer, file: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = Sender.run, [MemoryError("there is none left")]
    again = threading.Event()

    async def run(self: Sender) -> None:
        if failures:
            raise failures.pop()
        await asyncio.to_thread(again.wait)
        await real(self)

    monkeypatch.setattr(Sender, "run", run)
    monkeypatch.setattr(opened, "AGAIN_S", 0.01)
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        outbox.put(packed())
        hurrying(file, lambda: outbox.health().trouble)
        assert outbox.health().trouble.info == "there is none left"  # type: ignore[union-attr]
        again.set()
        assert outbox.drain(LONG_S) == 0
        assert outbox.health().trouble is None


def test_a_key_that_was_mended_counts_when_it_is_resumed(
    path: Path, server: FakeServer, file: File, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("f" * 32)
    with Outbox(path, server.url, apikey_file=key) as outbox:
        outbox.put(packed())
        assert outbox.drain(LONG_S) == 1
        key.write_text(APIKEY)
        file.resume()
        assert outbox.drain(LONG_S) == 0


def test_a_server_that_repeats_the_key_does_not_get_it_shown(
    outbox: Outbox, server: FakeServer, file: File, caplog: pytest.LogCaptureFixture
) -> None:
    info = f"cannot handle {APIKEY}\n\x1b[2Jforged line"
    server.fail_always(answering(500, {"error": {"type": "defect", "info": info}}))
    outbox.put(packed())
    hurrying(file, lambda: outbox.health().trouble)
    assert outbox.health().trouble.info == "cannot handle … [2Jforged line"  # type: ignore[union-attr]
    assert APIKEY not in caplog.text


def test_who_closes_it_while_others_put_hurts_nobody(path: Path) -> None:
    for _ in range(20):
        outbox = Outbox(path)
        said: list[OutboxError] = []

        def put(outbox: Outbox = outbox, said: list[OutboxError] = said) -> None:
            with pytest.raises(OutboxError) as caught:
                put_on(outbox)
            said.append(caught.value)

        threads = [threading.Thread(target=put) for _ in range(3)]
        for thread in threads:
            thread.start()
        outbox.close()
        for thread in threads:
            thread.join()
        assert ["is closed" in str(each) for each in said] == [True] * 3


def test_a_put_within_a_put_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = File.put

    def put(self: File, given: Any, now: int) -> range:
        # As when a signal handler interrupts a put in the middle.
        with pytest.raises(OutboxError, match="signal handler"):
            outbox.put(packed("inner"))
        return real(self, given, now)

    with Outbox(path) as outbox:
        monkeypatch.setattr(File, "put", put)
        assert outbox.put(packed("outer")) == (1,)


@pytest.mark.parametrize("forks", [False, True])
def test_an_outbox_that_went_away_takes_nothing_and_does_not_come_back_empty(
    path: Path, forks: bool
) -> None:
    with Outbox(path) as outbox:
        outbox.put(packed())
        if forks:
            if os.fork() == 0:
                os._exit(0)  # Its connections were closed for that, and are opened anew now.
            os.wait()
        aside = path.with_name("aside")
        path.rename(aside)
        with pytest.raises(OutboxUnusable, match="not there any more"):
            outbox.health()
        with pytest.raises(OutboxUnusable, match="not there any more"):
            outbox.put(packed())
        assert not path.exists()
        aside.rename(path)
        outbox.put(packed())


def test_an_outbox_that_was_replaced_takes_nothing_and_nothing_is_noted_in_the_other(
    path: Path,
) -> None:
    with Outbox(path) as outbox, closing(File(path)) as sending:
        ids = outbox.put(packed("old"))
        for end in ("", "-wal", "-shm"):
            Path(f"{path}{end}").unlink()
        with Outbox(path) as other:
            assert other.put(packed("new")) == ids
            with pytest.raises(OutboxUnusable, match="replaced by another"):
                outbox.put(packed("lost"))
            with pytest.raises(OutboxUnusable, match="replaced by another"):
                sending.settle(ids, "sent", 0)
            assert other.health().waiting == 1


def test_what_is_not_in_the_file_itself_yet_takes_room_too(path: Path) -> None:
    with Outbox(path) as outbox:
        outbox.put(*(packed("x" * 100) for _ in range(100)))
        taken = sum(Path(f"{path}{end}").stat().st_size for end in ("", "-wal"))
        assert outbox.health().file_bytes == taken > 10_000


def test_a_clock_that_jumps_holds_up_nothing_and_loses_nothing(
    path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    years = itertools.cycle([56, 0, 130, 55])
    monkeypatch.setattr(opened, "_now", lambda: next(years) * 365 * 86_400 * 1_000_000)
    server.fail(hanging_up(), hanging_up(stores=True), hanging_up())
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        for number in range(8):
            outbox.put(packed(number))
        assert outbox.drain(LONG_S) == 0
        assert outbox.health().refused == 0
    assert [each.item for each in server.received()] == list("01234567")


# ---- processes -----------------------------------------------------------------------------------


def test_of_two_senders_one_sends_and_the_other_takes_over(path: Path, server: FakeServer) -> None:
    first = Outbox(path, server.url, apikey=APIKEY)
    first.put(packed(1))
    assert first.drain(LONG_S) == 0
    with Outbox(path, server.url, apikey=APIKEY) as second:
        second.put(packed(2))
        assert second.drain(LONG_S) == 0
        first.close()
        second.put(packed(3))
        assert second.drain(LONG_S) == 0
    assert [each.item for each in server.received()] == ["1", "2", "3"]
    assert server.posts == 3


def test_a_child_that_is_forked_puts_and_the_parent_sends(path: Path, server: FakeServer) -> None:
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        outbox.put(packed("parent"))

        def child() -> None:
            outbox.put(packed("child"))
            left = outbox.drain(LONG_S)
            outbox.close()
            os._exit(left)

        process = forked(child)
        process.join(60)
        assert process.exitcode == 0
        outbox.put(packed("after"))
        assert outbox.drain(LONG_S) == 0
    assert [each.item for each in server.received()] == ["parent", "child", "after"]


def test_a_child_that_outlives_its_parent_sends(path: Path, server: FakeServer) -> None:
    # As a daemon does, which forks and ends the process that was started.
    def parent() -> None:
        outbox = Outbox(path, server.url, apikey=APIKEY)
        outbox.put(packed("parent"))
        outbox.drain(LONG_S)
        if os.fork():
            os._exit(0)
        outbox.put(packed("daemon"))
        outbox.drain(LONG_S)
        os._exit(0)

    process = forked(parent)
    process.join(60)
    assert process.exitcode == 0
    assert [each.signal.item for each in server.wait_for(2)] == ["parent", "daemon"]


@pytest.mark.parametrize("closes", [True, False])
def test_what_a_daemon_puts_is_there_for_others(path: Path, file: File, closes: bool) -> None:
    # Its parent, and others who use the file, come and go; while its own file stays the same.
    puts, told = os.pipe()

    def parent() -> None:
        outbox = Outbox(path)
        outbox.put(packed("parent"))
        if os.fork():
            if closes:
                outbox.close()
            os._exit(0)
        for number in range(10):
            outbox.put(packed(number))
            File(path).close()
        os.write(told, b".")
        os._exit(0)

    process = forked(parent)
    process.join(60)
    assert os.read(puts, 1) == b"."
    os.close(puts)
    os.close(told)
    assert len(file.entries()) == 11


def test_a_child_that_goes_elsewhere_has_the_same_outbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Outbox("outbox.db") as outbox:

        def child() -> None:
            os.chdir("/")
            outbox.put(packed())
            os._exit(0)

        process = forked(child)
        process.join(60)
        assert process.exitcode == 0
        assert outbox.health().waiting == 1


def test_threads_of_a_child_open_it_once(path: Path) -> None:
    with Outbox(path) as outbox:

        def child() -> None:
            threads = [
                threading.Thread(target=lambda n=n: outbox.put(packed(n)))  # type: ignore[misc]
                for n in range(8)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            os._exit(outbox.health().waiting)

        process = forked(child)
        process.join(60)
        assert process.exitcode == 8


def test_forks_in_the_middle_of_everything_do_no_harm(path: Path, server: FakeServer) -> None:
    with Outbox(path, server.url, apikey=APIKEY) as outbox:
        stop = threading.Event()

        def put() -> None:
            while not stop.is_set():
                outbox.put(packed(os.urandom(8).hex()))

        thread = threading.Thread(target=put)
        thread.start()
        for number in range(10):

            def child(number: int = number) -> None:
                outbox.put(packed(f"child {number}"))
                os._exit(0)

            process = forked(child)
            process.join(60)
            assert process.exitcode == 0
        stop.set()
        thread.join()
        assert outbox.drain(LONG_S) == 0
    assert len([each for each in server.received() if each.item.startswith("child")]) == 10


# ---- the file ------------------------------------------------------------------------------------


def test_what_was_sent_long_ago_is_removed_and_what_waits_is_not(path: Path, file: File) -> None:
    with Outbox(path) as outbox:
        ids = outbox.put(*(packed(n) for n in range(5)))
    file.settle(ids[:1], "sent", 10)
    file.settle(ids[1:2], "refused", 10, "no")
    file.settle(ids[2:3], "sent", 30)
    file.discard(ids[3:4], 10)
    assert file.prune(20) == 2
    assert [each.id for each in file.entries()] == [2, 3, 5]
    assert [each.id for each in file.entries(states=["waiting"])] == [5]
    assert file.entry(1) is None
    assert file.retry(None, 40) == 1
    assert [each.id for each in file.entries(states=["waiting"])] == [5, 6]
    file.settle([6], "refused", 50, "no")
    assert file.discard(None, 60) == 1
