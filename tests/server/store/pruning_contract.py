"""What removing old signals from the log promises, on any store."""

import gzip
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from cloudsignal.server.store import archive, facts, pruning
from cloudsignal.server.store.deliveries import Progress
from cloudsignal.server.store.errors import ArchiveFailed
from cloudsignal.server.store.log import Arrival
from cloudsignal.server.store.reading import ItemQuery
from cloudsignal.server.store.rebuilding import Rebuilt
from cloudsignal.server.store.schema import items, signals, states
from cloudsignal.server.store.store import Store
from tests.server.arrivals import (
    MINUTE,
    NOON,
    SECOND,
    appending,
    arrival,
    positions,
    receipt,
    report,
    whole_log,
)
from tests.server.store import told
from tests.server.store.rebuilding_contract import tamper, whole


class Interrupted(Exception):
    """What a test stops a run with."""


def fill(store: Store, count: int = 9) -> None:
    """A signal a minute, of items 0, 1 and 2 in turn; two of three are the first partner's."""
    for minute in range(count):
        own = report(item=str(minute % 3), minute=minute)
        partner = 1 + (minute % 3 == 2)
        store.append([arrival(own, partner=partner, received=NOON + minute * MINUTE)])


def archived(folder: Path) -> Iterator[dict[str, Any]]:
    """Every signal in the files of a folder, each of which is what its checksum says."""
    files = sorted(folder.glob("signals-*.jsonl.gz"), key=lambda path: int(path.name.split("-")[1]))
    sums = sorted(folder.glob("*.sha256"))
    assert {path.name for path in folder.iterdir()} == {
        name for path in files for name in (path.name, f"{path.name}.sha256")
    }
    if sums:
        subprocess.run(
            ["sha256sum", "--check", "--strict", *(path.name for path in sums)],
            cwd=folder,
            check=True,
            capture_output=True,
        )
    for path in files:
        lines = [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]
        first, last = lines[0]["position"], lines[-1]["position"]
        assert path.name == f"signals-{first}-{last}.jsonl.gz"
        assert len(lines) <= archive.FILE_SIGNALS
        yield from lines


class PruningContract:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Where an archive may be."""
        made = tmp_path / "archive"
        made.mkdir()
        return made

    # ---- what goes ----

    @pytest.mark.parametrize(
        ("before", "position"),
        [
            (NOON - MINUTE, 0),
            (NOON, 0),
            (NOON + 1, 1),
            (NOON + MINUTE, 1),
            (NOON + 4 * MINUTE + 30 * SECOND, 5),
            (NOON + 8 * MINUTE, 8),
            (NOON + 99 * MINUTE, 8),
        ],
    )
    @pytest.mark.parametrize("batch", [2, 500])
    def test_what_arrived_before_goes_and_the_newest_stays(
        self,
        store: Store,
        monkeypatch: pytest.MonkeyPatch,
        before: int,
        position: int,
        batch: int,
    ) -> None:
        monkeypatch.setattr(pruning, "BATCH", batch)
        fill(store)
        items_before = whole(store)
        planned = store.plan_prune(before)
        assert positions(store) == list(range(1, 10))

        pruned = store.prune(before)

        assert pruned == planned
        assert (pruned.position, pruned.signals, pruned.held_by) == (position, position, None)
        assert positions(store) == list(range(position + 1, 10))
        assert whole(store) == items_before
        assert store.prune(before).signals == 0

    def test_the_place_is_found_though_clocks_were_not_quite_in_step(self, store: Store) -> None:
        for minute, late in enumerate((0, 0, 30, 0, 0, 0)):
            received = NOON + minute * 10 * SECOND + late * SECOND
            store.append([arrival(report(item=str(minute)), received=received)])

        # The third arrived at 50 by its clock, and stands before the fourth, which arrived at 30.
        assert store.prune(NOON + 35 * SECOND).position == 4

    def test_an_empty_log_has_nothing_to_prune(self, store: Store) -> None:
        assert store.prune(NOON).signals == 0

    def test_what_a_reader_has_not_passed_stays(self, store: Store) -> None:
        fill(store)
        store.cursors.advance("slow", 3)
        store.cursors.advance("fast", 8)

        pruned = store.prune(NOON + 5 * MINUTE)

        assert (pruned.position, pruned.held_by) == (3, "slow")
        assert positions(store) == [4, 5, 6, 7, 8, 9]
        store.cursors.advance("slow", 5)
        assert store.prune(NOON + 5 * MINUTE).held_by is None
        assert positions(store) == [6, 7, 8, 9]

    def test_what_is_still_to_be_told_at_an_endpoint_stays(self, store: Store) -> None:
        quiet, removed = told.endpoint(store), told.endpoint(store)
        fill(store)
        store.deliveries.note(Progress(positions={quiet.id: 3, removed.id: 2}), now=9)
        store.endpoints.remove(removed.id)

        pruned = store.prune(NOON + 5 * MINUTE)

        assert (pruned.position, pruned.held_by) == (3, quiet.cursor)
        store.deliveries.note(Progress(positions={quiet.id: 9}), now=9)
        assert store.prune(NOON + 5 * MINUTE).position == 5

    # ---- what is left ----

    def test_a_pruned_log_is_read_and_appended_to_as_ever(self, store: Store) -> None:
        fill(store)
        kept = whole_log(store)[5:]
        store.prune(NOON + 5 * MINUTE)

        assert whole_log(store) == kept
        assert store.reading.signals(after=2, limit=2) == kept[:2]
        assert store.reading.signals(after=6, limit=2) == kept[1:3]
        assert store.reading.position_before(2) == 7
        assert store.reading.position_before(99) == 0
        assert [each.position for each in store.reading.signals_of("7", "0")] == [7]
        again, new = store.append(
            [arrival(report(item="0", minute=0)), arrival(report(item="0", minute=6))]
        )
        assert (receipt(again).accepted, receipt(again).position) == (1, 10)
        assert (receipt(new).duplicates, receipt(new).position) == (1, 7)

    @pytest.mark.parametrize(
        "wanted",
        [
            {},
            {"partner": "Alpha"},
            {"partner": "Beta"},
            {"partner": "Alpha", "limit": 2},
            {"partner": "Alpha", "limit": 3},
            {"partner": "Alpha", "before": 5},
            {"partner": "Alpha", "before": 2},
            {"order": "7"},
            {"order": "7", "item": "old 1"},
            {"state": "registered"},
            {"until": NOON + MINUTE},
            {"until": NOON + 4 * MINUTE},
            {"since": NOON + MINUTE},
            {"since": NOON + 4 * MINUTE},
            {"partner": "Alpha", "since": NOON + MINUTE, "until": NOON + 5 * MINUTE},
            {"tracking": "T1"},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("interrupted", [False, True])
    def test_items_are_found_as_if_nothing_was_pruned(
        self, store: Store, wanted: dict[str, Any], interrupted: bool
    ) -> None:
        shipped = report("ItemShipped", item="old 0", minute=0)
        store.append([arrival(shipped, received=NOON)])
        for minute in range(1, 4):
            own = arrival(report(item=f"old {minute}"), received=NOON + minute * MINUTE)
            store.append([own])
        fill(store, 6)
        tamper(store, update(signals).where(signals.c.position > 4).values(received=NOON * 2))
        expected = store.reading.items(ItemQuery(**wanted))

        if interrupted:
            pruning.note(store._database, 4)
            tamper(store, delete(signals).where(signals.c.position <= 2))
        else:
            store.prune(NOON + 4 * MINUTE)

        assert positions(store)[0] == (3 if interrupted else 5)
        assert store.reading.items(ItemQuery(**wanted)) == expected
        assert store.reading.order("7") is not None

    def test_pages_meet_every_item_of_a_partner_once(self, store: Store) -> None:
        for minute in range(9):
            own = report(item=str(minute), minute=minute)
            store.append([arrival(own, received=NOON + minute * MINUTE)])
        store.prune(NOON + 5 * MINUTE)

        met, before = [], None
        while page := store.reading.items(ItemQuery(partner="Alpha", before=before, limit=2)):
            met += [each.item for each in page]
            before = page[-1].position

        assert met == [str(minute) for minute in reversed(range(9))]

    def test_items_that_are_no_longer_whole_are_left_by_a_rebuild(self, store: Store) -> None:
        fill(store, 3)
        store.append([arrival(report(item="new", minute=9), received=NOON + 9 * MINUTE)])
        store.append([arrival(report("ItemPacked", item="0", minute=10), received=2 * NOON)])
        store.prune(NOON + 3 * MINUTE)
        tamper(store, update(states).values(state="shipped"))
        before = whole(store)

        assert store.rebuild(mend=False) == Rebuilt(signals=1, items=1, differed=1, left=3)
        assert whole(store) == before
        assert store.rebuild() == Rebuilt(signals=1, items=1, differed=1, left=3)

        with store._database.reading() as connection:
            mended = select(states.c.item).where(states.c.state == "registered")
            assert connection.scalars(mended).all() == [4]
        assert store.digest().signals == 2

    # ---- the archive ----

    def test_the_archive_holds_everything_of_what_goes(self, store: Store, folder: Path) -> None:
        fill(store, 3)
        shipped = report("ItemShipped", item="ü/%", minute=9, extra={"press": [7, "\n"]})
        store.append([arrival(shipped, partner=2, interface=2, received=NOON + 9, test=True)])
        store.append([arrival(report(item="newest"), received=2 * NOON)])
        gone = whole_log(store)[:4]

        store.prune(NOON * 2, folder=folder / "new")

        found = list(archived(folder / "new"))
        assert found[-1] == {
            "position": 4,
            "received": "2016-01-20T12:00:00.000009+00:00",
            "partner": "Beta",
            "interface": 2,
            "test": True,
            "order": "7",
            "item": "ü/%",
            "type": "ItemShipped",
            "datetime": "2016-01-20T12:09:00+00:00",
            "fingerprint": gone[3].fingerprint,
            "body": json.loads(gone[3].body),
        }
        assert [each["position"] for each in found] == [each.position for each in gone]
        assert positions(store) == [5]

    def test_files_are_bounded_and_each_run_goes_on(
        self, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archive, "FILE_SIGNALS", 2)
        fill(store)

        for minute in (3, 3, 5, 8):
            store.prune(NOON + minute * MINUTE, folder=folder)

        names = sorted(path.name.partition(".")[0] for path in folder.glob("*.gz"))
        assert names == ["signals-1-2", "signals-3-3", "signals-4-5", "signals-6-7", "signals-8-8"]
        assert [each["position"] for each in archived(folder)] == list(range(1, 9))

    def test_an_interrupted_run_neither_loses_nor_doubles_anything(
        self, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(archive, "FILE_SIGNALS", 3)
        monkeypatch.setattr(pruning, "BATCH", 2)
        fill(store)
        reached: list[tuple[str, int]] = []

        def interrupt(step: str, done: int, total: int) -> None:
            if (step, done) not in reached:
                reached.append((step, done))
                raise Interrupted

        for _ in range(100):
            try:
                store.prune(NOON + 8 * MINUTE, folder=folder, progress=interrupt)
            except Interrupted:
                there = {each["position"] for each in archived(folder)} | set(positions(store))
                assert there == set(range(1, 10))
            else:
                break

        assert len(reached) > 5
        assert [each["position"] for each in archived(folder)] == list(range(1, 9))
        assert positions(store) == [9]

    def test_an_interrupted_archive_goes_on_with_a_later_date_but_not_with_an_earlier_one(
        self, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(store)

        def interrupt(step: str, done: int, total: int) -> None:
            raise Interrupted

        with pytest.raises(Interrupted):
            store.prune(NOON + 4 * MINUTE, folder=folder, progress=interrupt)
        assert [each["position"] for each in archived(folder)] == [1, 2, 3, 4]
        with pytest.raises(ArchiveFailed, match="interrupted, so repeat that with its date"):
            store.prune(NOON + 2 * MINUTE, folder=folder)
        assert positions(store) == list(range(1, 10))

        store.prune(NOON + 6 * MINUTE, folder=folder)

        assert [each["position"] for each in archived(folder)] == [1, 2, 3, 4, 5, 6]
        assert positions(store) == [7, 8, 9]

    @pytest.mark.parametrize(
        "content",
        [b"", b"something", gzip.compress(b"{}\n", mtime=0)],
        ids=["empty", "no archive", "other signals"],
    )
    def test_nothing_goes_where_the_archive_holds_something_else(
        self, store: Store, folder: Path, content: bytes
    ) -> None:
        fill(store)
        (folder / "signals-1-4.jsonl.gz").write_bytes(content)

        with pytest.raises(ArchiveFailed, match="something else than these signals"):
            store.prune(NOON + 4 * MINUTE, folder=folder)

        assert (folder / "signals-1-4.jsonl.gz").read_bytes() == content
        assert positions(store) == list(range(1, 10))

    def test_nothing_goes_that_the_archive_cannot_hold(self, store: Store, folder: Path) -> None:
        fill(store)
        tamper(store, delete(items).where(items.c.item == "1"))

        with pytest.raises(ArchiveFailed, match=r"2 of the signals .* run cloudsignal rebuild"):
            store.prune(NOON + 5 * MINUTE, folder=folder)
        with pytest.raises(ArchiveFailed, match="cannot be written, so nothing was removed"):
            store.prune(NOON + 5 * MINUTE, folder=folder / "missing" / "folder")
        with (
            archive._alone(folder),
            pytest.raises(ArchiveFailed, match="wait until it has ended"),
        ):
            store.prune(NOON + 5 * MINUTE, folder=folder)

        with store._database.reading() as connection:
            assert facts.pruned(connection) == 0
            assert len(connection.execute(select(signals)).all()) == 9

    # ---- beside the server ----

    def test_another_connection_appends_meanwhile(
        self, store: Store, another: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(pruning, "BATCH", 10)
        monkeypatch.setattr(archive, "FILE_SIGNALS", 50)
        old = [report(item=str(number), minute=number % 60) for number in range(300)]
        store.append([arrival(*old, received=NOON)])

        def post(number: int) -> Arrival:
            own = report("ItemProduce", item=str(number % 300), minute=number % 60)
            return arrival(report(item=f"new {number}"), own, received=NOON + MINUTE)

        with appending(another, post) as appended:
            before = len(appended)
            pruned = store.prune(NOON + 1, folder=folder)
            # Both got their turns, though the other one never paused.
            assert before < len(appended) < before + 5_000

        assert pruned.position == 300
        assert [each["position"] for each in archived(folder)] == list(range(1, 301))
        assert positions(store) == list(range(301, 301 + sum(appended)))
        assert store.rebuild().differed == 0
