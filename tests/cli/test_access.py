"""cloudsignal partner, interface and token."""

import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloudsignal.protocol import wire
from cloudsignal.protocol.units import HOUR_US
from cloudsignal.server import clock
from cloudsignal.server.keys import APIKEY, Keyring
from cloudsignal.server.store.posts import Count, Gathered
from cloudsignal.server.store.store import Store
from tests.cli.conftest import Ran, Run

KEY = "0123456789abcdef0123456789abcdef"


def moment(text: str) -> datetime:
    """An instant for programs, which says its offset."""
    when = datetime.fromisoformat(text)
    assert when.utcoffset() == timedelta(0), text
    return when


def is_recent(text: str) -> bool:
    return abs(datetime.now(UTC) - moment(text)) < timedelta(minutes=5)


def made(run: Run, *words: str, partner: str = "Press") -> Any:
    run("partner", "create", partner)
    return run("interface", "create", "--partner", partner, *words, "--json").json


def digest(url: str, key: str) -> str:
    secret = Path(url.removeprefix("sqlite:///") + ".secret").read_text().strip()
    return Keyring(secret).digest(key)


# ---- partner ----


def test_a_partner_is_created_and_listed_for_programs(run: Run) -> None:
    created = run("partner", "create", "Print & Söhne", "--json").json

    assert created.keys() == {"partner", "created"}
    assert created["partner"] == "Print & Söhne"
    assert is_recent(created["created"])
    assert run("partner", "list", "--json").json == [created]


def test_a_new_partner_is_told_what_comes_next_ready_to_be_pasted(run: Run) -> None:
    told = run("partner", "create", "Mum's Press").out

    words = shlex.split(told.splitlines()[-1])
    assert words[:3] == ["cloudsignal", "interface", "create"]
    assert run(*words[1:]).code == 0


def test_partners_are_listed_for_people_by_name(run: Run) -> None:
    for name in ("Zebra", "Aachen"):
        run("partner", "create", name)

    lines = run("partner", "list").out.splitlines()

    assert [line.split()[0] for line in lines[2:]] == ["Aachen", "Zebra"]


# ---- interface create ----


def test_a_new_interface_is_described_with_its_key_for_programs(run: Run) -> None:
    created = made(
        run, "--timezone", "Europe/Berlin", "--allow", "192.0.2.7", "--allow", "2001:db8::1/32"
    )

    assert APIKEY.fullmatch(created.pop("apikey"))
    assert is_recent(created.pop("created"))
    assert created == {
        "interface": 1,
        "partner": "Press",
        "state": "active",
        "test": False,
        "timezone": "Europe/Berlin",
        "allow": ["192.0.2.7/32", "2001:db8::/32"],
    }


def test_a_new_interface_shows_its_key_the_endpoint_and_a_curl_line_to_people(
    run: Run, store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOUDSIGNAL_HOST", "0.0.0.0")
    monkeypatch.setenv("CLOUDSIGNAL_PORT", "8123")
    run("partner", "create", "Press")

    told = run("interface", "create", "--partner", "Press", "--test").out

    key = re.search(r"^  ([0-9a-f]{32})$", told, re.MULTILINE)
    assert key is not None
    found = store.access.find_key(digest(url, key[1]))
    assert found is not None
    assert found[0].test
    assert "Interface 1 of Press, a test interface" in told
    assert "\n  /cloudsignal/2.0/status/\n" in told
    curl = shlex.split(told.splitlines()[-1])
    assert curl[:3] == ["curl", "-i", "http://127.0.0.1:8123/cloudsignal/2.0/status/"]
    assert curl[3:5] == ["-H", "Content-Type: application/json"]
    post = wire.decode(curl[6].encode())
    assert post.apikey == key[1]
    [validated] = wire.validate(post, zone=UTC)
    assert validated.signal.order == "first-signal-1"


def test_a_key_of_ones_own_is_taken(run: Run, store: Store, url: str) -> None:
    created = made(run, "--apikey", KEY)

    assert created["apikey"] == KEY
    assert store.access.find_key(digest(url, KEY)) is not None


def test_a_key_is_shown_once_and_kept_nowhere(run: Run, tmp_path: Path) -> None:
    key = made(run)["apikey"]

    for words in (
        ["interface", "list"],
        ["interface", "disable", "1"],
        ["interface", "rotate", "1"],
    ):
        for json in ([], ["--json"]):
            assert key not in run(*words, *json).out
    for file in tmp_path.iterdir():
        assert key.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--partner", "Nobody"], "there is no print partner called 'Nobody'"),
        (["--apikey", "short"], "a key is 32 lower-case hex characters"),
        (["--apikey", KEY.upper()], "a key is 32 lower-case hex characters"),
        (["--timezone", "Berlin"], "'Berlin' is no time zone: write UTC or one like"),
        (["--timezone", ""], "'' is no time zone"),
        (["--timezone", "../../etc/passwd"], "is no time zone"),
        (["--allow", "192.0.2.300"], "'192.0.2.300' does not appear to be"),
        (["--allow", "press.example"], "write 192.0.2.7 or 192.0.2.0/24"),
    ],
)
def test_an_interface_that_cannot_be_is_refused_in_a_sentence(
    run: Run, words: list[str], sentence: str
) -> None:
    run("partner", "create", "Press")
    asked = words if "--partner" in words else ["--partner", "Press", *words]

    assert sentence in run("interface", "create", *asked).sentence
    assert run("interface", "list", "--json").json == []


def test_a_key_is_never_shared(run: Run) -> None:
    made(run, "--apikey", KEY)

    again = run("interface", "create", "--partner", "Press", "--apikey", KEY)

    assert "already in use" in again.sentence
    assert KEY not in again.err
    assert len(run("interface", "list", "--json").json) == 1


# ---- interface list, rotate, disable, enable, revoke ----


def test_interfaces_are_listed_for_programs(run: Run) -> None:
    made(run, "--test")
    made(run, partner="Beta")
    run("interface", "rotate", "2")

    one, other = run("interface", "list", "--json").json

    assert (one["interface"], one["test"], one["keys"]) == (1, True, 1)
    assert (other["partner"], other["test"], other["keys"]) == ("Beta", False, 2)
    assert is_recent(one["created"])
    assert "apikey" not in one


def test_it_is_listed_when_interfaces_were_used_and_how_much(run: Run, store: Store) -> None:
    made(run)
    made(run, partner="Beta")
    now = clock.now()
    hour = now - now % HOUR_US
    came = {
        (hour, 1, "accepted"): Count(12_345, now),
        (hour - HOUR_US, 1, "invalid_delay"): Count(67, hour - 1),
        (hour - 25 * HOUR_US, 1, "accepted"): Count(890, 1),
    }
    store.posts.add(Gathered(came))

    one, other = run("interface", "list", "--json").json

    assert is_recent(one["last_used"])
    assert (one["posts_last_day"], one["refused_last_day"]) == (12_412, 67)
    assert (other["last_used"], other["posts_last_day"], other["refused_last_day"]) == (None, 0, 0)
    listed = run("interface", "list").out.splitlines()
    assert listed[-2].split()[-3:] == [one["last_used"][:10], "12412", "67"]
    assert listed[-1].split()[-1] == "UTC"


@pytest.mark.parametrize("columns", [80, 120])
def test_a_long_list_of_interfaces_stays_readable(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    allow = [word for net in range(5) for word in ("--allow", f"192.0.{net}.0/24")]
    made(run, "--timezone", "America/Argentina/ComodRivadavia", *allow, partner="A long name" * 5)
    monkeypatch.setenv("COLUMNS", str(columns))

    listed = run("interface", "list").out

    assert max(len(line) for line in listed.splitlines()) <= columns
    words = listed.split()
    assert "active" in words
    assert "test" not in words  # A column in which nothing stands is left out.
    for net in range(5):
        assert f"192.0.{net}.0/24" in words


def test_rotation_makes_a_key_and_lets_the_old_one_live_for_the_overlap(
    run: Run, store: Store, url: str
) -> None:
    old = made(run)["apikey"]

    rotated = run("interface", "rotate", "1", "--overlap-hours", "1.5", "--json").json

    assert rotated["interface"] == 1
    assert rotated["apikey"] != old
    left = moment(rotated["old_key_expires"]) - datetime.now(UTC)
    assert timedelta(minutes=85) < left <= timedelta(minutes=90)
    keys = {key.digest: key.expires for key in store.access.apikeys()}
    assert keys[digest(url, rotated["apikey"])] is None
    assert keys[digest(url, old)] is not None


def test_rotation_tells_people_the_key_and_how_long_the_old_one_works(run: Run) -> None:
    made(run)

    told = run("interface", "rotate", "1", "--apikey", KEY, "--overlap-hours", "0").out

    assert f"\n  {KEY}\n" in told
    assert re.search(r"The old key works until \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.\n$", told)
    [listed] = run("interface", "list", "--json").json
    assert listed["keys"] == 1


@pytest.mark.parametrize(
    ("verbs", "state"),
    [
        (["disable"], "disabled"),
        (["disable", "disable"], "disabled"),
        (["disable", "enable"], "active"),
        (["enable"], "active"),
        (["revoke"], "revoked"),
        (["disable", "revoke"], "revoked"),
        (["revoke", "revoke"], "revoked"),
    ],
)
def test_an_interface_is_closed_and_opened(run: Run, verbs: list[str], state: str) -> None:
    made(run)

    for verb in verbs[:-1]:
        run("interface", verb, "1")

    assert run("interface", verbs[-1], "1", "--json").json["state"] == state
    assert run("interface", verbs[-1], "1").out == f"Interface 1 of Press is {state}.\n"
    [listed] = run("interface", "list", "--json").json
    assert listed["state"] == state


def test_what_is_given_of_an_interface_is_changed_and_nothing_else(run: Run) -> None:
    created = made(run, "--allow", "192.0.2.7", "--test")
    created.pop("apikey")

    changed = run("interface", "change", "1", "--timezone", "Europe/Berlin", "--json").json
    assert changed == created | {"timezone": "Europe/Berlin"}
    told = run("interface", "change", "1", "--allow-anyone", "--no-test").out

    assert told.startswith("Interface 1 of Press, active:\n")
    assert re.search(r"allowed  from everywhere\n +test  no\n", told)
    [listed] = run("interface", "list", "--json").json
    came = {"last_used": None, "posts_last_day": 0, "refused_last_day": 0}
    assert listed == changed | {"allow": [], "test": False, "keys": 1} | came
    assert run("interface", "change", "1", "--json").json == changed | {"allow": [], "test": False}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--timezone", "Berlin"], "'Berlin' is no time zone: write UTC or one like"),
        (["--allow", "press.example"], "write 192.0.2.7 or 192.0.2.0/24"),
        (["--allow", "192.0.2.7", "--allow-anyone"], "--allow and --allow-anyone contradict"),
        (["--allow", "192.0.2.7"] * 257, "there are 257 addresses, 256 at most"),
    ],
)
def test_a_change_that_cannot_be_is_refused_in_a_sentence(
    run: Run, words: list[str], sentence: str
) -> None:
    made(run)
    before = run("interface", "list", "--json").json
    assert sentence in run("interface", "change", "1", *words).sentence
    assert run("interface", "list", "--json").json == before


@pytest.mark.parametrize("hours", ["8760.1", "nan", "inf", "-1"])
def test_a_key_stays_beside_the_new_one_for_a_year_at_most(run: Run, hours: str) -> None:
    made(run)
    ran = run("interface", "rotate", "1", "--overlap-hours", hours)
    assert (ran.code, ran.out) == (2, "")
    said = re.sub(r"[\s│]+", " ", ran.err)
    assert "older keys can stay valid for 0 to 8760 hours" in said
    [listed] = run("interface", "list", "--json").json
    assert listed["keys"] == 1


@pytest.mark.parametrize("verb", ["enable", "disable", "rotate", "change"])
def test_a_revoked_interface_stays_so(run: Run, verb: str) -> None:
    made(run)
    run("interface", "revoke", "1")

    assert run("interface", verb, "1").sentence == (
        "interface 1 is revoked for good: create another one"
    )
    [listed] = run("interface", "list", "--json").json
    assert (listed["state"], listed["keys"]) == ("revoked", 1)


@pytest.mark.parametrize("verb", ["rotate", "change", "disable", "enable", "revoke"])
def test_an_interface_that_is_not_there_is_told(run: Run, verb: str) -> None:
    assert run("interface", verb, "9" * 18).sentence == f"there is no interface {'9' * 18}"


# ---- token ----


def test_a_token_is_made_shown_once_and_listed(run: Run, store: Store, url: str) -> None:
    created = run("token", "create", "ops", "--role", "operator", "--json").json

    token = created.pop("token")
    assert created == {"name": "ops", "role": "operator"}
    assert re.fullmatch(r"cst_[0-9a-f]{32}", token)
    found = store.access.find_token(digest(url, token))
    assert found is not None
    assert (found.name, found.role) == ("ops", "operator")
    [listed] = run("token", "list", "--json").json
    assert is_recent(listed.pop("created"))
    assert listed == {"name": "ops", "role": "operator", "revoked": None}
    assert token not in run("token", "list").out


def test_a_token_is_shown_to_people_with_how_to_send_it(run: Run) -> None:
    told = run("token", "create", "app").out

    assert "Token app (reader), shown this once:" in told
    assert re.search(r"^  cst_[0-9a-f]{32}$", told, re.MULTILINE)
    assert "Authorization: Bearer TOKEN" in told


def test_a_token_is_revoked(run: Run) -> None:
    run("token", "create", "ops")

    ended = run("token", "revoke", "ops", "--json").json

    assert (ended["name"], ended["role"]) == ("ops", "reader")
    assert is_recent(ended["revoked"])
    assert run("token", "list", "--json").json == [ended]
    assert run("token", "revoke", "ops").out == "Token ops is revoked.\n"
    assert run("token", "revoke", "app").sentence == "there is no token called 'app'"


# ---- names, and lists of nothing ----


@pytest.mark.parametrize("words", [["partner", "create"], ["token", "create"]])
@pytest.mark.parametrize("name", ["", "  ", "x" * 256, "a\nb", "\x1b[31mred", "\u202eevil"])
def test_a_name_has_1_to_255_printable_characters(run: Run, words: list[str], name: str) -> None:
    assert run(*words, name).sentence == "a name has 1 to 255 printable characters"


@pytest.mark.parametrize("words", [["partner", "create"], ["token", "create"]])
def test_a_name_is_there_once(run: Run, words: list[str]) -> None:
    assert run(*words, "x" * 255).code == 0
    assert "already there" in run(*words, "x" * 255).sentence


@pytest.mark.parametrize(
    ("group", "told"),
    [
        ("partner", "Print partners: none"),
        ("interface", "Interfaces: none"),
        ("token", "Tokens: none"),
    ],
)
def test_a_list_of_nothing_says_so(run: Run, group: str, told: str) -> None:
    assert run(group, "list") == Ran(0, f"{told}\n", "")
    assert run(group, "list", "--json").json == []
