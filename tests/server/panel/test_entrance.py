"""Who comes in, on a clock that tests move."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pyotp
import pytest
from litestar import Request
from litestar.handlers import BaseRouteHandler

from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.keys import Keyring
from cloudsignal.server.panel import access, pages
from cloudsignal.server.panel import entrance as its
from cloudsignal.server.panel.entrance import Entrance, Holder, NotLetIn, Visitor
from cloudsignal.server.panel.failures import TOLD_MAX, FailedSignIns
from cloudsignal.server.store.changes import Actor
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store, open_store
from cloudsignal.server.store.users import User

pytestmark = pytest.mark.anyio

PASSWORD = "four words nobody says"
HERE = Visitor("192.0.2.7", "a browser")
ADA = Actor("Ada", "192.0.2.7")
SECOND = 1_000_000


class Clock:
    now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


class Door:
    """The entrance of a store with one user, Ada."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.clock = Clock()
        self.counted: list[str] = []
        self.logged: list[dict[str, str]] = []
        self.entrance = self.made("secret")

    def made(self, secret: str) -> Entrance:
        """The entrance of a server that seals with a secret."""
        failed = FailedSignIns(self.counted.append, self.warn)
        return Entrance(self.store, Keyring("secret"), Sealer(secret), self.clock, failed)

    def warn(self, event: str, **facts: str) -> None:
        assert event == "sign-in failed"
        self.logged.append(facts)

    async def set_up(self, name: str = "Ada") -> User:
        user = self.store.users.create(name, "admin", now=self.clock())
        digest = await self.entrance.passwords.digest(PASSWORD)
        return self.store.users.set_password(user.id, digest)

    async def come_in(
        self,
        name: str = "Ada",
        password: str = PASSWORD,
        code: str = "",
        visitor: Visitor = HERE,
    ) -> str:
        return await self.entrance.sign_in(name, password, code, visitor)

    async def holder(self, token: str) -> Holder:
        found = await self.entrance.holder(token)
        assert found is not None
        return found

    async def is_refused(self, *, why: str = "wrong", **given: str) -> None:
        with pytest.raises(NotLetIn, match=why):
            await self.come_in(**given)

    def wait_s(self, seconds: float) -> None:
        self.clock.now += int(seconds * SECOND)


def follower(door: Door, token: str, holder: Holder) -> pages.Asked:
    """The request by which a dashboard follows what happens."""
    return Request(
        {  # type: ignore[arg-type]
            "type": "http",
            "method": "GET",
            "scheme": "https",
            "path": "/panel/live",
            "headers": [(b"cookie", f"__Host-cloudsignal={token}".encode())],
            "litestar_app": SimpleNamespace(state=SimpleNamespace(entrance=door.entrance)),
            "user": holder,
            "state": {},
        }
    )


def content(folder: Path) -> bytes:
    """All that is in the files of the store."""
    return b"".join(each.read_bytes() for each in folder.glob("a.db*"))


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        yield Door(store)


async def test_somebody_signs_in_with_the_right_password_only(door: Door) -> None:
    await door.set_up()

    holder = await door.holder(await door.come_in())

    assert (holder.user.name, holder.session.address, holder.session.agent) == (
        "Ada",
        "192.0.2.7",
        "a browser",
    )
    for given in ({"password": PASSWORD + "!"}, {"name": "ada"}, {"name": "Eve"}, {"password": ""}):
        await door.is_refused(**given)
    assert await door.entrance.holder("something else") is None


async def test_what_the_browser_holds_is_not_in_the_store(door: Door, tmp_path: Path) -> None:
    await door.set_up()
    token = await door.come_in()
    written = content(tmp_path)
    assert token.encode() not in written
    assert PASSWORD.encode() not in written


async def test_a_password_that_was_never_chosen_lets_nobody_in(door: Door) -> None:
    door.store.users.create("Grace", "reader", now=1)
    await door.is_refused(name="Grace", password="")
    await door.is_refused(name="Grace", password="nobody's password")


async def test_who_is_disabled_is_not_let_in_nor_kept_in(door: Door) -> None:
    await door.set_up("Grace")
    user = await door.set_up()
    token = await door.come_in()
    door.store.users.set_disabled(user.id, True)
    assert await door.entrance.holder(token) is None
    await door.is_refused()


# ---- how long ----


async def test_a_session_ends_when_nobody_uses_it(door: Door) -> None:
    await door.set_up()
    token = await door.come_in()
    for _ in range(3):
        door.clock.now += its.IDLE_US - 1
        await door.holder(token)
    door.clock.now += its.IDLE_US
    assert await door.entrance.holder(token) is None


async def test_an_open_dashboard_keeps_nobody_signed_in(door: Door) -> None:
    await door.set_up()
    token = await door.come_in()
    asked = follower(door, token, await door.holder(token))
    guard = access.LIVE
    for _ in range(2):
        door.wait_s(5 * 3600)
        assert await pages.still_signed_in(asked)
        await guard(asked, cast(BaseRouteHandler, None))
    door.wait_s(2 * 3600)
    assert not await pages.still_signed_in(asked)
    with pytest.raises(access.NotSignedIn):
        await guard(asked, cast(BaseRouteHandler, None))


async def test_a_session_ends_after_a_week_in_any_case(door: Door) -> None:
    await door.set_up()
    token = await door.come_in()
    end = door.clock() + its.SESSION_US
    while door.clock() + its.IDLE_US // 2 < end:
        door.clock.now += its.IDLE_US // 2
        await door.holder(token)
    door.clock.now = end
    assert await door.entrance.holder(token) is None


async def test_who_signs_out_is_out(door: Door) -> None:
    await door.set_up()
    token, other = await door.come_in(), await door.come_in()
    await door.entrance.sign_out(await door.holder(token))
    assert await door.entrance.holder(token) is None
    await door.holder(other)


# ---- how often ----


async def test_who_is_wrong_too_often_waits_ever_longer(door: Door) -> None:
    await door.set_up()
    for _ in range(its.FREE_BY_NAME):
        await door.is_refused(password="wrong")
    await door.is_refused(why="try again in 1 seconds")
    door.wait_s(1)
    await door.is_refused(password="wrong")
    await door.is_refused(why="try again in 2 seconds")
    door.wait_s(2)
    await door.come_in()
    await door.is_refused(password="wrong")
    await door.come_in()


async def test_nobody_waits_longer_than_a_quarter_of_an_hour(door: Door) -> None:
    for _ in range(40):
        with pytest.raises(NotLetIn):
            await door.come_in(name="Eve")
        door.wait_s(its.WAIT_S_MAX)
    await door.is_refused(name="Eve")
    await door.is_refused(name="Eve", why=f"try again in {its.WAIT_S_MAX} seconds")


async def test_of_many_that_come_at_once_none_is_heard_beyond_the_free_ones(door: Door) -> None:
    await door.set_up()
    tries = [door.come_in(password=f"wrong {n}") for n in range(3 * its.FREE_BY_NAME)]
    answers = [str(each) for each in await asyncio.gather(*tries, return_exceptions=True)]
    assert answers.count(its.WRONG) == its.FREE_BY_NAME
    assert sum("too often" in each for each in answers) == 2 * its.FREE_BY_NAME


async def test_an_account_does_not_help_to_try_those_of_others(door: Door) -> None:
    await door.set_up()
    for number in range(its.FREE_BY_ADDRESS):
        await door.is_refused(name=f"somebody {number}")
        if number + 1 < its.FREE_BY_ADDRESS:
            await door.come_in()
    await door.is_refused(name="one more", why="too often")


async def test_who_roams_among_the_addresses_of_one_network_is_one(door: Door) -> None:
    for number in range(its.FREE_BY_ADDRESS):
        with pytest.raises(NotLetIn, match="wrong"):
            await door.come_in(f"somebody {number}", visitor=Visitor(f"2001:db8::{number:x}"))
    with pytest.raises(NotLetIn, match="too often"):
        await door.come_in("one more", visitor=Visitor("2001:db8::ffff"))
    with pytest.raises(NotLetIn, match=its.WRONG):
        await door.come_in("another one", visitor=Visitor("2001:db8:0:1::1"))


async def test_what_was_wrong_long_ago_is_forgotten(door: Door) -> None:
    await door.set_up()
    for _ in range(its.FREE_BY_NAME):
        await door.is_refused(password="wrong")
    door.clock.now += its.FORGET_US + 1
    await door.is_refused(password="wrong")
    await door.come_in()


# ---- what is noted of it ----


async def test_a_sign_in_that_failed_is_logged_with_the_name_of_a_user_and_no_other(
    door: Door,
) -> None:
    await door.set_up()
    grace = await door.set_up("Grace")
    door.store.users.set_disabled(grace.id, True)
    holder, secret = await door.holder(await door.come_in()), pyotp.random_base32()
    code = pyotp.TOTP(secret).at(door.clock() // SECOND)
    await door.entrance.add_factor(holder, PASSWORD, secret, code, "192.0.2.7")
    assert door.logged == door.counted == []

    await door.is_refused(password="not it")
    await door.is_refused(code="000000")
    await door.is_refused(name="Grace")
    await door.is_refused(name="a password of mine")
    with pytest.raises(NotLetIn):
        await door.entrance.drop_factor(holder, "not it", "192.0.2.9")

    assert door.logged == [
        {"why": "wrong_password", "user": "Ada", "address": "192.0.2.7"},
        {"why": "wrong_code", "user": "Ada", "address": "192.0.2.7"},
        {"why": "disabled", "user": "Grace", "address": "192.0.2.7"},
        {"why": "no_such_user", "address": "192.0.2.7"},
        {"why": "wrong_password", "user": "Ada", "address": "192.0.2.9"},
    ]
    assert door.counted == [each["why"] for each in door.logged]


async def test_that_nobody_is_listened_to_is_logged_once_until_that_is_over(door: Door) -> None:
    await door.set_up()
    for _ in range(its.FREE_BY_NAME):
        await door.is_refused(password="wrong")
    door.logged.clear()
    for _ in range(3):
        await door.is_refused(why="too often")
    once = {"why": "too_often", "user": "Ada", "address": "192.0.2.7"}
    assert door.logged == [once]
    assert door.counted[-3:] == ["too_often"] * 3
    door.wait_s(1)
    await door.is_refused(password="wrong")
    for _ in range(3):
        await door.is_refused(why="too often")
    assert [each["why"] for each in door.logged] == ["too_often", "wrong_password", "too_often"]


async def test_an_address_that_is_not_listened_to_is_logged_once_whatever_name_it_tries(
    door: Door,
) -> None:
    for number in range(its.FREE_BY_ADDRESS):
        await door.is_refused(name=f"somebody {number}")
    for number in range(3):
        await door.is_refused(name=f"another {number}", why="too often")
    assert door.logged[its.FREE_BY_ADDRESS :] == [{"why": "too_often", "address": "192.0.2.7"}]
    assert not any("somebody" in str(each) for each in door.logged)


def test_so_many_are_remembered_who_are_not_listened_to() -> None:
    failed = FailedSignIns(lambda why: None, lambda event, **facts: None)
    assert [failed.is_news("a", 1), failed.is_news("a", 1), failed.is_news("a", 2)] == [
        True,
        False,
        True,
    ]
    for number in range(TOLD_MAX):
        assert failed.is_news(f"who {number}", 1)
    assert len(failed._told) <= TOLD_MAX


# ---- second factors ----


async def test_a_second_factor_is_asked_for_and_can_be_removed(door: Door) -> None:
    await door.set_up()
    holder, secret = await door.holder(await door.come_in()), pyotp.random_base32()
    with pytest.raises(NotLetIn, match="try the next one"):
        await door.entrance.add_factor(holder, PASSWORD, secret, "000000", "192.0.2.7")
    used = pyotp.TOTP(secret).at(door.clock() // SECOND)
    with pytest.raises(NotLetIn, match="The password is wrong"):
        await door.entrance.add_factor(holder, "wrong", secret, used, "192.0.2.7")
    await door.entrance.add_factor(holder, PASSWORD, secret, used, "192.0.2.7")

    for wrong in ("", "000000", used):
        await door.is_refused(code=wrong)
    door.wait_s(30)
    code = pyotp.TOTP(secret).at(door.clock() // SECOND)
    await door.holder(await door.come_in(code=code))
    await door.is_refused(code=code)

    with pytest.raises(NotLetIn, match="The password is wrong"):
        await door.entrance.drop_factor(holder, "wrong", "192.0.2.7")
    await door.entrance.drop_factor(holder, PASSWORD, "192.0.2.7")
    await door.come_in()


async def test_a_second_factor_is_never_replaced_by_another(door: Door) -> None:
    await door.set_up()
    token = await door.come_in()
    first, second = pyotp.random_base32(), pyotp.random_base32()

    async def add(secret: str) -> None:
        code = pyotp.TOTP(secret).at(door.clock() // SECOND)
        holder = await door.holder(token)
        await door.entrance.add_factor(holder, PASSWORD, secret, code, "192.0.2.7")

    await add(first)
    with pytest.raises(NotLetIn, match="already: remove it first"):
        await add(second)

    door.wait_s(30)
    await door.come_in(code=pyotp.TOTP(first).at(door.clock() // SECOND))


@pytest.mark.parametrize("how", ["change_password", "add_factor", "drop_factor"])
async def test_who_is_signed_in_guesses_the_password_no_more_often_than_others(
    door: Door, how: str
) -> None:
    await door.set_up()
    holder, secret = await door.holder(await door.come_in()), pyotp.random_base32()

    async def guess(password: str) -> None:
        code = pyotp.TOTP(secret).at(door.clock() // SECOND)
        await {
            "change_password": partial(
                door.entrance.change_password, holder, password, "five other words", HERE
            ),
            "add_factor": partial(
                door.entrance.add_factor, holder, password, secret, code, "192.0.2.7"
            ),
            "drop_factor": partial(door.entrance.drop_factor, holder, password, "192.0.2.7"),
        }[how]()

    for _ in range(its.FREE_BY_NAME):
        with pytest.raises(NotLetIn, match="password is wrong"):
            await guess("wrong")
    with pytest.raises(NotLetIn, match="try again in 1 seconds"):
        await guess(PASSWORD)
    await door.is_refused(why="try again in 1 seconds")
    door.wait_s(1)
    await guess(PASSWORD)
    with pytest.raises(NotLetIn, match="password is wrong"):
        await guess("wrong")


async def test_another_secret_of_the_server_opens_no_second_factor(door: Door) -> None:
    await door.set_up()
    holder, secret = await door.holder(await door.come_in()), pyotp.random_base32()
    code = pyotp.TOTP(secret).at(door.clock() // SECOND)
    await door.entrance.add_factor(holder, PASSWORD, secret, code, "")
    door.entrance = door.made("another")
    await door.is_refused(why="cannot be read")
    assert door.logged[-1]["why"] == door.counted[-1] == "unreadable_factor"


# ---- passwords and links ----


async def test_another_password_signs_out_everywhere_else(door: Door) -> None:
    await door.set_up()
    here, there = await door.come_in(), await door.come_in()
    holder = await door.holder(here)
    with pytest.raises(NotLetIn, match="old password is wrong"):
        await door.entrance.change_password(holder, "wrong", "five other words", HERE)

    kept = await door.entrance.change_password(holder, PASSWORD, "five other words", HERE)

    await door.holder(kept)
    assert [await door.entrance.holder(each) for each in (here, there)] == [None, None]
    await door.is_refused()
    await door.come_in(password="five other words")


async def test_a_link_is_good_for_three_days_and_once(door: Door) -> None:
    user = await door.set_up()
    path = await door.entrance.invite(user.id, ADA)
    secret = path.rpartition("/")[2]
    found = await door.entrance.invitation(secret)
    assert found is not None
    assert found[1] is not None
    assert found[1].name == "Ada"
    door.wait_s(72 * 3600)
    assert await door.entrance.invitation(secret) is None
    with pytest.raises(NotFound):
        await door.entrance.accept(secret, "Ada", PASSWORD, HERE)
