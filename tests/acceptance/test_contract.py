"""The endpoint and who may use it, row by row of the wire contract (sections 1 and 2)."""

import contextlib
import http.client
import itertools
import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.server import clock
from cloudsignal.server.keys import new_apikey
from tests.acceptance.conftest import (
    ENDPOINT,
    JSON,
    Answer,
    MakeServer,
    Server,
    ask,
    eventually,
    fresh,
    read_answer,
    signal,
)

FLAGS = ("--failed-keys-max", "100000", "--refused-lines-per-minute", "100000")
BODY_BYTES_MAX = 1 << 20
NESTING_MAX = 32
MEMORY_KIB_MAX = 32 * 1024
"""By how much the server's memory may grow while it refuses what is too large."""
SENT_BYTES = 64 << 20
"""How much of an endless body a test sends."""
NOTICED_S = 5.0
"""Within how many seconds a revoked key must stop working."""
UNKNOWN_KEY = "0" * 32


def head(length: int | None, *more: str, path: str = ENDPOINT, version: str = "1.1") -> bytes:
    """The head of a post, with a content type unless one is given."""
    lines = [f"POST {path} HTTP/{version}", "Host: localhost", *more]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if not any(line.lower().startswith("content-type") for line in more):
        lines.append("Content-Type: application/json")
    return "\r\n".join([*lines, "", ""]).encode()


def body_of(key: str, **fields: Any) -> bytes:
    """The body of a valid post."""
    return json.dumps({"apikey": key} | signal(**fields)).encode()


def sized(key: str, size: int) -> bytes:
    """The body of a valid post of so many bytes."""
    body = {"apikey": key} | signal() | {"note": ""}
    return json.dumps(body | {"note": "x" * (size - len(json.dumps(body)))}).encode()


def chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


def count(server: Server) -> int:
    """How many signals are in the log."""
    with server.store() as store:
        return store.reading.last_position()


def refused(answer: Answer, type: str, status: int) -> dict[str, Any]:
    """The error of an answer, which must be this one."""
    assert (answer.status, answer.error["type"]) == (status, type), answer
    return answer.error


# ---- 1. the endpoint: what is accepted -----------------------------------------------------------


@pytest.mark.parametrize("end", ["/", ""])
@pytest.mark.parametrize("base", ["", "/"])
def test_every_spelling_of_the_url_answers_without_a_redirect(
    server: Server, key: str, base: str, end: str
) -> None:
    answer = server.post({"apikey": key} | signal(), path=f"{base}/cloudsignal/2.0/status{end}")
    assert answer.status == 200
    assert "location" not in answer.headers


def test_a_200_tells_accepted_duplicates_and_position(server: Server, key: str) -> None:
    answer = server.post({"apikey": key} | signal())
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {"accepted": 1, "duplicates": 0, "position": count(server)}


@pytest.mark.parametrize(
    ("more", "version", "tail"),
    [
        pytest.param([], "1.0", b"", id="HTTP/1.0"),
        pytest.param([], "1.1", b"", id="HTTP/1.1, no User-Agent"),
        pytest.param(["User-Agent: curl/8.0"], "1.1", b"", id="with a User-Agent"),
        pytest.param(["Connection: close"], "1.1", b"", id="Connection: close"),
        pytest.param(["Accept: text/plain"], "1.1", b"", id="any Accept"),
        pytest.param([], "1.1", b"\n", id="body ends in a newline"),
        pytest.param([], "1.1", b"\r\n\r\n", id="body ends in several newlines"),
        pytest.param(
            ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA"],
            "1.1",
            b"",
            id="HTTP/2 is offered, as Java does",
        ),
    ],
)
def test_every_usual_form_of_a_post_is_accepted(
    server: Server, key: str, more: list[str], version: str, tail: bytes
) -> None:
    body = body_of(key) + tail
    answer = server.post_raw(head(len(body), *more, version=version) + body)
    assert answer.status == 200, answer


def test_what_looks_like_an_offer_of_http_2_in_a_body_leaves_its_length_as_it_is(
    server: Server, key: str
) -> None:
    # Were the body to grow, its end would be read as another request: somebody else's, by a proxy.
    another = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    body = b"Upgrade: h2c\r\n" * 5 + another
    with contextlib.closing(server.connect()) as connection:
        connection.sendall(head(len(body)) + body)
        refused(read_answer(connection), "invalid_json", 400)
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(connection, "GET").json["status"] == "ready"


def test_a_query_after_the_path_is_ignored(server: Server, key: str) -> None:
    assert server.post({"apikey": key} | signal(), path=ENDPOINT + "?from=mis").status == 200


def test_a_connection_is_kept_for_the_next_post(server: Server, key: str) -> None:
    with contextlib.closing(server.http()) as client:
        client.auto_open = False
        client.connect()
        for _ in range(3):
            assert ask(client, "POST", ENDPOINT, body_of(key), JSON).status == 200


def test_a_refused_post_leaves_its_connection_usable(server: Server, key: str) -> None:
    with contextlib.closing(server.http()) as client:
        client.auto_open = False
        client.connect()
        for body, headers, status in [
            (b"{", JSON, 400),
            (body_of(key), {}, 400),
            (body_of(UNKNOWN_KEY), JSON, 401),
            (body_of(key), JSON, 200),
        ]:
            assert ask(client, "POST", ENDPOINT, body, headers).status == status


def test_posts_sent_without_waiting_are_answered_in_order(server: Server, key: str) -> None:
    bodies = [body_of(key), b"{", body_of(key)]
    closing = [[], [], ["Connection: close"]]
    with server.connect() as connection:
        connection.sendall(
            b"".join(
                head(len(body), *more) + body for body, more in zip(bodies, closing, strict=True)
            )
        )
        answers = b"".join(iter(lambda: connection.recv(65536), b""))
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answers)
    assert statuses == [b"200", b"400", b"200"]


def test_a_body_is_asked_for_when_the_client_expects_100_continue(server: Server, key: str) -> None:
    body = body_of(key)
    with server.connect() as connection:
        connection.sendall(head(len(body), "Expect: 100-continue"))
        interim = b""
        while not interim.endswith(b"\r\n\r\n"):
            interim += connection.recv(1)
        assert interim.startswith(b"HTTP/1.1 100 ")
        connection.sendall(body)
        assert read_answer(connection).status == 200


@pytest.mark.parametrize("size", [1, 7, 4096])
def test_chunked_bodies_are_accepted(server: Server, key: str, size: int) -> None:
    body = body_of(key)
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    data = head(None, "Transfer-Encoding: chunked") + b"".join(map(chunk, [*parts, b""]))
    assert server.post_raw(data).status == 200


def test_a_post_may_come_in_pieces(server: Server, key: str) -> None:
    body = body_of(key)
    data = head(len(body)) + body
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), 25):
            connection.sendall(data[at : at + 25])
        assert read_answer(connection).status == 200


@pytest.mark.parametrize(
    "value",
    [
        "application/json",
        "Application/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=UTF-8",
        "application/json ; charset=utf-8; profile=x",
    ],
)
def test_content_type_json_is_accepted_in_any_spelling(
    server: Server, key: str, value: str
) -> None:
    answer = server.post({"apikey": key} | signal(), headers={"Content-Type": value})
    assert answer.status == 200, answer


def test_names_of_headers_are_read_in_any_letter_case(server: Server, key: str) -> None:
    answer = server.post({"apikey": key} | signal(), headers={"CONTENT-type": "application/json"})
    assert answer.status == 200


def test_a_body_as_large_as_allowed_is_accepted(server: Server, key: str) -> None:
    body = sized(key, BODY_BYTES_MAX)
    assert len(body) == BODY_BYTES_MAX
    assert server.post(body).status == 200


def test_a_byte_order_mark_is_skipped(server: Server, key: str) -> None:
    assert server.post(b"\xef\xbb\xbf" + body_of(key)).status == 200


def test_of_a_repeated_name_the_last_counts(server: Server, key: str) -> None:
    told = signal()
    body = json.dumps({"apikey": UNKNOWN_KEY, "type": "ItemPacked"})[:-1]
    body += "," + json.dumps({"apikey": key} | told)[1:]
    assert server.post(body.encode()).status == 200
    assert server.item(told["order"], told["item"])["state"] == "registered"


def nested(key: str, depth: int) -> bytes:
    """A valid post nested so deep."""
    inner = "[" * (depth - 1) + "]" * (depth - 1)
    return (body_of(key)[:-1].decode() + f', "note": {inner}}}').encode()


def test_nesting_is_accepted_up_to_its_limit(server: Server, key: str) -> None:
    assert server.post(nested(key, NESTING_MAX)).status == 200


# ---- 1. the endpoint: what is refused ------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/cloudsignal/2.0/status/", "/cloudsignal/2.0/status"])
def test_other_methods_get_405_with_allow(server: Server, method: str, path: str) -> None:
    answer = server.request(method, path)
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert answer.headers["content-type"] == "application/json"
    if method != "HEAD":
        assert answer.error["type"] == "method_not_allowed"


@pytest.mark.parametrize(
    "path",
    [
        "/cloudsignal/1.1/status/",
        "/cloudsignal/1.1/status",
        "/1.1/status/",
        "/1.1/status",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_version_1_1_gets_410_and_says_what_changed(
    server: Server, key: str, path: str, method: str
) -> None:
    body = json.dumps({"apikey": key} | signal("OrderRegistered")).encode()
    answer = server.request(method, path, body if method == "POST" else None, JSON)
    info = refused(answer, "version_removed", 410)["info"]
    for told in ("OrderRegistered", "ItemRegistered", ENDPOINT, "ItemShipped", "shipping_option"):
        assert told in info


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application/problem+json",
    ],
)
def test_content_types_other_than_json_are_refused(
    server: Server, key: str, value: str | None
) -> None:
    headers = {} if value is None else {"Content-Type": value}
    answer = server.post({"apikey": key} | signal(), headers=headers)
    refused(answer, "invalid_content_type", 400)


@pytest.mark.parametrize("excess", [1, 1 << 20, 24 << 20])
def test_a_body_that_says_it_is_too_large_gets_413(server: Server, key: str, excess: int) -> None:
    # However much of it there is, the client gets to read the answer.
    refused(server.post(sized(key, BODY_BYTES_MAX + excess)), "body_too_large", 413)


def test_a_body_that_says_it_is_too_large_gets_413_before_it_is_sent(server: Server) -> None:
    for more in ([], ["Expect: 100-continue"]):
        refused(server.post_raw(head(1 << 40, *more)), "body_too_large", 413)


def test_a_chunked_body_that_turns_out_too_large_gets_413_and_is_not_kept(server: Server) -> None:
    before = memory_kib(server)
    part = chunk(b"[" * 65536)
    with server.connect() as connection:
        connection.sendall(head(None, "Transfer-Encoding: chunked"))
        for _ in range(SENT_BYTES // 65536):
            connection.sendall(part)
        connection.sendall(chunk(b""))
        refused(read_answer(connection), "body_too_large", 413)
    assert memory_kib(server) - before < MEMORY_KIB_MAX


def memory_kib(server: Server) -> int:
    """The most memory that the server has used."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b" \r\n", id="only white space"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b'{"apikey": "x"', id="cut off after a member"),
        pytest.param(b"{'apikey': 'x'}", id="single quotes"),
        pytest.param(b'{"apikey": "x",}', id="comma at the end"),
        pytest.param(b'{"apikey": "x"} // note', id="comment"),
        pytest.param(b'{"apikey": "x"}{"apikey": "x"}', id="two objects"),
        pytest.param(b'{"apikey": "x", "note": NaN}', id="NaN"),
        pytest.param(b'{"apikey": "x", "note": Infinity}', id="Infinity"),
        pytest.param(b'{"apikey": "x", "note": -Infinity}', id="-Infinity"),
        pytest.param(b'{"apikey": "x", "note": "\xe4"}', id="Latin-1"),
        pytest.param(b'{"apikey": "x", "note": "\xed\xa0\x80"}', id="UTF-8 of half a surrogate"),
        pytest.param(b'{"apikey": "x", "note": "\xc0\xaf"}', id="overlong UTF-8"),
        pytest.param('{"apikey": "x"}'.encode("utf-16"), id="UTF-16"),
        pytest.param(b'{"apikey": "x", "note": "\x00"}', id="control character in a string"),
        pytest.param(b"apikey=x&type=ItemRegistered", id="a form"),
        pytest.param(b"\xff\xfe\x00", id="bytes"),
        pytest.param(b"\xef\xbb\xbf", id="only a byte-order mark"),
        pytest.param(b"[" * 33 + b"]" * 33, id="array nested too deep"),
        pytest.param(b"[" * 500_000, id="endless brackets"),
        pytest.param(b'{"a":' * 150_000, id="endless braces"),
    ],
)
def test_what_is_no_json_is_refused(server: Server, body: bytes) -> None:
    refused(server.post(body), "invalid_json", 400)


@pytest.mark.parametrize(
    "apikey",
    [rb'"\ud800"', rb'"\udc00\ud800"', rb'"\u00zz"', rb'"\x41"', b'"\x01"', rb'"\u0000"'],
)
def test_an_odd_string_as_apikey_is_refused_and_is_no_defect(server: Server, apikey: bytes) -> None:
    answer = server.post(b'{"apikey": ' + apikey + b', "type": "ItemRegistered"}')
    assert answer.status in (400, 401)
    assert answer.error["type"] in ("invalid_json", "missing_parameter", "unknown_key")


@pytest.mark.parametrize("text", [rb'"\ud800"', rb'"\udc00\ud800"', rb'"\u00zz"', rb'"\x41"'])
@pytest.mark.parametrize("field", ["type", "order", "datetime", "note"])
def test_an_odd_string_as_field_is_refused_or_kept_and_is_no_defect(
    server: Server, key: str, field: str, text: bytes
) -> None:
    body = {"apikey": key} | signal() | {field: "HERE"}
    answer = server.post(json.dumps(body).encode().replace(b'"HERE"', text))
    if field == "note" and answer.status == 200:
        return
    assert answer.status == 400, answer
    assert answer.error["type"] in (
        "invalid_json",
        "invalid_parameter",
        "invalid_datetime",
        "unknown_type",
    )


def test_nesting_beyond_its_limit_is_refused(server: Server, key: str) -> None:
    refused(server.post(nested(key, NESTING_MAX + 1)), "invalid_json", 400)


@pytest.mark.parametrize(
    "body", [b"[]", b'[{"apikey": "x"}]', b'"x"', b"1", b"1.5", b"null", b"true"]
)
def test_json_that_is_no_object_is_refused(server: Server, body: bytes) -> None:
    refused(server.post(body), "not_an_object", 400)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"hello\r\n\r\n", id="no HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40), id="TLS"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", id="HTTP/2"),
        pytest.param(head(2).replace(b"Host:", b"Ho st:") + b"{}", id="blank in a name"),
        pytest.param(head(None, "Content-Length: abc"), id="length that is no number"),
        pytest.param(head(None, "Content-Length: -1"), id="negative length"),
        pytest.param(head(2, "Content-Length: 3") + b"{}", id="two lengths"),
        pytest.param(
            head(2, "Transfer-Encoding: chunked") + b"0\r\n\r\n", id="length and chunks together"
        ),
        pytest.param(head(None, "Transfer-Encoding: chunked") + b"zz\r\n", id="bad chunk size"),
    ],
)
def test_invalid_http_gets_400_in_json(server: Server, data: bytes) -> None:
    answer = server.post_raw(data)
    refused(answer, "invalid_http", 400)


@pytest.mark.parametrize(
    "path",
    [
        b"/cloudsignal/",
        b"/cloudsignal/2.0/",
        b"/\xff\xfe",
        b"/%ff%00",
        b"/api/v1/\xff",
        b"//",
    ],
)
def test_no_path_is_answered_with_a_defect_or_anything_but_json(
    server: Server, path: bytes
) -> None:
    answer = server.post_raw(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", method="GET")
    assert answer.status in (400, 401, 404), answer
    assert answer.headers["content-type"] in ("application/json", "application/problem+json")
    assert answer.json


def test_a_refused_post_says_where_what_and_how_to_mend_it(server: Server, key: str) -> None:
    answer = server.post({"apikey": key} | signal("ItemShipped", shipping_option=...))
    assert answer.error["type"] == "missing_parameter"
    assert answer.error["info"].startswith("ItemShipped needs shipping_option: ")
    assert [each["at"] for each in answer.error["details"]] == ["shipping_option"]


def test_all_problems_of_a_post_are_listed_and_the_first_is_repeated(
    server: Server, key: str
) -> None:
    body = signal("ItemShipped", order=5, datetime="yesterday", tracking="")
    error = server.post({"apikey": key} | body).error
    assert {(each["at"], each["type"]) for each in error["details"]} == {
        ("order", "invalid_parameter"),
        ("datetime", "invalid_datetime"),
        ("tracking", "missing_parameter"),
    }
    assert (error["type"], error["info"]) == (
        error["details"][0]["type"],
        error["details"][0]["info"],
    )


def test_in_a_bundle_every_problem_names_its_place(server: Server, key: str) -> None:
    items = [signal(), signal(), signal(), signal(datetime="2016-02-30"), signal("ItemPakced")]
    error = server.post({"apikey": key, "items": items}).error
    assert [each["at"] for each in error["details"]] == ["items[3].datetime", "items[4].type"]
    assert error["info"].startswith("items[3]: ")
    assert error["details"][1]["info"].startswith("items[4]: ")


def test_at_most_100_problems_are_listed(server: Server, key: str) -> None:
    items = [signal(datetime="never", order=1) for _ in range(200)]
    assert len(server.post({"apikey": key, "items": items}).error["details"]) == 100


def test_a_refused_bundle_stores_nothing(server: Server, key: str) -> None:
    before = count(server)
    items = [signal(), signal(datetime="never")]
    assert server.post({"apikey": key, "items": items}).status == 400
    assert count(server) == before
    assert server.item(items[0]["order"], items[0]["item"]) is None


# ---- 2. who is asking ----------------------------------------------------------------------------


@pytest.mark.parametrize("apikey", [..., None, 5, 1.5, True, [], {}, ["0" * 32]])
def test_an_apikey_that_is_missing_or_no_string_is_a_missing_parameter(
    server: Server, apikey: Any
) -> None:
    body = signal() if apikey is ... else signal() | {"apikey": apikey}
    error = refused(server.post(body), "missing_parameter", 400)
    assert error["details"][0]["at"] == "apikey"


@pytest.mark.parametrize("apikey", [UNKNOWN_KEY, "", " ", "ß" * 32, "x" * 10_000, "null"])
def test_a_key_that_is_not_known_gets_401(server: Server, apikey: str) -> None:
    refused(server.post(signal() | {"apikey": apikey}), "unknown_key", 401)


@pytest.mark.parametrize("change", [str.upper, lambda key: key + " ", lambda key: key[:-1]])
def test_a_key_is_taken_to_the_letter(server: Server, key: str, change: Any) -> None:
    refused(server.post(signal() | {"apikey": change(key)}), "unknown_key", 401)


@pytest.mark.parametrize(
    "body",
    [
        {"type": "Nothing"},
        {"items": []},
        {"items": [], "type": "ItemRegistered"},
        {"items": [5]},
        {},
        {"type": "ItemRegistered", "datetime": "never"},
    ],
)
def test_a_stranger_learns_nothing_about_the_signals(server: Server, body: Any) -> None:
    error = refused(server.post(body | {"apikey": UNKNOWN_KEY}), "unknown_key", 401)
    assert len(error["details"]) == 1


def test_a_token_of_the_api_is_the_wrong_kind_of_key(server: Server) -> None:
    answer = server.post({"apikey": server.token()} | signal())
    refused(answer, "wrong_kind_of_key", 403)


def test_an_address_that_is_not_allowed_gets_403(server: Server) -> None:
    key = server.interface(allow=("192.0.2.0/24", "2001:db8::/32"))
    refused(server.post({"apikey": key} | signal()), "address_not_allowed", 403)


def test_an_address_within_an_allowed_network_is_let_in(server: Server) -> None:
    key = server.interface(allow=("192.0.2.0/24", "127.0.0.0/8"))
    assert server.post({"apikey": key} | signal()).status == 200


def test_an_item_belongs_to_the_print_partner_who_reported_it_first(server: Server) -> None:
    first, second = server.interface("First"), server.interface("Second")
    told = signal()
    assert server.post({"apikey": first} | told).status == 200
    before = count(server)
    refused(server.post({"apikey": second} | told), "not_your_item", 403)
    bundle = [signal(), told | {"type": "ItemPacked"}]
    error = refused(server.post({"apikey": second, "items": bundle}), "not_your_item", 403)
    assert error["details"][0]["at"] == "items[1]"
    assert error["info"].startswith("items[1]: ")
    assert count(server) == before, "the whole post is refused"
    assert server.item(told["order"], told["item"])["partner"] == "First"


def test_another_interface_of_the_same_partner_may_report_its_items(server: Server) -> None:
    told = signal()
    for kind in ("ItemRegistered", "ItemPacked"):
        key = server.interface("Two interfaces")
        assert server.post({"apikey": key} | told | {"type": kind}).status == 200
    assert server.item(told["order"], told["item"])["state"] == "packed"


def test_a_key_made_by_the_command_works_at_once_and_is_shown_once(server: Server) -> None:
    name = fresh("By command")
    server.cli("partner", "create", name)
    made = server.cli_json("interface", "create", "--partner", name)
    assert server.post({"apikey": made["apikey"]} | signal()).status == 200
    assert made["apikey"] not in server.cli("interface", "list", "--json").stdout
    assert set(made["apikey"]) <= set("0123456789abcdef")
    assert len(made["apikey"]) == 32


def test_a_partner_who_has_a_key_configured_keeps_it(server: Server) -> None:
    name, key = fresh("Keeps its key"), new_apikey()
    server.cli("partner", "create", name)
    server.cli("interface", "create", "--partner", name, "--apikey", key)
    assert server.post({"apikey": key} | signal()).status == 200


def after_change(server: Server, key: str, status: int) -> Answer:
    """The answer to posts with this key, once it has this status: within the time allowed."""
    answers: list[Answer] = []

    def is_noticed() -> bool:
        answers.append(server.post({"apikey": key} | signal()))
        return answers[-1].status == status

    eventually(is_noticed, f"still {answers[-1:]}", NOTICED_S)
    return answers[-1]


@pytest.mark.parametrize("verb", ["disable", "revoke"])
def test_a_closed_interface_is_refused_within_five_seconds(server: Server, verb: str) -> None:
    key, number = server.numbered_interface()
    assert server.post({"apikey": key} | signal()).status == 200
    server.cli("interface", verb, str(number))
    refused(after_change(server, key, 403), "key_disabled", 403)


def test_a_disabled_interface_can_be_opened_again_and_a_revoked_one_cannot(server: Server) -> None:
    key, number = server.numbered_interface()
    server.cli("interface", "disable", str(number))
    after_change(server, key, 403)
    server.cli("interface", "enable", str(number))
    after_change(server, key, 200)


def rotate(server: Server, number: int, overlap_us: int) -> str:
    """Give an interface a new key."""
    key = new_apikey()
    with server.access() as (access, keyring):
        now = clock.now()
        access.rotate_key(number, keyring.digest(key), expires=now + overlap_us, now=now)
    return key


def test_after_a_rotation_without_overlap_the_old_key_has_expired(server: Server) -> None:
    old, number = server.numbered_interface()
    made = server.cli_json("interface", "rotate", str(number), "--overlap-hours", "0")
    assert server.post({"apikey": made["apikey"]} | signal()).status == 200
    refused(after_change(server, old, 403), "key_expired", 403)
    assert server.post({"apikey": made["apikey"]} | signal()).status == 200


def test_while_a_key_is_rotated_out_both_work_until_it_expires(server: Server) -> None:
    old, number = server.numbered_interface()
    new = rotate(server, number, 3_000_000)
    for key in (new, old, new, old):
        assert server.post({"apikey": key} | signal()).status == 200
    refused(after_change(server, old, 403), "key_expired", 403)
    assert server.post({"apikey": new} | signal()).status == 200


# ---- 1 to 4. the order of the checks --------------------------------------------------------------


def test_of_several_mistakes_the_one_checked_first_is_told(server: Server) -> None:
    """Method, content type, size, JSON, key missing, key unknown, key closed, signals, owner."""
    stranger = json.dumps({"apikey": UNKNOWN_KEY, "type": "Nothing"}).encode()
    closed = server.interface(allow=("192.0.2.0/24",))
    owner, other = server.interface("Owner"), server.interface("Other")
    told = signal()
    assert server.post({"apikey": owner} | told).status == 200
    too_large = b"x" * (BODY_BYTES_MAX + 1)
    for method, headers, body, type in [
        ("PUT", {}, too_large, "method_not_allowed"),
        ("POST", {}, too_large, "invalid_content_type"),
        ("POST", JSON, too_large, "body_too_large"),
        ("POST", JSON, stranger[:-1], "invalid_json"),
        ("POST", JSON, b"[" + stranger + b"]", "not_an_object"),
        ("POST", JSON, b'{"type": "Nothing"}', "missing_parameter"),
        ("POST", JSON, stranger, "unknown_key"),
        ("POST", JSON, stranger.replace(b"0" * 32, closed.encode()), "address_not_allowed"),
        ("POST", JSON, stranger.replace(b"0" * 32, other.encode()), "unknown_type"),
        ("POST", JSON, json.dumps({"apikey": other} | told).encode(), "not_your_item"),
    ]:
        answer = server.request(method, ENDPOINT, body, headers)
        assert answer.error["type"] == type


# ---- 2. too many failed keys ---------------------------------------------------------------------


def test_repeated_unknown_keys_get_429_while_a_good_key_keeps_flowing(
    make_server: MakeServer,
) -> None:
    server = make_server("--failed-keys-max", "3", "--failed-keys-window-s", "4").start()
    key = server.interface()
    assert server.post({"apikey": key} | signal()).status == 200
    for _ in range(3):
        refused(server.post({"apikey": UNKNOWN_KEY} | signal()), "unknown_key", 401)
    answer = server.post({"apikey": UNKNOWN_KEY} | signal())
    refused(answer, "too_many_requests", 429)
    assert 1 <= int(answer.headers["retry-after"]) <= 4
    assert server.post({"apikey": key} | signal()).status == 200

    def is_over() -> bool:
        return server.post({"apikey": UNKNOWN_KEY} | signal()).status == 401

    eventually(is_over, "an address stays shut out")


# ---- 2. keys are kept nowhere --------------------------------------------------------------------


def test_a_key_is_found_nowhere_but_in_the_post(make_server: MakeServer) -> None:
    server = make_server().start()
    key, stranger = server.interface(), new_apikey()
    answers = [
        server.post({"apikey": key} | signal()),
        server.post({"apikey": key, "items": [signal() | {"apikey": key}]}),
        server.post(
            {"apikey": key} | signal() | {"note": {"apikey": key, "more": [{"apikey": key}]}}
        ),
        server.post({"apikey": key} | signal(), headers={"Content-Type": key}),
        server.post({"apikey": key} | signal(key)),
        server.post({"apikey": key} | signal(datetime=key)),
        server.post({"apikey": key} | signal("ItemDelay", delay=key)),
        server.post({"apikey": key, "items": [key]}),
        server.post({"apikey": key, "items": key}),
        server.post({"apikey": stranger} | signal()),
        server.post(f'{{"apikey": "{key}"'.encode()),
        server.post({"apikey": key} | signal(), path=f"{ENDPOINT}?apikey={key}"),
        server.request("GET", f"{ENDPOINT}?apikey={key}"),
    ]
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in "apikey")
    body = json.dumps({"apikey": key} | signal())[:-1]
    answers.append(server.post(f'{body}, "note": {{"{escaped}": "{key}"}}}}'.encode()))
    assert {answer.status for answer in answers} == {200, 400, 401, 405}
    assert server.terminate() == 0
    for secret in (key, stranger):
        shown = [answer.body for answer in answers if secret.encode() in answer.body]
        assert shown == []
        for file in server.folder.iterdir():
            assert secret.encode() not in file.read_bytes(), f"{file.name} holds a key"


# ---- 1. answers ----------------------------------------------------------------------------------


def test_answers_never_redirect_and_always_say_their_length(server: Server, key: str) -> None:
    for answer in (server.post({"apikey": key} | signal()), server.post(b"{")):
        assert int(answer.headers["content-length"]) == len(answer.body)
        assert answer.status in (200, 400)


def test_many_at_once_are_each_answered_their_own(server: Server, key: str) -> None:
    bodies = [
        json.dumps({"apikey": key, "items": [signal() for _ in range(size)]}).encode()
        for size in range(1, 30)
    ]
    clients = [server.http() for _ in bodies]
    try:
        for client, body in zip(clients, bodies, strict=True):
            client.request("POST", ENDPOINT, body, JSON)
        for client, size in zip(clients, itertools.count(1)):
            response: http.client.HTTPResponse = client.getresponse()
            assert json.loads(response.read())["accepted"] == size
    finally:
        for client in clients:
            client.close()
