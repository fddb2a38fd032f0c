"""What is secret of an endpoint is not in what it answers."""

import pytest
from msgspec.structs import replace

from cloudsignal.protocol import signatures
from cloudsignal.server.delivery.recipient import APIKEY, SECRET, URL, Opened, opened, sealed_as
from cloudsignal.server.delivery.sealing import Sealer
from cloudsignal.server.store.endpoints import Endpoint, Sealed

SEALER = Sealer("secret of the server")
ENDPOINT = Endpoint(
    id=1,
    owner=1,
    owner_name="Books",
    sealed=Sealed("", "", ""),
    shown="https://owner.example/",
    format="cloudsignal-2.0",
    types=(),
    test=False,
    newest_only=False,
    state="active",
    why="",
    failures=0,
    failing_since=None,
    created=1,
    position=0,
)


def secrets(
    *, url: str = "https://owner.example/", apikey: str = "0123456789abcdef0123456789abcdef"
) -> Opened:
    def seal(plain: str, what: str) -> str:
        return SEALER.seal(plain, of=sealed_as(1, what))

    secret = signatures.written(b"s" * 32)
    sealed = Sealed(seal(url, URL), seal(apikey, APIKEY), seal(secret, SECRET))
    return opened(replace(ENDPOINT, sealed=sealed), SEALER)


@pytest.mark.parametrize(
    ("told", "hidden"),
    [
        ("apikey=0123456789abcdef0123456789abcdef!", "apikey=…!"),
        ('{"auth": "Basic bWU6cGFzcyB3b3Jk"}', '{"auth": "Basic …"}'),
        ("pass word, pass%20word", "…, …"),
        ('"/in?token=open-sesame&n=1": {"token": "open-sesame", "n": "1"}', None),
        ("nothing of it, for me", "nothing of it, for me"),
    ],
)
def test_an_answer_that_repeats_what_it_was_sent_is_kept_without_secrets(
    told: str, hidden: str | None
) -> None:
    hide = secrets(url="https://me:pass%20word@owner.example/in?token=open-sesame&n=1").hide
    found = hide(told.encode(), is_cut=False).decode()
    assert found == (hidden or '"/in?…": {"token": "…", "n": "1"}')


def test_a_key_is_hidden_as_json_writes_it_too() -> None:
    hide = secrets(apikey='quo"te\\d').hide
    told = rb'{"apikey":"quo\"te\\d"} quo"te\d'
    assert hide(told, is_cut=False).decode() == '{"apikey":"…"} …'


def test_the_beginning_of_a_key_at_the_end_of_what_is_kept_is_hidden() -> None:
    hide = secrets().hide
    assert hide(b"apikey=0123456789abcdef012", is_cut=True).decode() == "apikey=…"
    assert hide(b"apikey=0123456789abcdef012", is_cut=False) == b"apikey=0123456789abcdef012"
