"""Where keys are given out. What it refuses is tested by the commands and pages that ask it."""

from contextlib import closing
from pathlib import Path

from cloudsignal.protocol.units import HOUR_US
from cloudsignal.server.key_desk import KeyDesk, is_valid
from cloudsignal.server.keys import APIKEY, Keyring
from cloudsignal.server.store.store import open_store

NOW = 1_767_225_600_000_000
KEY = "0123456789abcdef" * 2


def test_a_key_is_given_and_replaced_and_in_nothing_that_is_printed(tmp_path: Path) -> None:
    keyring = Keyring("secret")
    with closing(open_store(f"sqlite:///{tmp_path}/store.db")) as store:
        desk = KeyDesk(store, keyring, now=NOW)
        desk.create_partner("Press")
        first = desk.create_interface("Press", apikey=KEY)
        second = desk.rotate_key(first.to.id, "1.5")

        assert (first.key, first.overlap_ends) == (KEY, None)
        assert APIKEY.fullmatch(second.key)
        assert second.overlap_ends == NOW + HOUR_US * 3 // 2
        newest, older = store.access.newest_keys(1, limit=9)[::-1]
        assert {newest.digest, older.digest} == {keyring.digest(KEY), keyring.digest(second.key)}
        ends = {each.digest: each for each in (newest, older)}[keyring.digest(KEY)]
        assert is_valid(ends, now=second.overlap_ends - 1)
        assert not is_valid(ends, now=second.overlap_ends)
        token = desk.create_token("ops", "reader")
        shown = repr((first, second, token, desk))
        assert not any(key in shown for key in (KEY, second.key, token.key))
