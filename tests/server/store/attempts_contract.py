"""How attempts to tell owners are found, and what is seen of those who tell, on any store."""

from typing import Any

from msgspec.structs import replace

from cloudsignal.server.store import messages
from cloudsignal.server.store.deliveries import Attempted, Progress
from cloudsignal.server.store.store import Store
from tests.server.arrivals import arrival, positions, report

ATTEMPTED = Attempted(
    endpoint=1,
    message="",
    type="ItemPacked",
    order="7",
    item="1",
    attempt=1,
    at=1,
    took=1,
    status=204,
    error="",
    address="192.0.2.1",
    webhook="{}",
    headers=[],
    answer=b"",
)


def attempted(**fields: Any) -> Attempted:
    return replace(ATTEMPTED, **fields)


def found(store: Store, **filters: Any) -> list[str]:
    listed = store.delivery_log.attempts(limit=100, **filters)
    assert [each.id for each in listed] == sorted((each.id for each in listed), reverse=True)
    return [each.message for each in listed]


class AttemptsContract:
    def test_attempts_are_found_by_what_they_were_about(self, store: Store) -> None:
        identity = store.identity()
        store.append([arrival(report(item="1")), arrival(report(item="2"), partner=2)])
        first, second = (messages.of_signal(identity, each) for each in positions(store))
        valid = messages.of_order(identity, "CloudprinterOrderValidated", "7")
        canceled = messages.of_order(identity, "CloudprinterOrderCanceled", "7")
        other = messages.of_signal(identity, 4711)
        told = [first, second, first, valid, canceled, other]
        progress = Progress(attempted=[attempted(message=each) for each in told])

        store.deliveries.note(progress, now=1)

        assert found(store) == told[::-1]
        assert found(store, message=first) == [first, first]
        assert found(store, order="7") == [canceled, valid, first, second, first]
        assert found(store, order="7", item="1") == [first, first]
        assert found(store, order="7", item="3") == found(store, order="8") == []

    def test_attempts_are_found_by_endpoint_and_by_whether_they_failed(self, store: Store) -> None:
        progress = Progress(
            attempted=[
                attempted(message="a"),
                attempted(message="b", endpoint=2),
                attempted(message="c", error="it answered 500", status=500),
            ]
        )

        store.deliveries.note(progress, now=1)

        assert found(store, endpoint=1) == ["c", "a"]
        assert found(store, failed=True) == ["c"]
        assert found(store, failed=False) == ["b", "a"]
        [_, second, _] = store.delivery_log.attempts(limit=10)
        assert found(store, before=second.id) == ["a"]
        assert found(store, order="7") == []

    def test_it_is_seen_whether_anybody_tells(self, store: Store, another: Store) -> None:
        assert not store.tellers.any()

        another.tellers.stay("node", lease_s=60)

        assert store.tellers.any()
        another.tellers.leave("node")
        assert not store.tellers.any()

    def test_a_node_that_is_gone_tells_nobody(self, store: Store) -> None:
        store.tellers.stay("node", lease_s=0)
        assert not store.tellers.any()
