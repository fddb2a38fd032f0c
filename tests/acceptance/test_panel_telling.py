"""The panel's pages about telling owners, over HTTP: what they show to whom, and what is done by whom."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from html import unescape
from typing import Any

import pytest
from msgspec.structs import replace

from cloudsignal.protocol import signatures
from cloudsignal.server import clock
from cloudsignal.server.panel.telling import PAGE
from cloudsignal.server.store.deliveries import Noted, Progress
from tests.acceptance.conftest import Answer, Server, eventually, fresh
from tests.acceptance.test_panel import Visitor, link_of
from tests.owner import FLAGS, Owner, receiving
from tests.server.store import told

__all__ = ["FLAGS"]

SECRET = signatures.written(b"k" * 32)
WEBHOOK = '{"type":"ItemProduce","apikey":"","order":"7","datetime":"2016-01-20T13:00:00+00:00"}'
HOUR_US = 3_600_000_000
NOON = clock.now() // (24 * HOUR_US) * (24 * HOUR_US) - 12 * HOUR_US
"""That of yesterday, in UTC: what is older than it is kept may be forgotten at any time."""


@pytest.fixture(scope="module")
def ada(server: Server) -> Visitor:
    """The first user of the module's server, signed in."""
    visitor = Visitor(server)
    assert visitor.accept(link_of(server), "Ada").status == 303
    return visitor


@pytest.fixture
def receiver() -> Iterator[Owner]:
    with receiving() as owner:
        yield owner


def somebody(ada: Visitor, role: str, whose: str = "") -> Visitor:
    """Somebody with a role, signed in."""
    fields = {"name": fresh("user"), "role": role, "whose": whose}
    [link] = re.findall(
        r'id="link" value="([^"]+)"', ada.post("/panel/users", fields).body.decode()
    )
    visitor = Visitor(ada.server)
    assert visitor.accept(link).status == 303
    return visitor


def new_owner(server: Server) -> str:
    with server.store() as store:
        return store.orders.create_owner(fresh("owner"), now=clock.now()).name


def new_endpoint(ada: Visitor, owner: str, url: str = "https://owner.example/in") -> int:
    made = ada.post("/panel/endpoints/new", {"owner": owner, "url": url})
    found = re.search(r"Endpoint (\d+) of", words(made))
    assert found, made
    return int(found[1])


def endpoint_of(server: Server, number: int) -> Any:
    """An endpoint as the API shows it."""
    return server.get(f"/api/v1/endpoints/{number}").json


def all_of(server: Server, owner: str) -> Any:
    """An owner's endpoints as the API shows them."""
    return server.get(f"/api/v1/endpoints?owner={owner}").json


def dead(server: Server, number: int, count: int = 1) -> list[str]:
    """Deliveries that were given up at an endpoint: their messages."""
    messages = [f"msg_{fresh('dead').replace('-', '_')}" for _ in range(count)]
    with server.store() as store:
        for position, message in enumerate(messages, 1):
            noted = _noted(number, message, position)
            store.delivery_log.tell(noted, now=clock.now())
    return messages


def _noted(number: int, message: str, position: int) -> Noted:
    values = {"state": "dead", "attempts": 100, "why": "it answered 500", "webhook": WEBHOOK}
    return told.noted(number, message, position=position, **values)


def written(instant: int) -> str:
    """An instant for programs, in UTC, less its zone."""
    return f"{datetime.fromtimestamp(instant / 1e6, UTC):%Y-%m-%dT%H:%M:%S}"


def shown(instant: int) -> str:
    """An instant as pages show it."""
    return written(instant).replace("T", " ")


def tried(server: Server, number: int, **values: Any) -> int:
    """An attempt at an endpoint: its number."""
    attempt = told.attempted(number, "msg_tried", at=NOON, webhook=WEBHOOK)
    with server.store() as store:
        store.deliveries.note(Progress(attempted=[replace(attempt, **values)]), now=NOON)
        return store.delivery_log.attempts(endpoint=number, limit=1)[0].id


def states(server: Server, number: int) -> dict[str, str]:
    """What is noted of an endpoint's deliveries."""
    with server.store() as store:
        return {each.message: each.state for each in store.delivery_log.noted(number, limit=999)}


def words(answer: Answer, status: int = 200) -> str:
    """What a page says, less its markup."""
    assert answer.status == status, answer
    main = answer.body.decode().partition("<main")[2]
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", main)).split())


def links(answer: Answer, pattern: str) -> list[str]:
    """Where a page's links lead that look so."""
    assert answer.status == 200, answer
    return [unescape(each) for each in re.findall(rf'href="({pattern})"', answer.body.decode())]


# ---- endpoints ----


def test_an_endpoint_is_added_with_everything_that_can_be_chosen(ada: Visitor) -> None:
    owner = new_owner(ada.server)
    fields = {
        "owner": owner,
        "url": "https://zquser:zqword@owner.example/in?token=open-sesame",
        "format": "cloudsignal-2.1",
        "test": "true",
        "types": ["ItemShipped", "ItemError"],
        "newest_only": "true",
        "apikey": "zq-key-1",
        "secret": SECRET,
    }
    made = ada.post("/panel/endpoints/new", fields)

    assert made.status == 200
    assert 'value="zq-key-1"' in made.body.decode()
    assert f'value="{SECRET}"' in made.body.decode()
    [found] = all_of(ada.server, owner)
    assert found["url"] == "https://owner.example/in?…"
    chosen = (found["format"], found["types"], found["test"], found["newest_only"])
    assert chosen == ("cloudsignal-2.1", ["ItemShipped", "ItemError"], True, True)
    number = found["endpoint"]
    listed = words(ada.get(f"/panel/endpoints?owner={owner}"))
    assert "test signals: ItemShipped, ItemError, as cloudsignal-2.1 active" in listed
    for path in ("", "/change"):
        page = ada.get(f"/panel/endpoints/{number}{path}").body.decode()
        assert not [each for each in ("zq", SECRET, "open-sesame") if each in page], path
    assert b"endpoint created" in ada.get("/panel/changes").body


def test_a_key_and_a_secret_are_made_where_none_are_given(ada: Visitor) -> None:
    owner = new_owner(ada.server)
    fields = {"owner": owner, "url": "https://owner.example/"}

    made = ada.post("/panel/endpoints/new", fields).body.decode()

    key, secret = re.findall(r'<input id="\w+" value="([^"]+)" readonly>', made)
    assert re.fullmatch("[0-9a-f]{32}", key)
    assert len(signatures.read(unescape(secret))) == 32
    [shown] = all_of(ada.server, owner)
    assert (shown["format"], shown["types"], shown["test"]) == ("cloudsignal-2.0", [], False)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"owner": "nobody"}, 'id="owner-wrong">There is no owner called &#39;nobody&#39;.'),
        (
            {"owner": ""},
            'id="owner-wrong">Is missing: it must be a name of 1 to 255 characters in one line.',
        ),
        ({"url": "ftp://x"}, 'id="url-wrong">The URL of an endpoint begins with https://.'),
        ({"url": "http://10.1.2.3/"}, 'id="url-wrong">The address of 10.1.2.3 is'),
        (
            {"url": ""},
            'id="url-wrong">Is missing: it must be a URL such as https://owner.example/webhooks.',
        ),
        ({"types": ["ItemLost"]}, 'id="types-wrong">Must be one of the types of webhooks:'),
        ({"format": "csv"}, 'id="format-wrong">Must be cloudsignal-2.0 or cloudsignal-2.1.'),
        ({"apikey": "a b"}, 'id="apikey-wrong">Must be 1 to 255 visible ASCII characters.'),
        ({"secret": "whsec_"}, 'id="secret-wrong">Must be whsec_ and then base64.'),
        ({"secret": "whsec_YQ=="}, 'id="secret-wrong">A signing secret has 24 to 64 bytes'),
    ],
)
def test_what_is_wrong_with_a_new_endpoint_stands_at_its_field(
    ada: Visitor, fields: dict[str, Any], sentence: str
) -> None:
    owner = new_owner(ada.server)
    given = {"owner": owner, "url": "https://owner.example/", "types": ["ItemError"]} | fields

    answer = ada.post("/panel/endpoints/new", given)

    assert (answer.status, sentence in answer.body.decode()) == (400, True), answer.body.decode()
    assert f'value="{given["owner"]}"' in answer.body.decode()
    assert all_of(ada.server, owner) == []


def test_an_endpoint_is_changed_and_what_is_not_said_stays(ada: Visitor) -> None:
    server = ada.server
    number = new_endpoint(ada, new_owner(server), "https://owner.example/a")
    path = f"/panel/endpoints/{number}/change"
    fields = {"url": "", "format": "cloudsignal-2.1", "types": "ItemError", "newest_only": "true"}

    assert ada.post(path, fields).headers["location"] == f"/panel/endpoints/{number}"

    shown = endpoint_of(server, number)
    assert (shown["url"], shown["format"]) == ("https://owner.example/a", "cloudsignal-2.1")
    assert (shown["types"], shown["newest_only"]) == (["ItemError"], True)
    assert 'value="ItemError" checked' in ada.get(path).body.decode()
    fields = {"url": "https://other.example/b", "format": "cloudsignal-2.0"}
    assert ada.post(path, fields).status == 303
    shown = endpoint_of(server, number)
    assert (shown["url"], shown["types"]) == ("https://other.example/b", [])
    answer = ada.post(path, {"url": "nowhere"})
    assert (answer.status, b'id="url-wrong">The URL of' in answer.body) == (400, True)
    assert endpoint_of(server, number) == shown


def test_a_secret_is_replaced_and_shown_once(ada: Visitor) -> None:
    server = ada.server
    number = new_endpoint(ada, new_owner(server))
    path = f"/panel/endpoints/{number}/rotate"
    for hours in ("nan", "-1", "8761", "soon", ""):
        answer = ada.post(path, {"overlap_hours": hours})
        assert "Must be a number of hours from 0 to 8760." in words(answer, 400), hours
    assert endpoint_of(server, number)["old_secret_until"] is None

    made = ada.post(path, {"overlap_hours": "1.5"})

    [secret] = re.findall(r'value="(whsec_[^"]+)" readonly', made.body.decode())
    assert 'id="key"' not in made.body.decode()
    assert "The old secret signs as well until" in words(made)
    page = ada.get(f"/panel/endpoints/{number}")
    assert "Old secret signs as well until" in words(page)
    assert secret not in page.body.decode()
    again = ada.post(path, {"overlap_hours": "0", "apikey": "key-2", "secret": SECRET})
    assert b'value="key-2" readonly' in again.body
    assert "signs as well" not in words(again)
    noted = ada.get("/panel/changes").body.decode()
    assert "secret rotated" in noted
    assert secret not in noted


def test_an_endpoint_is_removed_with_what_waits_for_it(ada: Visitor) -> None:
    server = ada.server
    number = new_endpoint(ada, new_owner(server))
    dead(server, number)
    attempt = tried(server, number)
    assert "1 deliveries that wait" in words(ada.get(f"/panel/endpoints/{number}/change"))

    assert ada.post(f"/panel/endpoints/{number}/remove").status == 303

    assert ada.get(f"/panel/endpoints/{number}").status == 404
    assert ada.post(f"/panel/endpoints/{number}/remove").status == 404
    assert f"{number}, removed" in words(ada.get(f"/panel/deliveries/{attempt}"))
    assert f"{number}, removed" in words(ada.get(f"/panel/deliveries?endpoint={number}"))
    page = ada.get(f"/panel/endpoints/{number}/deliveries/msg_tried")
    assert f"{number}, removed" in words(page)
    assert b"Redeliver" not in page.body
    assert ada.post(f"/panel/endpoints/{number}/deliveries/msg_tried/redeliver").status == 404


def test_nothing_is_posted_to_an_endpoint_that_is_paused(ada: Visitor, receiver: Owner) -> None:
    server = ada.server
    number = new_endpoint(ada, new_owner(server), receiver.url)
    path = f"/panel/endpoints/{number}"
    assert ada.post(f"{path}/pause").headers["location"] == path
    assert "State paused" in words(ada.get(path))

    answer = ada.post(f"{path}/test")

    assert "Nothing is posted to it: resume it first." in words(answer, 400)
    assert states(server, number) == {}
    assert ada.post(f"{path}/resume").status == 303
    assert ada.post(f"{path}/test").status == 303
    [received] = receiver.receives(1)
    assert received.json["order"] == "cloudsignal-test"


def test_endpoints_are_listed_page_by_page(ada: Visitor) -> None:
    server, owner = ada.server, new_owner(ada.server)
    with server.store() as store:
        numbers = [told.endpoint(store, owner).id for _ in range(PAGE + 1)]

    first = ada.get(f"/panel/endpoints?owner={owner}")
    [more] = links(first, '/panel/endpoints[?][^"]*after[^"]*')

    assert links(first, "/panel/endpoints/[0-9]+")[::2] == [
        f"/panel/endpoints/{number}" for number in numbers[:PAGE]
    ]
    assert links(ada.get(more), "/panel/endpoints/[0-9]+")[::2] == [
        f"/panel/endpoints/{numbers[PAGE]}"
    ]
    csv = ada.get(f"/panel/endpoints?owner={owner}&as=csv").body.decode("utf-8-sig")
    assert len(csv.splitlines()) == 1 + PAGE + 1


# ---- deliveries ----


def test_attempts_are_found_by_what_they_were_about(ada: Visitor) -> None:
    server = ada.server
    number, other = (new_endpoint(ada, new_owner(server)) for _ in range(2))
    good = tried(server, number, error="", status=204)
    elsewhere = tried(server, other)
    # The last one, as attempts are noted about in the order in which they begin.
    bad = tried(server, number, at=NOON + HOUR_US)

    def found(query: str) -> set[int]:
        answer = ada.get(f"/panel/deliveries?{query}")
        assert answer.status == 200, answer
        listed = {int(each.split("/")[-1]) for each in links(answer, "/panel/deliveries/[0-9]+")}
        return listed & {good, bad, elsewhere}

    assert found("") == {good, bad, elsewhere}
    assert found(f"endpoint={number}&order=&since=") == {good, bad}
    assert found(f"endpoint={number}&failed=true") == {bad}
    assert found(f"endpoint={number}&since={written(NOON + HOUR_US // 2)[:16]}") == {bad}
    assert found("order=no-such-order") == set()
    csv = ada.get(f"/panel/deliveries?endpoint={number}&failed=true&as=csv").body.decode(
        "utf-8-sig"
    )
    head, *rows = csv.splitlines()
    assert head.startswith('"Begun, UTC",What became of it,Status,Type')
    assert len(rows) == 1
    assert rows[0].startswith(f"{written(NOON + HOUR_US)}Z,")
    answer = ada.get("/panel/deliveries?since=yesterday")
    assert "Cannot be read: write it like 2016-01-20" in words(answer, 400)
    assert 'id="since-wrong"' in answer.body.decode()


def test_attempts_are_listed_page_by_page(ada: Visitor) -> None:
    server = ada.server
    number = new_endpoint(ada, new_owner(server))
    attempts = [
        told.attempted(number, "msg_tried", at=NOON, webhook=WEBHOOK) for _ in range(PAGE + 1)
    ]
    with server.store() as store:
        store.deliveries.note(Progress(attempted=attempts), now=NOON)

    for path in (
        f"/panel/deliveries?endpoint={number}&failed=true",
        f"/panel/endpoints/{number}/deliveries/msg_tried",
    ):
        first = ada.get(path)
        [older] = links(first, '/panel/[^"]*before=[^"]*')
        listed = [*links(first, "/panel/deliveries/[0-9]+")]
        assert len(listed) == PAGE
        rest = links(ada.get(older), "/panel/deliveries/[0-9]+")
        assert len(rest) == 1
        assert set(rest).isdisjoint(listed)


def test_an_attempt_shows_what_was_sent_and_how_it_was_answered(ada: Visitor) -> None:
    server = ada.server
    number = new_endpoint(ada, new_owner(server))
    first = tried(server, number, attempt=1, headers=[("x-of", "receiver")], answer=b"no room")
    second = tried(server, number, attempt=2, took=1_234_567, answer=b"\xff\0")

    page = ada.get(f"/panel/deliveries/{first}")

    assert f"webhook-id: msg_tried webhook-timestamp: {NOON // 1_000_000}" in words(page)
    assert "webhook-signature: … " in words(page)
    assert '"type": "ItemProduce", "apikey": "…", "order": "7"' in words(page)
    assert "Status 500 Headers x-of: receiver Body no room" in words(page)
    assert f"Posted to 192.0.2.1 Begun {shown(NOON)} UTC" in words(page)
    assert links(page, "/panel/deliveries/[0-9]+") == [
        f"/panel/deliveries/{each}" for each in (second, first)
    ]
    other = words(ada.get(f"/panel/deliveries/{second}"))
    assert "Took 1,235 ms Try 2" in other
    assert "Body, no text: in base64 /wA=" in other
    nobody = tried(server, number, status=None, error="nobody answers", address="")
    silent = words(ada.get(f"/panel/deliveries/{nobody}"))
    assert "nowhere: it did not come to that" in silent
    assert "There was none: nobody answers." in silent


def test_what_was_taken_is_told_once_more_as_it_was(ada: Visitor, receiver: Owner) -> None:
    server = ada.server
    number = new_endpoint(ada, new_owner(server), receiver.url)
    assert ada.post(f"/panel/endpoints/{number}/test").status == 303
    receiver.receives(1)
    with server.store() as store:
        attempt = eventually(lambda: store.delivery_log.attempts(endpoint=number, limit=1))[0]
    path = f"/panel/endpoints/{number}/deliveries/{attempt.message}"

    on = ada.post(f"{path}/redeliver").headers["location"]

    assert on == f"{path}?after={attempt.id}"
    first, second = receiver.receives(2)
    assert (second.body, second.headers["webhook-id"]) == (first.body, attempt.message)
    then = eventually(lambda: (found := ada.get(on)).status == 303 and found)
    assert "delivered" in words(ada.get(then.headers["location"]))
    assert "State delivered" in words(ada.get(path))
    assert b"told once more" in ada.get("/panel/changes").body


def test_a_delivery_says_where_it_stands(ada: Visitor) -> None:
    server = ada.server
    number = new_endpoint(ada, new_owner(server))
    ada.post(f"/panel/endpoints/{number}/pause")
    path = f"/panel/endpoints/{number}/deliveries/"
    given_up, waits = dead(server, number, 2)
    with server.store() as store:
        noted = _noted(number, waits, 1)
        store.delivery_log.tell(replace(noted, state="waiting", due=NOON), now=NOON)
    tried(server, number)

    assert "State given up at 20" in words(ada.get(path + given_up))
    assert f"waiting, tried next at {shown(NOON)} UTC" in words(ada.get(path + waits))
    assert "State over: it is not tried again" in words(ada.get(path + "msg_tried"))
    on = ada.post(f"{path}{given_up}/redeliver").headers["location"]
    assert "It was asked for, and is not posted yet." in words(ada.get(on))
    listed = words(ada.get(f"/panel/endpoints/{number}/waiting"))
    assert "asked for" in listed
    assert "it answered 500" in listed
    for unknown in ("msg_unknown", "%00", "%3Cb%3E"):
        assert ada.get(path + unknown).status == 404
        assert ada.post(f"{path}{unknown}/redeliver").status == 404


@pytest.mark.parametrize(
    "path",
    [
        "deliveries?endpoint=x",
        "deliveries?before=x",
        "deliveries?order=" + "x" * 129,
        "dead-letters?before=1",
        "dead-letters?before=1,99999999999999999999,msg_1",
        "endpoints/99999999999999999999",
        "deliveries/0",
    ],
)
def test_what_makes_no_sense_is_refused(ada: Visitor, path: str) -> None:
    assert ada.get(f"/panel/{path}").status == 400


@pytest.mark.parametrize(
    ("path", "status"),
    [("deliveries?order=%00", 400), ("endpoints?owner=%00", 400), ("endpoints/99999", 404)],
)
def test_what_is_not_there_is_not_found(ada: Visitor, path: str, status: int) -> None:
    assert ada.get(f"/panel/{path}").status == status


# ---- dead letters ----


@pytest.fixture
def paused(ada: Visitor) -> tuple[int, int]:
    """Two endpoints of different owners, to which nothing is posted."""
    first, second = (new_endpoint(ada, new_owner(ada.server)) for _ in range(2))
    for number in (first, second):
        ada.post(f"/panel/endpoints/{number}/pause")
    return first, second


def test_what_was_given_up_is_redelivered_where_it_is_ticked(
    ada: Visitor, paused: tuple[int, int]
) -> None:
    server, (first, second) = ada.server, paused
    a, b = dead(server, first, 2)
    c, d = dead(server, second, 2)
    assert "it answered 500" in words(ada.get(f"/panel/dead-letters?endpoint={first}"))
    # The picture of the first page may be a second old.
    given_up = b'<a href="/panel/dead-letters">given up</a>'
    eventually(lambda: given_up in ada.get("/panel/").body, "no link leads from the first page")
    chosen = [f"{first} {a}", f"{second} {d}"]

    done = ada.post("/panel/dead-letters/redeliver", {"chosen": chosen, "endpoint": ""})

    assert "2 deliveries are told once more." in words(ada.get(done.headers["location"]))
    assert states(server, first) == {a: "asked", b: "dead"}
    assert states(server, second) == {c: "dead", d: "asked"}
    for wrong, sentence in (
        ({}, "Tick what is meant, or take all."),
        ({"chosen": f"{first} <b>"}, "Messages: must be an array of 1 to 1000 ids of messages."),
    ):
        answer = ada.post("/panel/dead-letters/redeliver", wrong)
        assert sentence in words(answer, 400)
    assert ada.post("/panel/dead-letters/redeliver", {"chosen": "x"}).status == 400
    assert ada.post("/panel/dead-letters/redeliver", {"chosen": f"99999 {a}"}).status == 404


def test_all_that_was_given_up_is_redelivered_or_forgotten(
    ada: Visitor, paused: tuple[int, int]
) -> None:
    server, (first, second) = ada.server, paused
    dead(server, first, 2)
    one = dead(server, second)
    of_first = {"endpoint": str(first), "all": "yes"}

    done = ada.post("/panel/dead-letters/discard", of_first)
    assert done.headers["location"] == f"/panel/dead-letters?endpoint={first}&discarded=2"
    assert states(server, first) == {}
    assert states(server, second) == dict.fromkeys(one, "dead")
    assert "2 deliveries are forgotten." in words(ada.get(done.headers["location"]))
    assert b"deliveries discarded" in ada.get("/panel/changes").body

    more = dead(server, first)
    assert ada.post("/panel/dead-letters/redeliver", {"all": "yes"}).status == 303
    assert states(server, first) == dict.fromkeys(more, "asked")
    assert states(server, second) == dict.fromkeys(one, "asked")


def test_what_was_given_up_since_an_instant_is_recovered(
    ada: Visitor, paused: tuple[int, int]
) -> None:
    server, (number, _) = ada.server, paused
    with server.store() as store:
        for hour in range(3):
            noted = _noted(number, f"msg_of_hour_{hour}", 1)
            store.delivery_log.tell(noted, now=NOON + hour * HOUR_US)
    path = f"/panel/endpoints/{number}"

    done = ada.post(f"{path}/recover", {"since": written(NOON + HOUR_US)[:16]})

    assert done.headers["location"] == f"/panel/dead-letters?endpoint={number}&redelivered=2"
    assert states(server, number) == {
        "msg_of_hour_0": "dead",
        "msg_of_hour_1": "asked",
        "msg_of_hour_2": "asked",
    }
    for since in ("", "now"):
        answer = ada.post(f"{path}/recover", {"since": since})
        assert "Cannot be read: write it like 2016-01-20" in words(answer, 400)


def test_dead_letters_are_listed_page_by_page(ada: Visitor, paused: tuple[int, int]) -> None:
    number, _ = paused
    dead(ada.server, number, PAGE + 1)

    first = ada.get(f"/panel/dead-letters?endpoint={number}")
    [older] = links(first, '/panel/[^"]*before=[^"]*')

    pattern = f'/panel/endpoints/{number}/deliveries/[^"]*'
    listed, rest = links(first, pattern), links(ada.get(older), pattern)
    assert (len(listed), len(rest)) == (PAGE, 1)
    assert set(rest).isdisjoint(listed)
    assert f"Redeliver all {PAGE + 1}" in words(first)
    csv = ada.get(f"/panel/dead-letters?endpoint={number}&as=csv").body.decode("utf-8-sig")
    assert len(csv.splitlines()) == 1 + PAGE + 1
    assert ada.get("/panel/dead-letters?endpoint=99999&as=csv").status == 404


# ---- who ----


def test_an_owner_mends_what_is_theirs(ada: Visitor, receiver: Owner) -> None:
    server, owner = ada.server, new_owner(ada.server)
    number = new_endpoint(ada, owner, receiver.url)
    theirs = somebody(ada, "owner", owner)
    path = f"/panel/endpoints/{number}"
    [message] = dead(server, number)

    for listed in ("endpoints", "deliveries", "dead-letters"):
        assert theirs.get(f"/panel/{listed}").status == 200
    assert "Redeliver all 1" in words(theirs.get("/panel/dead-letters"))
    csv = theirs.get("/panel/dead-letters?as=csv").body.decode("utf-8-sig")
    assert len(csv.splitlines()) == 2  # Others have some too.
    assert theirs.post(f"{path}/pause").status == 303
    assert endpoint_of(server, number)["state"] == "paused"
    assert theirs.post("/panel/dead-letters/redeliver", {"all": "yes"}).status == 303
    assert theirs.post(f"{path}/recover", {"since": "2016-01-20T12:00"}).status == 303
    assert states(server, number) == {message: "asked"}
    assert theirs.post(f"{path}/resume").status == 303
    receiver.receives(1)
    eventually(lambda: states(server, number) == {})
    assert theirs.post(f"{path}/deliveries/{message}/redeliver").status == 303
    assert theirs.post(f"{path}/test").status == 303
    receiver.receives(3)

    before = all_of(server, owner)
    forbidden = ("endpoints/new", f"endpoints/{number}/change")
    assert [theirs.get(f"/panel/{each}").status for each in forbidden] == [403, 403]
    for verb in ("change", "rotate", "remove"):
        assert theirs.post(f"{path}/{verb}", {"overlap_hours": "0"}).status == 403
    new = {"owner": owner, "url": "https://owner.example/"}
    assert theirs.post("/panel/endpoints/new", new).status == 403
    assert theirs.post("/panel/dead-letters/discard", {"all": "yes"}).status == 403
    page = theirs.get(path).body
    assert [word for word in (b"Change", b"Rotate", b"/change") if word in page] == []
    assert b"Discard" not in theirs.get("/panel/dead-letters").body
    assert [each["state"] for each in all_of(server, owner)] == [each["state"] for each in before]


def test_what_is_anothers_is_not_there_for_an_owner(ada: Visitor) -> None:
    server, owner, other = ada.server, new_owner(ada.server), new_owner(ada.server)
    own, number = new_endpoint(ada, owner), new_endpoint(ada, other)
    attempt, [message] = tried(server, number), dead(server, number)
    mine, [ours] = tried(server, own), dead(server, own)
    ada.post(f"/panel/endpoints/{own}/pause")
    theirs = somebody(ada, "owner", owner)
    noted = endpoint_of(server, number), states(server, number)

    for path in (
        f"endpoints/{number}",
        f"endpoints/{number}/waiting",
        f"endpoints/{number}/deliveries/{message}",
        f"endpoints/{number}/deliveries/{message}?after=0",
        f"deliveries/{attempt}",
        f"deliveries?endpoint={number}",
        f"dead-letters?endpoint={number}",
    ):
        nothing = words(theirs.get("/panel/endpoints/99999"), 404)
        assert words(theirs.get(f"/panel/{path}"), 404) == nothing, path
    for path, fields in (
        (f"endpoints/{number}/test", {}),
        (f"endpoints/{number}/pause", {}),
        (f"endpoints/{number}/resume", {}),
        (f"endpoints/{number}/recover", {"since": "2016-01-20T12:00"}),
        (f"endpoints/{number}/deliveries/{message}/redeliver", {}),
        ("dead-letters/redeliver", {"endpoint": str(number), "all": "yes"}),
        ("dead-letters/redeliver", {"chosen": [f"{own} {ours}", f"{number} {message}"]}),
    ):
        assert theirs.post(f"/panel/{path}", fields).status == 404, path
    assert states(server, own) == {ours: "dead"}
    assert theirs.post("/panel/dead-letters/redeliver", {"all": "yes"}).status == 303

    assert states(server, own) == {ours: "asked"}
    assert (endpoint_of(server, number), states(server, number)) == noted
    listed = theirs.get(f"/panel/endpoints?owner={other}")
    assert links(listed, "/panel/endpoints/[0-9]+")[::2] == [f"/panel/endpoints/{own}"]
    assert links(theirs.get("/panel/deliveries"), "/panel/deliveries/[0-9]+") == [
        f"/panel/deliveries/{mine}"
    ]
    for path in ("endpoints", "deliveries", "dead-letters"):
        page = theirs.get(f"/panel/{path}").body.decode()
        assert other not in page
        assert message not in page


def test_an_owner_sees_nothing_more_of_an_endpoint_that_was_removed(ada: Visitor) -> None:
    server, owner = ada.server, new_owner(ada.server)
    number = new_endpoint(ada, owner)
    attempt = tried(server, number)
    theirs = somebody(ada, "owner", owner)
    assert theirs.get(f"/panel/deliveries/{attempt}").status == 200
    ada.post(f"/panel/endpoints/{number}/remove")

    assert theirs.get(f"/panel/deliveries/{attempt}").status == 404
    assert theirs.get(f"/panel/deliveries?endpoint={number}").status == 404
    assert links(theirs.get("/panel/deliveries"), "/panel/deliveries/[0-9]+") == []


@pytest.mark.parametrize("role", ["reader", "partner"])
def test_who_may_only_look_changes_nothing(ada: Visitor, role: str) -> None:
    server, owner, partner = ada.server, new_owner(ada.server), fresh("partner")
    with server.store() as store:
        store.access.create_partner(partner, now=clock.now())
    number = new_endpoint(ada, owner)
    attempt, [message] = tried(server, number), dead(server, number)
    other = somebody(ada, role, partner if role == "partner" else "")
    noted = endpoint_of(server, number), states(server, number)
    seen = 200 if role == "reader" else 403

    for path in (
        "endpoints",
        f"endpoints/{number}",
        f"endpoints/{number}/waiting",
        f"endpoints/{number}/deliveries/{message}",
        "deliveries",
        f"deliveries/{attempt}",
        "dead-letters",
    ):
        answer = other.get(f"/panel/{path}")
        assert answer.status == seen, path
        main = answer.body.decode().partition("<main")[2]
        assert 'method="post"' not in main, path
        assert "<button>" not in main, path
    for path, fields in (
        ("endpoints/new", {"owner": owner, "url": "https://owner.example/"}),
        *((f"endpoints/{number}/{verb}", {"since": "2016-01-20T12:00"}) for verb in VERBS),
        (f"endpoints/{number}/deliveries/{message}/redeliver", {}),
        ("dead-letters/redeliver", {"all": "yes"}),
        ("dead-letters/discard", {"all": "yes"}),
    ):
        assert other.post(f"/panel/{path}", fields).status == 403, path
    assert (endpoint_of(server, number), states(server, number)) == noted


VERBS = ("test", "pause", "resume", "recover", "change", "rotate", "remove")
