"""Endpoints and deliveries, over HTTP, with a server that really posts."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace

from cloudsignal.protocol import signatures
from cloudsignal.protocol.webhooks import SENT
from cloudsignal.server.api.endpoints import ATTEMPTS_MAX
from cloudsignal.server.bodies import LIST_MAX
from cloudsignal.server.delivery.pace import DISABLED_AFTER, RESTS_AFTER
from cloudsignal.server.store.deliveries import Health, Progress
from cloudsignal.webhooks import verify
from tests.acceptance.conftest import JSON, Answer, Server, eventually, fresh, signal
from tests.owner import FLAGS, Owner, receiving
from tests.server.arrivals import NOON
from tests.server.test_api_access import problem

NOWHERE = 2**53 - 1
"""The number of an endpoint that is not there."""
KEY = "13b37bb1ed6d3403e158abe719b4f6d0"
SECRET = signatures.written(b"k" * 32)
TYPES = ", ".join(each.__name__ for each in SENT)
RULE_OF_URL = "the URL of an endpoint begins with https://"


class Api:
    """The API, asked by an operator."""

    def __init__(self, server: Server, role: str = "operator") -> None:
        self.server = server
        self._headers = {"Authorization": f"Bearer {server.token(role)}"}

    def get(self, path: str) -> Answer:
        return self.server.request("GET", f"/api/v1/{path}", headers=self._headers)

    def send(self, method: str, path: str, body: Any = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        return self.server.request(method, f"/api/v1/{path}", data, self._headers | JSON)

    def post(self, path: str, body: Any = None) -> Answer:
        return self.send("POST", path, body)


@pytest.fixture(scope="module")
def api(server: Server) -> Api:
    return Api(server)


@pytest.fixture
def receiver() -> Iterator[Owner]:
    with receiving() as owner:
        yield owner


@pytest.fixture
def owner(api: Api) -> str:
    """The name of an owner that is there, and gets what nobody registered."""
    name = fresh("owner")
    assert api.post("owners", {"owner": name, "unregistered": True}).status == 201
    return name


@pytest.fixture
def endpoint(api: Api, owner: str, receiver: Owner) -> Iterator[Any]:
    """An endpoint of that owner at the receiver, as it was created."""
    made = create(api, owner=owner, url=receiver.url)
    yield made
    api.send("DELETE", f"endpoints/{made['endpoint']}")


def create(api: Api, **fields: Any) -> Any:
    answer = api.post("endpoints", fields)
    assert answer.status == 201, answer
    return answer.json


def shown(api: Api, made: Any) -> Any:
    answer = api.get(f"endpoints/{made['endpoint']}")
    assert answer.status == 200, answer
    return answer.json


def attempts(api: Api, query: str, count: int = 1) -> list[Any]:
    """So many attempts at least, once they are in the log: the newest first."""

    def found() -> list[Any]:
        listed: list[Any] = api.get(f"attempts?{query}").json["attempts"]
        return listed if len(listed) >= count else []

    listed: list[Any] = eventually(found, f"{query}: no {count} attempts are in the log")
    return listed


# ---- endpoints ----


def test_an_endpoint_is_created_with_a_key_and_a_secret_of_its_own(api: Api, owner: str) -> None:
    made = create(api, owner=owner, url="https://me:pass@owner.example/in?token=x")

    assert len(made.pop("apikey")) == 32
    assert signatures.read(made.pop("secret"))
    assert made == shown(api, made)
    assert made.pop("created") is not None
    assert made | {"endpoint": 0, "behind": 0} == {
        "endpoint": 0,
        "owner": owner,
        "url": "https://owner.example/in?…",
        "format": "cloudsignal-2.0",
        "types": [],
        "test": False,
        "newest_only": False,
        "state": "active",
        "why": "",
        "health": "good",
        "failures": 0,
        "failures_percent": 0,
        "failing_since": None,
        "waiting": 0,
        "asked": 0,
        "dead": 0,
        "behind": 0,
        "old_secret_until": None,
    }


def test_everything_about_an_endpoint_can_be_chosen_and_changed(api: Api, owner: str) -> None:
    wish = {
        "url": "https://owner.example/in",
        "format": "cloudsignal-2.1",
        "types": ["ItemShipped", "ItemError"],
        "test": True,
        "newest_only": True,
    }
    made = create(api, owner=owner, apikey=KEY, secret=SECRET, **wish)
    assert (made["apikey"], made["secret"]) == (KEY, SECRET)
    assert made.items() >= wish.items()

    change = {
        "url": "https://other.example/",
        "format": "cloudsignal-2.0",
        "types": [],
        "newest_only": False,
    }
    changed = api.send("PATCH", f"endpoints/{made['endpoint']}", change)

    assert changed.status == 200
    assert changed.json.items() >= change.items()
    same = api.send("PATCH", f"endpoints/{made['endpoint']}", {})
    assert same.json == changed.json


def test_endpoints_are_listed_of_all_owners_or_of_one(api: Api, owner: str) -> None:
    other = fresh("owner")
    api.post("owners", {"owner": other})
    numbers = [
        create(api, owner=name, url="https://owner.example/")["endpoint"]
        for name in (owner, other, owner)
    ]

    of_one = api.get(f"endpoints?owner={owner}").json
    of_all = api.get("endpoints").json

    assert [each["endpoint"] for each in of_one] == [numbers[0], numbers[2]]
    assert set(numbers) <= {each["endpoint"] for each in of_all}
    assert api.get("endpoints?owner=nobody").json == []


def test_an_endpoint_that_is_removed_is_there_no_more(api: Api, owner: str) -> None:
    number = create(api, owner=owner, url="https://owner.example/")["endpoint"]

    answer = api.send("DELETE", f"endpoints/{number}")

    assert (answer.status, answer.body) == (204, b"")
    assert problem(api.get(f"endpoints/{number}"), 404).detail == f"there is no endpoint {number}"
    assert create(api, owner=owner, url="https://owner.example/")["endpoint"] > number


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "", None),
        ("PATCH", "", {}),
        ("DELETE", "", None),
        ("POST", "/pause", None),
        ("POST", "/resume", None),
        ("POST", "/test", None),
        ("POST", "/rotate", {}),
        ("GET", "/deliveries", None),
        ("POST", "/redeliver", {"all": True}),
        ("POST", "/discard", {"all": True}),
    ],
)
def test_what_is_not_there_is_404_and_not_for_readers_to_change(
    api: Api, method: str, path: str, body: Any
) -> None:
    told = problem(api.send(method, f"endpoints/{NOWHERE}{path}", body), 404)
    assert told.detail == f"there is no endpoint {NOWHERE}"
    answer = Api(api.server, "reader").send(method, f"endpoints/{NOWHERE}{path}", body)
    problem(answer, 404 if method == "GET" else 403)


def test_a_number_that_no_endpoint_can_have_is_400_or_404(api: Api) -> None:
    problem(api.get("endpoints/x"), 404)
    for number in (0, NOWHERE + 1, 2**64):
        assert "endpoint" in problem(api.get(f"endpoints/{number}"), 400).detail


WRONG: dict[str, tuple[str, Any, list[tuple[str, str]]]] = {
    "everything": (
        "endpoints",
        {
            "owner": "",
            "url": 7,
            "format": "xml",
            "types": ["ItemShipped", "ItemDelay"],
            "test": "no",
            "apikey": "two words",
            "secret": "s3cret",
            "colour": "red",
        },
        [
            (
                "colour",
                "there is no such field, there are owner, url, format, types, test,"
                " newest_only, apikey, secret",
            ),
            ("owner", "must be a name of 1 to 255 characters in one line"),
            ("url", "must be a URL such as https://owner.example/webhooks"),
            ("format", "must be cloudsignal-2.0 or cloudsignal-2.1"),
            ("types[1]", f"must be one of the types of webhooks: {TYPES}"),
            ("test", "must be true or false"),
            ("apikey", "must be 1 to 255 visible ASCII characters"),
            ("secret", "must be whsec_ and then base64"),
        ],
    ),
    "nothing": (
        "endpoints",
        {},
        [
            ("owner", "is missing: it must be a name of 1 to 255 characters in one line"),
            ("url", "is missing: it must be a URL such as https://owner.example/webhooks"),
        ],
    ),
    "no such owner": (
        "endpoints",
        {"owner": "nobody", "url": "https://owner.example"},
        [("owner", "there is no owner called 'nobody'")],
    ),
    "another kind of URL": (
        "endpoints",
        {"owner": "nobody", "url": "ftp://zquser:zqword@owner.example"},
        [("url", RULE_OF_URL)],
    ),
    "too many types": (
        "endpoints",
        {"owner": "nobody", "url": "https://owner.example", "types": ["ItemShipped"] * 100},
        [("types", f"must be an array of types of webhooks: {TYPES}")],
    ),
    "a short secret": (
        "endpoints",
        {"owner": "nobody", "url": "https://owner.example", "secret": "whsec_c2hvcnQ="},
        [("secret", "a signing secret has 24 to 64 bytes, this one 5")],
    ),
    "no body": ("endpoints", None, [("", "the body is not JSON: Input data was truncated")]),
    "an overlap": (
        "endpoints/1/rotate",
        {"overlap_hours": -1},
        [("overlap_hours", "must be a number of hours from 0 to 8760")],
    ),
    "nothing to redeliver": (
        "endpoints/1/redeliver",
        {},
        [("", "choose deliveries in one way: by messages, positions, since, all")],
    ),
    "two ways": (
        "endpoints/1/redeliver",
        {"all": True, "since": "2016-01-20T13:00Z"},
        [("", "choose deliveries in one way: by messages, positions, since, all")],
    ),
    "wrong ways": (
        "endpoints/1/redeliver",
        {"messages": ["7"], "positions": [0]},
        [
            ("messages", f"must be an array of 1 to {LIST_MAX} ids of messages"),
            ("positions", f"must be an array of 1 to {LIST_MAX} positions of the log"),
        ],
    ),
    "no date": (
        "endpoints/1/redeliver",
        {"since": "2016-02-30 00:00Z"},
        [("since", "cannot be read: day is out of range for month")],
    ),
    "nothing to discard": (
        "endpoints/1/discard",
        {"all": False},
        [("", "choose deliveries in one way: by messages, all")],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_everything_that_is_wrong_is_told_with_its_place(api: Api, owner: str, case: str) -> None:
    create(api, owner=owner, url="https://owner.example/")
    path, body, expected = WRONG[case]

    answer = api.post(path, body)

    told = problem(answer, 400).problems or []
    assert [each.at for each in told] == [at for at, _ in expected]
    assert all(info in each.info for each, (_, info) in zip(told, expected, strict=True))
    assert b"zqword" not in answer.body


# ---- what is told ----


def test_a_signal_is_told_and_the_attempt_is_in_the_log(
    api: Api, key: str, endpoint: Any, receiver: Owner
) -> None:
    receiver.answer = b"caf\xc3"
    posted = signal("ItemShipped")
    assert api.server.post({"apikey": key} | posted).status == 200

    [received] = receiver.receives(1)
    [attempt] = attempts(api, f"endpoint={endpoint['endpoint']}")

    found = verify(
        received.headers, received.body, secret=endpoint["secret"], apikey=endpoint["apikey"]
    )
    assert attempt["message"] == found.id == received.headers["webhook-id"]
    assert attempt["webhook"] == received.json | {"apikey": ""}
    assert attempt["answer"]["status"] == 200
    assert ["content-length", "4"] in attempt["answer"]["headers"]
    assert (attempt["answer"]["body"], attempt["answer"]["encoding"]) == ("caf", "text")
    assert (attempt["error"], attempt["attempt"], attempt["address"]) == ("", 1, "127.0.0.1")
    assert attempt["took_ms"] > 0
    for query in (
        f"order={posted['order']}",
        f"order={posted['order']}&item={posted['item']}",
        f"message={found.id}&failed=false",
    ):
        assert api.get(f"attempts?{query}").json == {"attempts": [attempt], "next": None}
    for query in (f"order={fresh('order')}", f"message={found.id}&failed=true"):
        assert api.get(f"attempts?{query}").json == {"attempts": [], "next": None}


def test_attempts_are_read_page_by_page(api: Api, key: str, endpoint: Any, receiver: Owner) -> None:
    for _ in range(3):
        api.server.post({"apikey": key} | signal())
    query = f"endpoint={endpoint['endpoint']}"
    every = attempts(api, query, 3)

    first = api.get(f"attempts?{query}&limit=2").json
    second = api.get(f"attempts?{query}&limit=2&before={first['next']}").json

    assert first["attempts"] + second["attempts"] == every
    assert second["next"] is None


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("item=1", "item: name its order as well"),
        (f"limit={ATTEMPTS_MAX + 1}", "limit"),
        ("endpoint=0", "endpoint"),
        ("failed=perhaps", "failed"),
        ("owner=x", "owner: there is no such parameter"),
    ],
)
def test_attempts_that_are_asked_for_wrongly_are_400(api: Api, query: str, told: str) -> None:
    assert told in problem(api.get(f"attempts?{query}"), 400).detail


def test_a_test_is_posted_and_what_became_of_it_is_told(
    api: Api, endpoint: Any, receiver: Owner
) -> None:
    receiver.status, receiver.answer = 500, b"\xff\x00no"

    message = api.post(f"endpoints/{endpoint['endpoint']}/test").json["message"]

    [attempt] = attempts(api, f"message={message}")
    assert (attempt["order"], attempt["type"]) == (
        "cloudsignal-test",
        "CloudprinterOrderValidated",
    )
    assert attempt["error"] == "it answered 500"
    assert (attempt["answer"]["body"], attempt["answer"]["encoding"]) == ("/wBubw==", "base64")
    [waiting] = eventually(lambda: deliveries(api, endpoint, "waiting"))
    assert (waiting["message"], waiting["why"]) == (message, "it answered 500")
    assert waiting["webhook"] == attempt["webhook"]
    assert (waiting["position"], waiting["attempts"]) == (None, 1)
    assert waiting["due"] > waiting["first"]


def deliveries(api: Api, endpoint: Any, state: str) -> list[Any]:
    path = f"endpoints/{endpoint['endpoint']}/deliveries?state={state}"
    found: list[Any] = api.get(path).json["deliveries"]
    return found


def pause(api: Api, number: int) -> Any:
    """The endpoint, once nothing is posted to it any more."""
    paused = api.post(f"endpoints/{number}/pause").json
    with closing(sqlite3.connect(api.server.path)) as database:
        told = f"SELECT node FROM endpoints WHERE id = {number}"
        eventually(lambda: database.execute(told).fetchone() == (None,))
    return paused


def test_a_paused_endpoint_gets_nothing_and_all_of_it_later(
    api: Api, key: str, endpoint: Any, receiver: Owner
) -> None:
    number = endpoint["endpoint"]
    paused = pause(api, number)
    assert (paused["state"], paused["health"]) == ("paused", "paused")
    api.post(f"endpoints/{number}/test")
    api.server.post({"apikey": key} | signal())
    now = shown(api, endpoint)
    assert (now["asked"], now["behind"]) == (1, paused["behind"] + 1)
    assert receiver.received == []

    resumed = api.post(f"endpoints/{number}/resume").json

    assert resumed["state"] == "active"
    receiver.receives(2)
    eventually(lambda: shown(api, endpoint)["asked"] == shown(api, endpoint)["behind"] == 0)


def test_a_test_is_posted_at_once_to_an_endpoint_that_fails_and_rests(
    api: Api, endpoint: Any, receiver: Owner
) -> None:
    number = endpoint["endpoint"]
    pause(api, number)
    with api.server.store() as store:
        health = Health(RESTS_AFTER, NOON, "paused", "paused", "")
        store.deliveries.note(Progress(health={number: health}), now=NOON)
    api.post(f"endpoints/{number}/resume")
    receiver.status = 500

    tests = []
    for count in (1, 2, 3):
        tests.append(api.post(f"endpoints/{number}/test").json["message"])
        receiver.receives(count)

    assert [each.headers["webhook-id"] for each in receiver.received] == tests
    receiver.status = 204
    tests.append(api.post(f"endpoints/{number}/test").json["message"])
    received = receiver.receives(7)
    assert received[3].headers["webhook-id"] == tests[3]
    assert {each.headers["webhook-id"] for each in received[4:]} == set(tests[:3])


def test_a_disabled_endpoint_is_probed_before_it_is_active(
    api: Api, endpoint: Any, receiver: Owner
) -> None:
    number = endpoint["endpoint"]
    with api.server.store() as store:
        why = "100 attempts have failed, the last: it answered 500"
        store.endpoints.set_state(number, "disabled", why)
    assert shown(api, endpoint)["health"] == f"disabled: {why}"

    probing = api.post(f"endpoints/{number}/resume").json
    api.post(f"endpoints/{number}/test")

    assert (probing["state"], probing["why"]) == ("probing", "")
    assert "active again" in probing["health"]
    receiver.receives(1)
    eventually(lambda: shown(api, endpoint)["state"] == "active")


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        (7, "failing since 2016-01-20 12:00:00 UTC: 7 % of the 100 failures that disable it"),
        (50, "WARNING: failing since 2016-01-20 12:00:00 UTC: 50 % of the 100 failures that"),
        (DISABLED_AFTER - 1, "WARNING: failing since 2016-01-20 12:00:00 UTC: 99 % of the 100"),
    ],
)
def test_health_says_how_near_an_endpoint_is_to_being_disabled(
    api: Api, owner: str, failures: int, told: str
) -> None:
    made = create(api, owner=owner, url="https://owner.example/")
    health = Health(failures, NOON, "active", "active", "")
    with api.server.store() as store:
        store.deliveries.note(Progress(health={made["endpoint"]: health}), now=NOON)

    now = shown(api, made)

    assert now["health"].startswith(told)
    assert (now["failures"], now["failures_percent"]) == (failures, failures)
    assert now["failing_since"] == "2016-01-20T12:00:00+00:00"


def test_both_secrets_sign_while_one_takes_the_place_of_the_other(
    api: Api, endpoint: Any, receiver: Owner
) -> None:
    number = endpoint["endpoint"]

    rotated = api.post(f"endpoints/{number}/rotate", {"overlap_hours": 1}).json
    api.post(f"endpoints/{number}/test")

    assert rotated["apikey"] is None
    assert rotated["secret"] != endpoint["secret"]
    assert rotated["old_secret_until"] > rotated["created"]
    [received] = receiver.receives(1)
    for secret in (rotated["secret"], endpoint["secret"]):
        verify(received.headers, received.body, secret=secret, apikey=endpoint["apikey"])


def test_a_secret_that_has_leaked_ends_at_once(api: Api, endpoint: Any) -> None:
    path = f"endpoints/{endpoint['endpoint']}/rotate"
    rotated = api.post(path, {"overlap_hours": 0, "apikey": KEY, "secret": SECRET}).json
    assert (rotated["apikey"], rotated["secret"]) == (KEY, SECRET)
    assert rotated["old_secret_until"] is None


# ---- once more ----


def test_what_was_delivered_is_told_again_by_its_position(
    api: Api, key: str, endpoint: Any, receiver: Owner
) -> None:
    api.server.post({"apikey": key} | signal())
    [first] = receiver.receives(1)
    position = api.server.get("/readyz").json["position"]

    asked = api.post(f"endpoints/{endpoint['endpoint']}/redeliver", {"positions": [position]})

    assert asked.json == {"deliveries": 1}
    [_, again] = receiver.receives(2)
    assert again.body == first.body
    assert again.headers["webhook-id"] == first.headers["webhook-id"]


def test_a_position_that_is_not_its_owners_is_told(api: Api, owner: str, endpoint: Any) -> None:
    told = problem(
        api.post(f"endpoints/{endpoint['endpoint']}/redeliver", {"positions": [NOWHERE]}), 400
    )
    assert told.detail == f"positions: there is no signal {NOWHERE} for {owner!r}"


def dead(api: Api, number: int, count: int) -> list[str]:
    """Deliveries that were given up, at noon of 2016-01-20: their messages."""
    pause(api, number)
    made = [api.post(f"endpoints/{number}/test").json["message"] for _ in range(count)]
    with api.server.store() as store:
        for each in store.delivery_log.noted(number, limit=count):
            store.delivery_log.tell(replace(each, state="dead"), now=NOON)
    return sorted(made)


def test_what_was_given_up_is_told_again_or_forgotten(
    api: Api, endpoint: Any, receiver: Owner
) -> None:
    path = f"endpoints/{endpoint['endpoint']}"
    first, second, third = dead(api, endpoint["endpoint"], 3)
    assert shown(api, endpoint)["dead"] == 3
    listed = api.get(f"{path}/deliveries?limit=2").json
    rest = api.get(f"{path}/deliveries?limit=2&after={listed['next']}").json
    found = [each["message"] for each in listed["deliveries"] + rest["deliveries"]]
    assert (found, rest["next"]) == ([first, second, third], None)

    def told(verb: str, **body: Any) -> int:
        count: int = api.post(f"{path}/{verb}", body).json["deliveries"]
        return count

    assert told("redeliver", since="2016-01-20T12:00:01Z") == 0
    assert told("redeliver", messages=["msg_0_0"]) == 0
    assert told("redeliver", messages=[first]) == 1
    assert told("discard", messages=[first, second]) == 1
    assert told("redeliver", since="2016-01-20T12:00:00") == 1
    assert told("redeliver", all=True) == told("discard", all=True) == 0
    receiver.status = 204
    api.post(f"{path}/resume")
    received = receiver.receives(2)
    assert {each.headers["webhook-id"] for each in received} == {first, third}


# ---- secrets ----


def test_keys_secrets_and_passwords_are_shown_once_and_never_again(
    make_server: Callable[..., Server], receiver: Owner
) -> None:
    server = make_server(*FLAGS, "--log-level", "debug").start()
    api = Api(server)
    api.post("owners", {"owner": "Books", "unregistered": True})
    receiver.answer, receiver.status = b"", 500  # It repeats everything that it was sent.
    url = receiver.url.replace("//", "//zquser:zqword@") + "?zqtoken=open-sesame"
    made = create(api, owner="Books", url=url)
    rotated = api.post("endpoints/1/rotate", {}).json
    secrets = [made["apikey"], made["secret"], rotated["secret"], "zqword", "open-sesame"]
    message = api.post("endpoints/1/test").json["message"]
    [attempt] = attempts(api, f"message={message}")
    assert "…" in attempt["answer"]["body"]

    answers = [
        api.get("endpoints"),
        api.get("endpoints/1"),
        api.send("PATCH", "endpoints/1", {"newest_only": True}),
        api.post("endpoints/1/pause"),
        api.post("endpoints/1/resume"),
        api.get("endpoints/1/deliveries"),
        api.get("attempts"),
        api.post("endpoints", {"owner": "nobody", "url": url}),
        api.post("endpoints", {"owner": "Books", "url": url.replace("http:", "ftp:")}),
        api.post("endpoints", {"owner": "Books", "url": url, "secret": made["secret"] + "!"}),
    ]
    said = b"".join(each.body for each in answers).decode()
    server.terminate()
    said += server.stderr + server.stdout

    assert receiver.received
    encoded = receiver.received[0].headers["authorization"].split()[1]
    assert [each for each in [*secrets, encoded] if each in said] == []
    for file in server.folder.glob("cloudsignal.db*"):
        content = file.read_bytes()
        assert [each for each in [*secrets, encoded] if each.encode() in content] == []
