"""Endpoints as people want them: checked, with secrets that are made, and sealed at rest."""

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec import ValidationError, convert

from cloudsignal.protocol import signatures
from cloudsignal.protocol.units import HOUR_US
from cloudsignal.protocol.webhooks import FORMATS, Format
from cloudsignal.server.addresses import network
from cloudsignal.server.bodies import Unfit
from cloudsignal.server.delivery.desk import (
    TEST_ORDER,
    Desk,
    EndpointChange,
    EndpointCreation,
    Rotation,
)
from cloudsignal.server.delivery.recipient import opened
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.delivery.targets import Rules
from cloudsignal.server.store.errors import NotFound
from cloudsignal.server.store.store import Store, open_store

URL = "https://me:pass%20word@books.example/hooks?token=hidden"
SECRET = signatures.written(b"s" * 32)
SEALER = Sealer("the server's")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(f"sqlite:///{tmp_path}/a.db")) as store:
        store.orders.create_owner("Books", now=1)
        yield store


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store, SEALER, Rules((network("10.0.0.0/8"),)), random=lambda size: b"r" * size)


def wish(**values: Any) -> EndpointCreation:
    return convert({"owner": "Books", "url": URL} | values, EndpointCreation)


# ---- adding one ----


def test_an_endpoint_gets_a_key_and_a_secret_that_are_shown_once(desk: Desk, store: Store) -> None:
    made = desk.create(wish(), now=9)

    assert (made.apikey, made.secret) == ("72" * 16, signatures.written(b"r" * 32))
    assert made.endpoint == store.endpoints.endpoint(1)
    assert made.endpoint.shown == "https://books.example/hooks?…"
    secrets = opened(made.endpoint, SEALER)
    assert (secrets.url, secrets.apikey, secrets.secret) == (URL, made.apikey, b"r" * 32)
    assert (secrets.old_secret, secrets.old_secret_until) == (None, 0)


def test_who_brings_a_key_and_a_secret_keeps_them(desk: Desk) -> None:
    made = desk.create(wish(apikey="mine", secret=SECRET), now=9)

    assert (made.apikey, made.secret) == ("mine", SECRET)
    assert opened(made.endpoint, SEALER).secret == b"s" * 32


def test_an_endpoint_is_as_it_was_wanted(desk: Desk) -> None:
    wanted = {
        "format": "cloudsignal-2.1",
        "types": ["ItemError"],
        "test": True,
        "newest_only": True,
    }

    made = desk.create(wish(**wanted), now=9).endpoint

    assert (made.format, made.types, made.test, made.newest_only, made.created) == (
        "cloudsignal-2.1",
        ("ItemError",),
        True,
        True,
        9,
    )


def test_nothing_secret_is_there_to_be_read(desk: Desk, store: Store, tmp_path: Path) -> None:
    made = desk.create(wish(apikey="a-key-to-be-hidden", secret=SECRET), now=9)
    desk.rotate(1, Rotation(apikey="another-key"), now=9)
    changed = desk.change(1, EndpointChange(url=URL.replace("hidden", "veiled")))
    store.close()

    at_rest = b"".join(path.read_bytes() for path in tmp_path.iterdir())

    shown = f"{changed} {made.endpoint} {opened(changed, SEALER)!r}"
    for secret in (
        "a-key",
        "another-key",
        "hidden",
        "veiled",
        "pass%20w",
        "pass w",
        SECRET[6:],
        "r" * 32,
    ):
        assert secret.encode() not in at_rest
        assert secret not in shown


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://books.example/", "begins with https://, unless the setting webhook_http is on"),
        ("ftp://books.example/", "begins with https://"),
        ("https://127.0.0.1/", "public addresses"),
        ("https://[::ffff:192.168.0.1]/", "public addresses"),
        ("https:///hooks", "has to name a host"),
        ("https://books.example/a b", "no spaces"),
        ("https://books.example:99999/", "no URL"),
        ("books.example", "begins with https://"),
    ],
)
def test_a_url_that_leads_nowhere_is_refused(
    desk: Desk, store: Store, url: str, words: str
) -> None:
    for act in (
        lambda: desk.create(wish(url=url), now=9),
        lambda: desk.change(1, EndpointChange(url=url)),
    ):
        with pytest.raises(Unfit) as raised:
            act()
        [wrong] = raised.value.wrong
        assert wrong.at == "url"
        assert words in str(wrong)
        assert "pass" not in str(wrong)
    assert not store.endpoints.any()


def test_a_network_that_the_operator_allows_is_no_obstacle(desk: Desk) -> None:
    assert desk.create(wish(url="https://10.1.2.3/"), now=9).endpoint.shown == "https://10.1.2.3/"


@pytest.mark.parametrize("secret", ["whsec_A", signatures.written(b"s" * 23)])
def test_a_secret_that_is_none_is_refused(desk: Desk, store: Store, secret: str) -> None:
    desk.create(wish(), now=9)
    before = store.endpoints.endpoints()
    for act in (
        lambda: desk.create(wish(secret=secret), now=9),
        lambda: desk.rotate(1, Rotation(secret=secret), now=9),
    ):
        with pytest.raises(Unfit) as raised:
            act()
        assert [each.at for each in raised.value.wrong] == ["secret"]
    assert store.endpoints.endpoints() == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"types": ["ItemDelay"]},
        {"types": ["ItemError\n"]},
        {"types": ["ItemDeliveryStarted"]},
        {"types": "ItemError"},
        {"format": "cloudsignal-1.0"},
        {"apikey": ""},
        {"apikey": "two words"},
        {"apikey": "ü"},
        {"apikey": "x" * 256},
        {"url": "https://books.example/" + "x" * 2_000},
        {"test": 1},
        {"colour": "blue"},
    ],
    ids=str,
)
def test_what_cannot_be_wanted_is_no_wish(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        wish(**wrong)


# ---- changing it ----


def test_what_is_left_out_stays_as_it_is(desk: Desk) -> None:
    before = desk.create(wish(types=["ItemError"]), now=9).endpoint

    assert desk.change(1, EndpointChange()) == before
    changed = desk.change(1, EndpointChange(newest_only=True))
    assert (changed.types, changed.newest_only) == (("ItemError",), True)
    assert changed.sealed == before.sealed
    assert desk.change(1, EndpointChange(types=[])).types == ()


def test_another_url_is_sealed_and_shown(desk: Desk) -> None:
    desk.create(wish(), now=9)

    changed = desk.change(1, EndpointChange(url="https://new.example/?a=b"))

    assert changed.shown == "https://new.example/?…"
    assert opened(changed, SEALER).url == "https://new.example/?a=b"


def test_the_old_secret_signs_as_well_for_a_while(desk: Desk) -> None:
    made = desk.create(wish(secret=SECRET), now=9)

    rotated = desk.rotate(1, Rotation(overlap_hours=0.5), now=1_000)

    assert (rotated.apikey, rotated.secret) == (None, signatures.written(b"r" * 32))
    secrets = opened(rotated.endpoint, SEALER)
    assert (secrets.secret, secrets.old_secret) == (b"r" * 32, b"s" * 32)
    assert secrets.apikey == made.apikey
    until = 1_000 + HOUR_US // 2
    assert secrets.old_secret_until == until
    signed = [
        len(secrets.headers("m", now=now, body=b"")["webhook-signature"].split())
        for now in (until - 1, until)
    ]
    assert signed == [2, 1]


def test_a_key_is_rotated_if_another_one_is_given(desk: Desk) -> None:
    desk.create(wish(), now=9)

    rotated = desk.rotate(1, Rotation(secret=SECRET, apikey="another"), now=9)

    assert (rotated.apikey, rotated.secret) == ("another", SECRET)
    assert opened(rotated.endpoint, SEALER).apikey == "another"


# ---- trying it ----


@pytest.mark.parametrize(
    ("types", "type", "item"),
    [
        ([], "CloudprinterOrderValidated", ""),
        (["CloudprinterOrderCanceled", "ItemError"], "CloudprinterOrderCanceled", ""),
        (["ItemShipped"], "ItemShipped", TEST_ORDER),
    ],
)
def test_a_test_is_about_nothing_and_of_a_type_that_is_wanted(
    desk: Desk, store: Store, types: list[str], type: str, item: str
) -> None:
    desk.create(wish(types=types), now=9)

    messages = {desk.test(1, now=1_000), desk.test(1, now=2_000)}

    asked = [each for each, _ in store.deliveries.look({1}, after=0, limit=9).asked]
    assert {each.message for each in asked} == messages
    assert {(each.type, each.order, each.item) for each in asked} == {(type, TEST_ORDER, item)}
    body = json.loads(asked[0].webhook)
    assert (body["type"], body["apikey"], body["order"]) == (type, "", TEST_ORDER)
    assert body.get("item", "") == item


@pytest.mark.parametrize("format", FORMATS)
def test_a_test_has_the_fields_of_the_format(desk: Desk, store: Store, format: Format) -> None:
    desk.create(wish(types=["ItemShipped"], format=format), now=9)

    desk.test(1, now=1_000)

    [(asked, _)] = store.deliveries.look({1}, after=0, limit=9).asked
    assert ('"url":""' in asked.webhook) == (format == "cloudsignal-2.1")


def test_an_endpoint_that_is_not_there_is_not_found(desk: Desk) -> None:
    for act in (
        lambda: desk.test(1, now=9),
        lambda: desk.change(1, EndpointChange()),
        lambda: desk.rotate(1, Rotation(), now=9),
    ):
        with pytest.raises(NotFound, match="there is no endpoint 1"):
            act()
    with pytest.raises(Unfit) as refused:
        desk.create(wish(owner="Ink"), now=9)
    assert [str(each) for each in refused.value.wrong] == ["owner: there is no owner called 'Ink'"]
