"""What the digest of a log promises, on any store."""

import struct
from hashlib import blake2b
from typing import Any

import pytest
from sqlalchemy import select, update

from cloudsignal.server.store import batches, digest, pruning
from cloudsignal.server.store.digest import Digest
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.schema import signals
from cloudsignal.server.store.store import Store
from tests.server.arrivals import arrival, report
from tests.server.store.rebuilding_contract import tamper

CHANGES: dict[str, Any] = {
    "position": signals.c.position + 100,
    "item": signals.c.item + 1,
    "received": signals.c.received + 1,
    "partner": 2,
    "interface": 2,
    "test": True,
    "type": "ItemPacked",
    "datetime": signals.c.datetime + 1,
    "fingerprint": "f",
    "body": "{}",
}


def fill(store: Store) -> None:
    for number in range(5):
        store.append([arrival(report(item=f"ü {number}"), received=number, test=number % 2 == 1)])


class DigestContract:
    def test_an_empty_log_has_the_digest_of_nothing(self, store: Store) -> None:
        nothing = blake2b(digest_size=digest.DIGEST_BYTES).hexdigest()

        assert store.digest() == Digest(0, 0, 0, nothing)

    def test_it_follows_from_every_column_of_every_signal_in_order(self, store: Store) -> None:
        fill(store)
        with store._database.reading() as connection:
            rows = connection.execute(select(signals).order_by(signals.c.position)).all()

        written = b"".join(packed(list(row)) for row in rows)

        value = blake2b(written, digest_size=digest.DIGEST_BYTES).hexdigest()
        assert store.digest() == Digest(signals=5, first=1, last=5, value=value)

    @pytest.mark.parametrize("column", CHANGES)
    def test_a_log_that_differs_in_one_thing_has_another_one(
        self, store: Store, column: str
    ) -> None:
        fill(store)
        before = store.digest()
        tamper(
            store,
            update(signals).where(signals.c.position == 3).values({column: CHANGES[column]}),
        )

        assert store.digest().value != before.value

    @pytest.mark.parametrize(("rows", "size"), [(1, 1 << 20), (2, 1 << 20), (5, 1 << 20), (9, 1)])
    def test_it_is_the_same_however_the_log_is_read(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, rows: int, size: int
    ) -> None:
        fill(store)
        before = store.digest()
        monkeypatch.setattr(batches, "ROWS", rows)
        monkeypatch.setattr(digest, "ROWS", rows)
        monkeypatch.setattr(batches, "BYTES", size)
        told: list[tuple[int, int]] = []

        assert store.digest(progress=lambda *step: told.append(step)) == before

        assert told[-1] == (5, 5)
        assert told == sorted(told)

    def test_what_is_about_to_be_removed_does_not_count(self, store: Store) -> None:
        fill(store)
        pruning.note(store._database, 3)
        before = store.digest()

        pruning.remove(store._database, 3)

        assert (before.signals, before.first) == (2, 4)
        assert store.digest() == before

    def test_a_log_that_is_pruned_meanwhile_has_none(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fill(store)
        monkeypatch.setattr(digest, "ROWS", 2)

        with pytest.raises(StoreUnavailable, match="pruned meanwhile: run this again"):
            store.digest(progress=lambda done, total: pruning.note(store._database, done))


def packed(values: list[Any]) -> bytes:
    """A row as MessagePack says, written down once more."""
    return bytes([0x90 | len(values)]) + b"".join(map(packed_value, values))


def packed_value(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        for limit, head, form in ((1 << 8, 0xCC, ">BB"), (1 << 16, 0xCD, ">BH")):
            if value < 128:
                return bytes([value])
            if value < limit:
                return struct.pack(form, head, value)
        return (
            struct.pack(">BI", 0xCE, value) if value < 1 << 32 else struct.pack(">BQ", 0xCF, value)
        )
    text = value.encode()
    if len(text) < 32:
        return bytes([0xA0 | len(text)]) + text
    return struct.pack(">BB", 0xD9, len(text)) + text
