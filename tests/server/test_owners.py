"""Key -> owner: who is found, who has expired, and who has to wait."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.server.keys import Keyring, new_apikey, new_token
from cloudsignal.server.owners import Owners
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.store import Store, open_store
from cloudsignal.server.strangers import Strangers
from tests.server.clock import Clock

pytestmark = pytest.mark.anyio

HERE = "192.0.2.7"
LIMIT = 3
KEYRING = Keyring("secret")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/store.db")) as store:
        store.orders.create_owner("Books", now=1)
        yield store


@pytest.fixture
def owners(store: Store, clock: Clock) -> Owners:
    return Owners(store, KEYRING, clock, Strangers(Settings(failed_keys_max=LIMIT), clock))


def made(store: Store, *, expires: int = 0, now: int = 1) -> str:
    """A new key; those before it expire."""
    key = new_apikey()
    store.orders.add_owner_key("Books", KEYRING.digest(key), expires=expires, now=now)
    return key


async def refused(owners: Owners, key: str) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await owners.find(key, HERE)
    assert not key or key not in caught.value.body().decode()
    return caught.value


async def test_an_owner_is_found_by_its_key(owners: Owners, store: Store) -> None:
    assert await owners.find(made(store), HERE) == store.orders.owner("Books")


async def test_a_key_that_was_replaced_works_until_it_expires(
    owners: Owners, store: Store, clock: Clock
) -> None:
    old, new = made(store), made(store, expires=clock.now + 1)
    assert await owners.find(old, HERE)
    clock.now += 1

    refusal = await refused(owners, old)

    assert (refusal.type, refusal.status) == ("key_expired", 403)
    assert await owners.find(new, HERE)


async def test_a_key_of_another_kind_is_told_as_such(owners: Owners, store: Store) -> None:
    partner, interface, token = (
        store.access.create_partner("Press", now=1),
        new_apikey(),
        new_token(),
    )
    store.access.create_interface(
        partner, KEYRING.digest(interface), timezone="UTC", allow=(), test=False, now=1
    )
    store.access.create_token("ops", "admin", KEYRING.digest(token), now=1)

    told = [await refused(owners, key) for key in (interface, token)]

    assert [(each.type, each.status) for each in told] == [("wrong_kind_of_key", 403)] * 2
    assert told[0].info.startswith("this is the key of a CloudSignal API interface")
    assert told[1].info.startswith("this is an API token")


async def test_unknown_keys_are_counted_and_a_known_one_works_all_the_same(
    owners: Owners, store: Store
) -> None:
    known, fresh = made(store), made(store, expires=1 << 60)
    await owners.find(known, HERE)

    told = [
        (await refused(owners, key)).type for key in ("", *(new_apikey() for _ in range(LIMIT)))
    ]

    assert told == ["unknown_key"] * LIMIT + ["too_many_requests"]
    assert await owners.find(known, HERE)
    # It was never seen before: it has to wait as a stranger does.
    assert (await refused(owners, fresh)).type == "too_many_requests"
    assert await owners.find(fresh, "192.0.2.8")
