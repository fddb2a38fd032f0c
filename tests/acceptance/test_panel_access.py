"""The panel over HTTP: who may report and read, and that what is shown of a new key works."""

import html
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cloudsignal.server import clock
from tests.acceptance.conftest import (
    DEADLINE_S,
    Answer,
    MakeServer,
    Server,
    eventually,
    make_server,
    signal,
)
from tests.acceptance.test_panel import Visitor, ada, invite, link_of, paths_of, server

__all__ = ["ada", "make_server", "server"]

KEY = "0123456789abcdef" * 2
INTERPRETERS = {"curl": "curl", "Python": "python3", "PHP": "php", "Node": "node"}
INTERFACE = {"timezone": "UTC", "allow": "", "test": ""}


def text_of(answer: Answer) -> str:
    """What a page says, with what is escaped in it as it reads."""
    return html.unescape(answer.body.decode())


def key_in(answer: Answer) -> str:
    """The key that a page shows once."""
    assert answer.status == 200, answer
    found = re.search(r'<input id="key" value="([0-9a-f]{32})"', answer.body.decode())
    assert found, answer
    return found[1]


def programs_in(answer: Answer) -> dict[str, str]:
    """The programs that a page shows, by their languages."""
    found = re.findall(r'<textarea id="(\w+)"[^>]*>(.*?)</textarea>', answer.body.decode(), re.S)
    return {language: html.unescape(text) for language, text in found}


def run(server: Server, line: str) -> str:
    """Paste something into a terminal: what it prints."""
    path = f"{Path(sys.executable).parent}:{server.environment['PATH']}"
    done = subprocess.run(
        ["bash", "-e"],
        input=line,
        capture_output=True,
        text=True,
        cwd=server.folder,
        env=server.environment | {"PATH": path},
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def signals_after(server: Server, position: int) -> list[dict[str, object]]:
    found: list[dict[str, object]] = server.get(f"/api/v1/signals?after={position}").json["signals"]
    return found


def add_partner(visitor: Visitor, name: str) -> str:
    """The path of the page of a new print partner."""
    answer = visitor.post("/panel/partners", {"name": name})
    assert answer.status == 303, text_of(answer)
    return answer.headers["location"]


def refusal(server: Server, key: str) -> str:
    """How a post with a key is refused, if it is."""
    answer = server.post({"apikey": key} | signal())
    return "" if answer.status == 200 else str(answer.error["type"])


# ---- a key from its first signal to its end ----


def test_what_is_shown_of_a_new_key_sends_a_first_signal(ada: Visitor) -> None:
    server = ada.server
    # Each with an item of its own: the second print partner's is not the first one's.
    for name in ("Press", "Zebra"):
        page = add_partner(ada, name)
        answer = ada.post(f"{page}/interfaces", INTERFACE)
        programs = programs_in(answer)
        assert list(programs) == list(INTERPRETERS)
        for language, program in programs.items():
            if shutil.which(INTERPRETERS[language]) is None:
                continue
            before = server.get("/readyz").json["position"]
            printed = run(server, program)
            [sent] = signals_after(server, before)
            assert (sent["type"], sent["partner"]) == ("ItemRegistered", name), (language, printed)
            assert sent["order"] == f"first-signal-{sent['interface']}"
            assert "slow_report" not in server.item(str(sent["order"]), "1")["findings"]


def test_a_key_is_shown_once_and_kept_nowhere(ada: Visitor) -> None:
    server, page = ada.server, add_partner(ada, "Press")
    first = ada.post(f"{page}/interfaces", INTERFACE)
    owner = ada.post("/panel/owners", {"name": "Books"}).headers["location"]
    token = ada.post("/panel/tokens", {"name": "ops", "role": "reader"})
    rotated = ada.post("/panel/interfaces/1/rotate", {"hours": "1"})
    keys = [key_in(first), key_in(rotated), key_in(ada.post(f"{owner}/keys", {"hours": "1"}))]
    keys += re.findall(r"cst_[0-9a-f]{32}", token.body.decode())
    assert len(set(keys)) == 4
    assert all(answer.headers["cache-control"] == "no-store" for answer in (first, rotated, token))

    for path in (page, "/panel/interfaces", "/panel/interfaces/1", "/panel/partners", owner):
        assert not any(key in text_of(ada.get(path)) for key in keys), path
    for path in ("/panel/owners", "/panel/tokens", "/panel/changes"):
        assert not any(key in text_of(ada.get(path)) for key in keys), path
    for file in server.folder.iterdir():
        content = file.read_bytes()
        assert not any(key.encode() in content for key in keys), file


def test_a_key_is_rotated_with_an_overlap_and_an_interface_closed(ada: Visitor) -> None:
    server, page = ada.server, add_partner(ada, "Press")
    old = key_in(ada.post(f"{page}/interfaces", INTERFACE))
    answer = ada.post("/panel/interfaces/1/rotate", {"hours": "1.5"})
    new = key_in(answer)
    assert "The keys that were there before are valid until" in text_of(answer)
    assert (refusal(server, old), refusal(server, new)) == ("", "")
    [expires, none] = sorted(
        (key.expires for _, key in map(found(server), (old, new))), key=lambda each: each is None
    )
    assert none is None
    assert expires is not None
    assert abs(expires - clock.now() - 5400 * 1_000_000) < 120 * 1_000_000
    assert ada.get("/panel/interfaces/1").body.count(b"<td>valid</td>") == 2

    newest = key_in(ada.post("/panel/interfaces/1/rotate", {"hours": "0"}))
    eventually(lambda: {refusal(server, each) for each in (old, new)} == {"key_expired"})
    assert refusal(server, newest) == ""
    assert ada.get("/panel/interfaces/1").body.count(b"<td>expired</td>") == 2

    assert ada.post("/panel/interfaces/1/disable").status == 303
    eventually(lambda: refusal(server, newest) == "key_disabled")
    assert ada.post("/panel/interfaces/1/enable").status == 303
    eventually(lambda: refusal(server, newest) == "")
    assert ada.post("/panel/interfaces/1/revoke").status == 303
    eventually(lambda: refusal(server, newest) == "key_disabled")
    for verb, fields in (("rotate", {"hours": "1"}), ("enable", {}), ("disable", {})):
        answer = ada.post(f"/panel/interfaces/1/{verb}", fields)
        assert answer.status == 400
        assert "Interface 1 is revoked for good: create another one." in text_of(answer)
    assert ada.post("/panel/interfaces/1", INTERFACE).status == 400
    assert refusal(server, newest) == "key_disabled"


def found(server: Server):  # type: ignore[no-untyped-def]
    """How to look a key up in the store of a server."""

    def look_up(key: str):  # type: ignore[no-untyped-def]
        with server.access() as (access, keyring):
            return access.find_key(keyring.digest(key))

    return look_up


def test_what_is_changed_of_an_interface_counts_from_then_on(ada: Visitor) -> None:
    server, page = ada.server, add_partner(ada, "Press")
    taken_over = {"apikey": KEY, "timezone": "Europe/Berlin"}
    assert key_in(ada.post(f"{page}/interfaces", INTERFACE | taken_over)) == KEY

    def hour() -> str:
        sent = signal(datetime="2026-01-20 13:00:00")
        assert server.post({"apikey": KEY} | sent).status == 200
        return str(server.item(sent["order"], sent["item"])["times"]["registered"])[11:13]

    assert hour() == "12"
    changed = {
        "timezone": "America/New_York",
        "allow": "127.0.0.1,\n ::1 192.0.2.0/24",
        "test": "on",
    }
    assert ada.post("/panel/interfaces/1", changed).status == 303
    eventually(lambda: hour() == "18")
    shown = text_of(ada.get("/panel/interfaces/1"))
    for word in ("America/New_York", "127.0.0.1/32, ::1/128, 192.0.2.0/24", "<dd>yes</dd>"):
        assert word in shown
    assert server.get("/api/v1/signals?after=0").json["signals"][-1]["test"] is True

    assert ada.post("/panel/interfaces/1", changed | {"allow": "192.0.2.7"}).status == 303
    eventually(lambda: refusal(server, KEY) == "address_not_allowed")
    noted = text_of(ada.get("/panel/changes"))
    assert "interface changed" in noted
    assert "192.0.2.7/32" in noted


def test_a_server_that_wants_registered_orders_says_so_beside_the_programs(
    make_server: MakeServer,
) -> None:
    server = make_server("--unregistered-orders", "refuse").start()
    visitor = Visitor(server)
    assert visitor.accept(link_of(server), "Ada").status == 303
    answer = visitor.post(
        f"{add_partner(visitor, 'Press')}/interfaces", INTERFACE | {"allow": "192.0.2.7"}
    )
    assert "signals of registered orders only" in text_of(answer)
    assert "may be used from 192.0.2.7/32 only" in text_of(answer)


# ---- mistakes and limits ----


def test_what_cannot_be_is_said_and_changes_nothing(ada: Visitor) -> None:
    page = add_partner(ada, "Press")
    assert ada.post(f"{page}/interfaces", INTERFACE | {"apikey": KEY}).status == 200
    assert ada.post("/panel/owners", {"name": "Books"}).status == 303
    assert ada.post("/panel/tokens", {"name": "ops", "role": "reader"}).status == 200
    before = state_of(ada.server)
    long = "x" * 256
    name = "A name has 1 to 255 printable characters."
    for path, fields, sentence in (
        ("/panel/partners", {"name": " "}, name),
        ("/panel/partners", {"name": long}, name),
        ("/panel/partners", {"name": "a\u202eb"}, name),
        (
            "/panel/partners",
            {"name": " Press "},
            "A print partner called 'Press' is already there.",
        ),
        ("/panel/owners", {"name": ""}, name),
        ("/panel/owners", {"name": "Books"}, "An owner called 'Books' is already there."),
        ("/panel/owners/1/keys", {"hours": "-1"}, "Older keys can stay valid for 0 to 8760 hours."),
        ("/panel/tokens", {"name": "", "role": "reader"}, name),
        ("/panel/tokens", {"name": "ops", "role": "reader"}, "A token called 'ops' is already"),
        ("/panel/tokens", {"name": "x", "role": "king"}, "There is no role 'king' for a token"),
        (f"{page}/interfaces", {"timezone": "Berlin"}, "'Berlin' is no time zone: write UTC or"),
        (f"{page}/interfaces", {"timezone": ""}, "'' is no time zone"),
        (f"{page}/interfaces", {"timezone": "../../etc/passwd"}, "is no time zone"),
        (f"{page}/interfaces", {"allow": "press.example"}, "write 192.0.2.7 or 192.0.2.0/24."),
        (f"{page}/interfaces", {"allow": "192.0.2.7 " * 257}, "There are 257 addresses, 256 at"),
        (f"{page}/interfaces", {"apikey": KEY}, "This key is already in use"),
        (f"{page}/interfaces", {"apikey": "0"}, "A key is 32 lower-case hex characters"),
        ("/panel/interfaces/1", {"timezone": "Berlin"}, "'Berlin' is no time zone"),
        ("/panel/interfaces/1", {"allow": "192.0.2.300"}, "write 192.0.2.7 or 192.0.2.0/24."),
        ("/panel/interfaces/1/rotate", {"hours": "8761"}, "for 0 to 8760 hours."),
        ("/panel/interfaces/1/rotate", {"hours": "nan"}, "for 0 to 8760 hours."),
        ("/panel/interfaces/1/rotate", {}, "for 0 to 8760 hours."),
    ):
        given = INTERFACE | fields if path.endswith(("/interfaces", "/1")) else fields
        answer = ada.post(path, given)
        assert (answer.status, sentence in text_of(answer)) == (400, True), (path, fields)
        assert KEY not in text_of(answer)
        for value in fields.values():
            kept = path.endswith(("partners", "owners", "/interfaces/1")) or "allow" in fields
            assert not kept or html.escape(value.strip()) in answer.body.decode(), path
    assert state_of(ada.server) == before

    for path in ("/panel/partners/9", "/panel/interfaces/9", "/panel/owners/9"):
        assert ada.get(path).status == 404
    for path in ("/panel/partners/9/interfaces", "/panel/interfaces/9/revoke"):
        assert ada.post(path, INTERFACE).status == 404
    assert ada.post("/panel/owners/9/keys", {"hours": "1"}).status == 404
    assert ada.post("/panel/tokens/revoke", {"name": "nobody"}).status == 404
    assert ada.post("/panel/partners", {"name": "a\0b"}).status == 400
    assert ada.post(f"{page}/interfaces", INTERFACE | {"allow": "x" * 100_000}).status == 413
    huge = "9" * 30
    for path in ("partners", "interfaces", "owners", "users"):
        assert ada.get(f"/panel/{path}/{huge}").status == 400
    for path in (
        f"interfaces?before={huge}",
        f"partners/1?before={huge}",
        f"changes?before={huge}",
    ):
        assert ada.get(f"/panel/{path}").status == 400
    for path in ("partners", "owners", "tokens"):
        assert ada.get(f"/panel/{path}?after=%00").status == 400
    assert ada.server.lines("defect") == []
    assert "Traceback" not in ada.server.stderr


def state_of(server: Server) -> list[object]:
    """Everything that can be changed on these pages."""
    with server.store() as store:
        return [
            store.access.partners(),
            store.access.interfaces(),
            store.access.apikeys(),
            store.access.tokens(),
            store.orders.owners(),
            store.orders.owner_keys(),
        ]


def test_long_lists_have_pages(ada: Visitor) -> None:
    with ada.server.store() as store:
        for number in range(51):
            store.access.create_partner(f"Press & Co {number:03}", now=1)
            store.orders.create_owner(f"Books & Co {number:03}", now=1)
            store.access.create_token(f"T&T {number:03}", "reader", f"digest {number}", now=1)
            store.access.create_interface(
                store.access.partner("Press & Co 000"),
                f"key {number}",
                timezone="UTC",
                allow=(),
                test=False,
                now=1,
            )
    for path, first, last in (
        ("/panel/partners", "Press & Co 000", "Press & Co 050"),
        ("/panel/owners", "Books & Co 000", "Books & Co 050"),
        ("/panel/tokens", "T&T 000", "T&T 050"),
        ("/panel/interfaces", '/interfaces/51"', '/interfaces/1"'),
        ("/panel/partners/1", '/interfaces/51"', '/interfaces/1"'),
    ):
        page = ada.get(path)
        assert (first in text_of(page), last in text_of(page)) == (True, False), path
        found = re.search(r'href="([^"]*\?(?:after|before)=[^"]+)"', page.body.decode())
        assert found, path
        then = ada.get(path + "?" + html.unescape(found[1]).partition("?")[2])
        assert (first in text_of(then), last in text_of(then)) == (False, True), path
        assert not re.search(r'href="[^"]*\?(?:after|before)=', then.body.decode())
        rows = ada.get(f"{path}?as=csv").body.decode("utf-8-sig").splitlines()
        assert len(rows) == 1 + 51, path


# ---- who sees what ----

READ = ("/panel/partners", "/panel/partners/1", "/panel/interfaces", "/panel/interfaces/1")
OWNERS = ("/panel/owners", "/panel/owners/1", "/panel/tokens")


def furnish(ada: Visitor) -> None:
    """Two print partners with an interface each, an owner with a key, and a token."""
    for name in ("Press", "Zebra"):
        assert ada.post(f"{add_partner(ada, name)}/interfaces", INTERFACE).status == 200
    assert ada.post("/panel/owners", {"name": "Books", "unregistered": "on"}).status == 303
    assert ada.post("/panel/owners/1/keys", {"hours": "1"}).status == 200
    assert ada.post("/panel/tokens", {"name": "ops", "role": "admin"}).status == 200


def test_everybody_sees_what_is_theirs_and_changes_what_they_may(ada: Visitor) -> None:
    server = ada.server
    furnish(ada)
    people = {"ada": ada}
    for role, whose in (
        ("operator", ()),
        ("reader", ()),
        ("partner", ("--of", "Zebra")),
        ("owner", ("--of", "Books")),
    ):
        people[role] = Visitor(server)
        link = invite(server, role, "--role", role, *whose)
        assert people[role].accept(link).status == 303
    before = state_of(server)

    for path in (*READ, *OWNERS):
        for role in ("ada", "operator", "reader"):
            answer = people[role].get(path)
            assert answer.status == 200, (role, path)
            # That to sign out is on every page; the search posts nothing.
            forms = answer.body.count(b'method="post"')
            assert (forms == 1) is (role == "reader" or path == "/panel/interfaces"), (role, path)
    for role, status in (("ada", 200), ("operator", 200), ("reader", 403), ("partner", 403)):
        assert people[role].get("/panel/settings").status == status, role

    zebra = people["partner"]
    for path in ("/panel/partners", "/panel/interfaces"):
        shown = text_of(zebra.get(path))
        assert ("Zebra" in shown, "Press" in shown) == (True, False), path
    for path in ("/panel/partners/2", "/panel/interfaces/2"):
        answer = zebra.get(path)
        assert (answer.status, answer.body.count(b'method="post"')) == (200, 1), path
    for path in ("/panel/partners/1", "/panel/interfaces/1"):
        answer = zebra.get(path)
        assert (answer.status, b"Press" in answer.body) == (404, False), path
        # As if there were none.
        assert text_of(answer).replace("/1", "/9") == text_of(zebra.get(path[:-1] + "9"))
    menu = text_of(zebra.get("/panel/"))
    assert ("Print partners" in menu, "Tokens" in menu, "Settings" in menu) == (True, False, False)

    for path in OWNERS:
        assert {people[role].get(path).status for role in ("partner", "owner")} == {403}, path
    for path in READ:
        assert people["owner"].get(path).status == 403, path

    for role in ("reader", "partner", "owner"):
        # What is for owners as well is tried where it is made.
        routes = set(paths_of("operator")) - set(paths_of(role))
        assert len(routes) >= 12
        for method, path in routes:
            visitor = people[role]
            fields = INTERFACE | {"name": "x", "hours": "1", "role": "reader"}
            answer = visitor.get(path) if method == "GET" else visitor.post(path, fields)
            assert answer.status == 403, (role, path)
    assert state_of(server) == before


def test_nobody_gives_a_token_more_than_they_may(ada: Visitor) -> None:
    olga = Visitor(ada.server)
    assert olga.accept(invite(ada.server, "Olga", "--role", "operator")).status == 303
    answer = olga.post("/panel/tokens", {"name": "mine", "role": "admin"})
    assert answer.status == 400
    assert "A token of the role admin may do more than you" in text_of(answer)
    assert "<option>admin</option>" not in answer.body.decode()
    made = olga.post("/panel/tokens", {"name": "mine", "role": "operator"})
    [token] = re.findall(r"cst_[0-9a-f]{32}", made.body.decode())
    assert ada.server.get("/api/v1/interfaces", token).status == 200
    assert olga.post("/panel/tokens/revoke", {"name": "mine"}).status == 303
    assert ada.server.get("/api/v1/interfaces", token).status == 401
    assert "token revoked" in text_of(ada.get("/panel/changes"))


def test_an_owners_new_key_reads_its_orders(ada: Visitor) -> None:
    page = ada.post("/panel/owners", {"name": "Books & Co"}).headers["location"]
    shown = ada.get(page).body.decode()
    for link in ("/panel/orders?owner=Books%20%26%20Co", "/panel/endpoints?owner=Books%20%26%20Co"):
        assert f'href="{link}"' in shown
    old, new = (key_in(ada.post(f"{page}/keys", {"hours": "0"})) for _ in range(2))

    def read(key: str) -> int:
        return ada.server.post({"apikey": key}, path="/cloudcore/1.0/orders").status

    assert (read(new), read(old)) == (204, 403)
    assert ada.post("/panel/owners", {"name": "All", "unregistered": "on"}).status == 303
    assert [each["unregistered"] for each in ada.server.cli_json("owner", "list")] == [True, False]


@pytest.mark.parametrize("by", ["variable", "file"])
def test_the_settings_in_force_are_shown_and_no_secret(make_server: MakeServer, by: str) -> None:
    server = make_server("--queue-max", "2345", environment={"CLOUDSIGNAL_GROUP_MAX": "321"})
    if by == "variable":
        server.environment["CLOUDSIGNAL_SECRET"] = "hush hush"
    else:
        (server.folder / "hush.txt").write_text("hush hush")
        server.environment["CLOUDSIGNAL_SECRET_FILE"] = "hush.txt"
    visitor = Visitor(server.start())
    assert visitor.accept(link_of(server), "Ada").status == 303

    shown = text_of(visitor.get("/panel/settings"))

    assert "hush hush" not in shown
    rows = dict(re.findall(r"<code>(\w+)</code></th>(.*?)</tr>", shown, re.S))
    words = {name: re.findall(r">([^<>]+)<", row) for name, row in rows.items()}
    assert words["queue_max"][:2] == ["2345", "--queue-max"]
    assert words["group_max"][:2] == ["321", "CLOUDSIGNAL_GROUP_MAX"]
    variable = "CLOUDSIGNAL_SECRET" + ("" if by == "variable" else "_FILE")
    assert words["secret"][:2] == ["set", variable]
    assert words["bundle_max"] == ["1000", "default", "How many signals a bundle may hold."]
