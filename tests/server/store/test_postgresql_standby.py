"""What becomes of a commit whose synchronous standby is away."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from cloudsignal.protocol.wire import Receipt
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.postgresql import writer
from cloudsignal.server.store.store import Store, open_store
from tests import postgresql
from tests.server.arrivals import arrival, receipt, report
from tests.server.store.contract import furnish


@pytest.fixture(scope="module")
def server(postgresql_programs: str) -> Iterator[postgresql.Server]:
    server = postgresql.Server(postgresql.binaries()[postgresql_programs]).initialise()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def store(server: postgresql.Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    server.set("synchronous_standby_names", "")
    monkeypatch.setattr(writer, "GROUP_S", 0.2)
    with (
        postgresql.database(server.url()) as url,
        closing(open_store(url)) as store,
    ):
        furnish(store)
        yield store
        server.set("synchronous_standby_names", "")


def miss_standby(server: postgresql.Server, store: Store) -> None:
    """Have commits wait for a standby that is not there, those of the store's session too."""
    server.miss_standby()
    session = store._writer._open()  # type: ignore[attr-defined]
    while session.execute("SHOW synchronous_standby_names").fetchone() != ("nobody",):
        pass


def append(store: Store, minute: int = 0) -> Receipt:
    [answer] = store.append([arrival(report(minute=minute))])
    return receipt(answer)


def test_a_commit_that_waits_too_long_is_not_acknowledged_and_neither_is_its_repeat(
    server: postgresql.Server, store: Store
) -> None:
    append(store)
    miss_standby(server, store)

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="not reached the synchronous standby"):
            append(store, minute=1)
    with pytest.raises(StoreUnavailable, match="not reached the synchronous standby"):
        append(store)  # Long on the standby, but that cannot be told from here.

    server.set("synchronous_standby_names", "")
    assert append(store, minute=1) == Receipt(accepted=0, duplicates=1, position=2)


def test_nobody_reads_what_the_standby_does_not_have(
    server: postgresql.Server, store: Store
) -> None:
    reading = store.reading
    append(store)
    settled = reading.signals(after=0, limit=9)
    miss_standby(server, store)
    with pytest.raises(StoreUnavailable):
        append(store, minute=1)

    # It can be seen, but its position may yet be given to another signal.
    assert reading.last_position() == 2
    for look in (
        lambda: reading.signals(after=0, limit=9),
        lambda: reading.signals(after=1, limit=9),
        lambda: reading.position_before(0),
    ):
        with pytest.raises(StoreUnavailable, match="not reached the synchronous standby"):
            look()
    assert reading.signals(after=0, limit=1) == settled

    server.set("synchronous_standby_names", "")
    assert [each.position for each in reading.signals(after=0, limit=9)] == [1, 2]
    assert reading.position_before(0) == 2


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("off", "on"), ("local", "on"), ("remote_write", "on"), ("remote_apply", "remote_apply")],
)
def test_a_session_stays_durable_whatever_is_set_later(
    server: postgresql.Server, store: Store, given: str, wanted: str
) -> None:
    server.set("synchronous_commit", "on" if wanted == "on" else given)
    append(store)
    store._writer.close()
    append(store, minute=1)

    server.set("synchronous_commit", given)
    append(store, minute=2)

    session = store._writer._open()  # type: ignore[attr-defined]
    assert session.execute("SHOW synchronous_commit").fetchone() == (wanted,)
    server.set("synchronous_commit", "on")


def test_a_quiet_session_still_hears_that_its_standby_is_away(
    server: postgresql.Server, store: Store
) -> None:
    append(store)
    server.set("client_min_messages", "error")
    store._writer.close()
    miss_standby(server, store)

    with pytest.raises(StoreUnavailable, match="not reached the synchronous standby"):
        append(store, minute=1)

    server.set("client_min_messages", "notice")
