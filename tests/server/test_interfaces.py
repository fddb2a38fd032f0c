"""API key -> interface: who is known, who is found, who is let in, and who has to wait."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.server.interfaces import Caller, Interfaces
from cloudsignal.server.keys import Keyring, new_apikey, new_token
from cloudsignal.server.settings import Settings
from cloudsignal.server.store.access import Interface
from cloudsignal.server.store.errors import StoreUnavailable
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import SECOND
from tests.server.clock import Clock

pytestmark = pytest.mark.anyio

HERE = "192.0.2.7"
LIMIT, WINDOW_S = 3, 60


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{path}")) as store:
        store.access.create_partner("Press", now=1)
        yield store


@pytest.fixture
def keyring() -> Keyring:
    return Keyring("secret")


@pytest.fixture
def interfaces(store: Store, keyring: Keyring, clock: Clock) -> Interfaces:
    settings = Settings(failed_keys_max=LIMIT, failed_keys_window_s=WINDOW_S)
    return Interfaces(settings, store, keyring, clock)


def made(
    store: Store, keyring: Keyring, key: str, *, allow: tuple[str, ...] = (), zone: str = "UTC"
) -> Interface:
    return store.access.create_interface(
        store.access.partner("Press"),
        keyring.digest(key),
        timezone=zone,
        allow=allow,
        test=True,
        now=1,
    )


async def refused(interfaces: Interfaces, key: str, address: str = HERE) -> Refusal:
    with pytest.raises(Refusal) as caught:
        await interfaces.find(key, address)
    return caught.value


# ---- known, and found ----


async def test_a_key_is_known_once_the_keys_are_read(
    interfaces: Interfaces, store: Store, keyring: Keyring
) -> None:
    key = new_apikey()
    interface = made(store, keyring, key, allow=("192.0.2.0/24",), zone="Europe/Berlin")
    assert interfaces.known(key) is None

    interfaces.load()

    assert interfaces.known(key) == Caller(
        digest=keyring.digest(key),
        interface=interface.id,
        partner=interface.partner,
        partner_name="Press",
        zone=ZoneInfo("Europe/Berlin"),
        allow=("192.0.2.0/24",),
        test=True,
        closed=False,
        expires=None,
    )
    assert interfaces.known(key.upper()) is None
    assert interfaces.known("") is None
    assert interfaces.known(keyring.digest(key)) is None


async def test_a_key_made_a_moment_ago_is_found_and_then_known(
    interfaces: Interfaces, store: Store, keyring: Keyring
) -> None:
    interfaces.load()
    key = new_apikey()
    made(store, keyring, key)

    assert (await interfaces.find(key, HERE)).partner_name == "Press"
    assert interfaces.known(key) is not None


@pytest.mark.parametrize("key", ["", "x", "ü" * 99, "0" * 32])
async def test_an_unknown_key_is_refused_without_being_repeated(
    interfaces: Interfaces, key: str
) -> None:
    refusal = await refused(interfaces, key)

    assert (refusal.status, refusal.type, refusal.retry_after_s) == (401, "unknown_key", None)
    assert not key or key not in refusal.body().decode()


async def test_an_api_token_is_a_key_of_another_kind(
    interfaces: Interfaces, store: Store, keyring: Keyring
) -> None:
    token = new_token()
    store.access.create_token("ops", "admin", keyring.digest(token), now=1)

    refusal = await refused(interfaces, token)

    assert (refusal.status, refusal.type) == (403, "wrong_kind_of_key")
    assert token not in refusal.info


async def test_the_key_of_an_owner_is_a_key_of_another_kind(
    interfaces: Interfaces, store: Store, keyring: Keyring
) -> None:
    key = "0123456789abcdef" * 2
    store.orders.create_owner("Books", now=1)
    store.orders.add_owner_key("Books", keyring.digest(key), expires=2, now=1)

    refusal = await refused(interfaces, key)

    assert (refusal.status, refusal.type) == (403, "wrong_kind_of_key")
    assert refusal.info.startswith("this is the key of an order owner")


async def test_while_the_store_is_away_a_known_key_is_known_and_another_is_503(
    interfaces: Interfaces, store: Store, keyring: Keyring, path: Path
) -> None:
    key = new_apikey()
    made(store, keyring, key)
    interfaces.load()
    store._database.engine.dispose()
    path.rename(path.with_name("away.db"))  # noqa: ASYNC240 - in no time

    for _ in range(LIMIT + 1):
        refusal = await refused(interfaces, new_apikey())
        assert (refusal.status, refusal.type, refusal.retry_after_s) == (503, "unavailable", 1)
    assert interfaces.known(key) is not None


# ---- changes ----


async def test_a_change_is_noticed_when_the_keys_are_read_anew(
    interfaces: Interfaces, store: Store, keyring: Keyring, clock: Clock
) -> None:
    key, new = new_apikey(), new_apikey()
    number = made(store, keyring, key).id
    await interfaces.refresh()
    store.access.rotate_key(number, keyring.digest(new), expires=clock.now + 5, now=clock.now)
    store.access.set_disabled(number, True)
    old = interfaces.known(key)
    assert old is not None
    assert (old.closed, old.expires) == (False, None)

    await interfaces.refresh()

    old, young = interfaces.known(key), interfaces.known(new)
    assert old is not None
    assert young is not None
    assert (old.closed, old.expires) == (True, clock.now + 5)
    assert (young.closed, young.expires) == (True, None)


async def test_keys_are_read_only_when_something_changed(
    interfaces: Interfaces, store: Store, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_apikey()
    made(store, keyring, key)
    interfaces.load()
    monkeypatch.delattr(type(store.access), "apikeys")

    interfaces.load()

    assert interfaces.known(key) is not None


async def test_changes_are_noticed_by_themselves_though_the_store_was_away_for_a_while(
    interfaces: Interfaces, store: Store, keyring: Keyring, path: Path
) -> None:
    key = new_apikey()
    made(store, keyring, key)
    away = path.with_name("away.db")
    store._database.engine.dispose()
    path.rename(away)  # noqa: ASYNC240
    freshening = asyncio.create_task(interfaces.keep_fresh(0.001))
    await asyncio.to_thread(lambda: None)
    away.rename(path)

    async with asyncio.timeout(30):
        while interfaces.known(key) is None:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.001)

    freshening.cancel()
    with suppress(asyncio.CancelledError):
        await freshening


async def test_a_defect_does_not_end_the_noticing_of_changes(
    interfaces: Interfaces, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    results = iter([RuntimeError("once"), None, asyncio.CancelledError()])

    async def refresh() -> None:
        if error := next(results):
            raise error

    monkeypatch.setattr(interfaces, "refresh", refresh)

    with pytest.raises(asyncio.CancelledError):
        await interfaces.keep_fresh(0)

    assert next(results, "all tried") == "all tried"
    assert "once" in caplog.text


async def test_keys_that_cannot_be_looked_at_for_too_long_open_nothing_until_they_can(
    interfaces: Interfaces, store: Store, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_apikey()
    made(store, keyring, key)
    interfaces.load()
    monkeypatch.setattr("cloudsignal.server.interfaces.TRUSTED_S", 0.01)
    looks: list[bool] = []
    away = asyncio.Event()

    async def refresh() -> None:
        looks.append(interfaces.known(key) is not None)
        if away.is_set():
            return
        if len(looks) % 2:
            raise StoreUnavailable("for a test")
        await away.wait()  # It does not even say no.

    monkeypatch.setattr(interfaces, "refresh", refresh)
    freshening = asyncio.create_task(interfaces.keep_fresh(0.001))
    async with asyncio.timeout(30):
        while interfaces.known(key) is not None:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.001)
        refusal = await refused(interfaces, key)
        away.set()
        while interfaces.known(key) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    assert looks[0] is True
    assert (refusal.status, refusal.type) == (503, "unavailable")
    freshening.cancel()
    with suppress(asyncio.CancelledError):
        await freshening


# ---- let in ----


def caller(**values: object) -> Caller:
    known = {
        "digest": "d",
        "interface": 1,
        "partner": 1,
        "partner_name": "Press",
        "zone": ZoneInfo("UTC"),
        "allow": (),
        "test": False,
        "closed": False,
        "expires": None,
    }
    return Caller(**known | values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("who", "expected"),
    [
        (caller(), None),
        (caller(closed=True), "key_disabled"),
        (caller(expires=1_000 * SECOND + 1), None),
        (caller(expires=1_000 * SECOND), "key_expired"),
        (caller(expires=1), "key_expired"),
        (caller(closed=True, expires=1), "key_disabled"),
        (caller(allow=("192.0.2.0/24",)), None),
        (caller(allow=("198.51.100.0/24", "2001:db8::/32")), "address_not_allowed"),
        (caller(allow=("198.51.100.0/24",), expires=1), "key_expired"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
async def test_who_is_let_in(interfaces: Interfaces, who: Caller, expected: str | None) -> None:
    if expected is None:
        interfaces.admit(who, HERE)
        return

    with pytest.raises(Refusal) as caught:
        interfaces.admit(who, HERE)

    assert (caught.value.type, caught.value.status) == (expected, 403)
    assert caught.value.problems[0].at == "apikey"


# ---- too many unknown keys ----


async def try_keys(interfaces: Interfaces, times: int, address: str = HERE) -> list[str]:
    return [(await refused(interfaces, new_apikey(), address)).type for _ in range(times)]


async def test_too_many_unknown_keys_from_one_address_are_429(interfaces: Interfaces) -> None:
    types = await try_keys(interfaces, LIMIT + 2)

    assert types == ["unknown_key"] * LIMIT + ["too_many_requests"] * 2
    assert await try_keys(interfaces, 1, "192.0.2.8") == ["unknown_key"]


async def test_who_has_to_wait_is_told_how_long(interfaces: Interfaces, clock: Clock) -> None:
    await try_keys(interfaces, LIMIT)
    clock.pass_s(12.5)

    refusal = await refused(interfaces, new_apikey())
    clock.pass_s(WINDOW_S - 12.5)

    assert (refusal.status, refusal.retry_after_s) == (429, 48)
    assert await try_keys(interfaces, 1) == ["unknown_key"]


async def test_a_good_key_is_known_whatever_else_came_from_its_address(
    interfaces: Interfaces, store: Store, keyring: Keyring
) -> None:
    key = new_apikey()
    made(store, keyring, key)
    interfaces.load()
    await try_keys(interfaces, LIMIT)

    assert interfaces.known(key) is not None
    assert await try_keys(interfaces, 1) == ["too_many_requests"]


async def test_tokens_count_as_failed_keys(
    interfaces: Interfaces, store: Store, keyring: Keyring
) -> None:
    token = new_token()
    store.access.create_token("ops", "admin", keyring.digest(token), now=1)

    types = [(await refused(interfaces, token)).type for _ in range(LIMIT + 1)]

    assert types == ["wrong_kind_of_key"] * LIMIT + ["too_many_requests"]


@pytest.mark.parametrize(
    ("first", "other", "together"),
    [
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        (f"::ffff:{HERE}", HERE, True),
    ],
)
async def test_an_ipv6_host_counts_as_its_64_bit_network_and_an_ipv4_one_as_itself(
    interfaces: Interfaces, first: str, other: str, together: bool
) -> None:
    await try_keys(interfaces, LIMIT, first)

    types = await try_keys(interfaces, 1, other)

    assert types == (["too_many_requests"] if together else ["unknown_key"])


# ---- too many posts ----


def posts(interfaces: Interfaces, who: Caller) -> Refusal | None:
    try:
        interfaces.admit(who, HERE)
    except Refusal as refusal:
        return refusal
    return None


async def test_an_interface_may_send_any_number_of_posts(interfaces: Interfaces) -> None:
    assert [posts(interfaces, caller()) for _ in range(1000)] == [None] * 1000


async def test_an_interface_may_send_so_many_posts_a_minute_where_that_is_set(
    store: Store, keyring: Keyring, clock: Clock
) -> None:
    interfaces = Interfaces(Settings(posts_per_minute=2), store, keyring, clock)
    other = caller(interface=caller().interface + 1)

    assert [posts(interfaces, caller()) for _ in range(2)] == [None, None]
    refusal = posts(interfaces, caller())
    assert refusal is not None
    assert (refusal.status, refusal.type, refusal.retry_after_s) == (429, "too_many_requests", 60)
    assert posts(interfaces, other) is None

    clock.pass_s(60)

    assert posts(interfaces, caller()) is None


async def test_who_may_not_post_at_all_uses_nothing_up(
    store: Store, keyring: Keyring, clock: Clock
) -> None:
    interfaces = Interfaces(Settings(posts_per_minute=1), store, keyring, clock)

    types = [getattr(posts(interfaces, caller(closed=True)), "type", None) for _ in range(3)]

    assert types == ["key_disabled"] * 3
    assert posts(interfaces, caller()) is None
