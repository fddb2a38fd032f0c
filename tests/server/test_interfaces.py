"""API key -> interface: who is known, who is found, who is let in, and who has to wait."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from cloudsignal.protocol.refusals import Refusal
from cloudsignal.server import interfaces as module
from cloudsignal.server.interfaces import Caller, Failures, Interfaces
from cloudsignal.server.keys import Keyring, new_apikey, new_token
from cloudsignal.server.store.access import Interface
from cloudsignal.server.store.store import Store, open_store
from tests.server.arrivals import SECOND

pytestmark = pytest.mark.anyio

HERE = "192.0.2.7"
LIMIT, WINDOW_S = 3, 60


class Clock:
    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += int(seconds * SECOND)


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
def failures(clock: Clock) -> Failures:
    return Failures(LIMIT, WINDOW_S, clock)


@pytest.fixture
def interfaces(store: Store, keyring: Keyring, failures: Failures, clock: Clock) -> Interfaces:
    return Interfaces(store, keyring, failures, clock)


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


async def test_while_the_store_is_away_a_known_key_is_known_and_another_is_503(
    interfaces: Interfaces, store: Store, keyring: Keyring, path: Path
) -> None:
    key = new_apikey()
    made(store, keyring, key)
    interfaces.load()
    store._engine.dispose()
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
    store._engine.dispose()
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


def waits(failures: Failures, address: str = HERE) -> int | None:
    """For how many seconds an address has to wait, if it has."""
    try:
        failures.check(address)
    except Refusal as refusal:
        return refusal.retry_after_s if refusal.status == 429 else -1
    return None


async def test_too_many_unknown_keys_from_one_address_are_429(interfaces: Interfaces) -> None:
    types = [(await refused(interfaces, new_apikey())).type for _ in range(LIMIT + 2)]

    assert types == ["unknown_key"] * LIMIT + ["too_many_requests"] * 2
    assert (await refused(interfaces, new_apikey(), "192.0.2.8")).type == "unknown_key"


async def test_a_good_key_is_known_whatever_else_came_from_its_address(
    interfaces: Interfaces, store: Store, keyring: Keyring, failures: Failures
) -> None:
    key = new_apikey()
    made(store, keyring, key)
    interfaces.load()
    for _ in range(LIMIT):
        failures.note(HERE)

    assert interfaces.known(key) is not None
    assert (await refused(interfaces, new_apikey())).type == "too_many_requests"


async def test_tokens_count_as_failed_keys(
    interfaces: Interfaces, store: Store, keyring: Keyring, failures: Failures
) -> None:
    token = new_token()
    store.access.create_token("ops", "admin", keyring.digest(token), now=1)
    for _ in range(LIMIT):
        await refused(interfaces, token)

    assert waits(failures) == WINDOW_S


@pytest.mark.parametrize(
    ("passed_s", "left"), [(0, 60), (0.5, 60), (1, 59), (59, 1), (59.9, 1), (60, None), (99, None)]
)
def test_the_wait_ends_with_the_window(
    failures: Failures, clock: Clock, passed_s: float, left: int | None
) -> None:
    for _ in range(LIMIT):
        assert waits(failures) is None
        failures.note(HERE)

    clock.pass_s(passed_s)

    assert waits(failures) == left


def test_a_window_begins_with_its_first_failure(failures: Failures, clock: Clock) -> None:
    failures.note(HERE)
    clock.pass_s(WINDOW_S - 1)
    for _ in range(LIMIT - 1):
        failures.note(HERE)
    assert waits(failures) == 1

    clock.pass_s(1)
    for _ in range(LIMIT - 1):
        failures.note(HERE)
    assert waits(failures) is None
    failures.note(HERE)
    assert waits(failures) == WINDOW_S


@pytest.mark.parametrize(
    ("other", "together"),
    [("2001:db8::ffff", True), ("2001:db8:0:1::1", False), ("::ffff:192.0.2.7", False)],
)
def test_an_ipv6_host_is_counted_as_its_64_bit_network(
    failures: Failures, other: str, together: bool
) -> None:
    for _ in range(LIMIT):
        failures.note("2001:db8::1")

    assert (waits(failures, other) is not None) is together


def test_an_ipv4_address_is_the_same_written_as_ipv6(failures: Failures) -> None:
    for _ in range(LIMIT):
        failures.note(f"::ffff:{HERE}")

    assert waits(failures, HERE) == WINDOW_S


def test_only_so_many_addresses_are_remembered_the_longest_quiet_is_forgotten(
    failures: Failures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ADDRESSES_MAX", 3)
    for _ in range(LIMIT):
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            failures.note(address)
    failures.note("192.0.2.1")

    failures.note("192.0.2.4")

    assert len(failures._windows) == 3
    waiting = [waits(failures, f"192.0.2.{host}") is not None for host in (1, 2, 3, 4)]
    assert waiting == [True, False, True, False]
