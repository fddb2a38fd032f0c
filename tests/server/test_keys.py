"""Keys, their digests, and the secret beside the store."""

import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cloudsignal.server import keys
from cloudsignal.server.keys import APIKEY, Keyring, new_apikey, new_token, secret_of
from cloudsignal.server.settings import Settings, SettingsError
from cloudsignal.server.store.errors import StoreUnusable
from cloudsignal.server.store.store import Store, open_store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(database=f"sqlite:///{tmp_path}/store.db")


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with closing(open_store(settings.database)) as store:
        yield store


def test_keys_and_tokens_are_random_and_look_as_documented() -> None:
    made = {new_apikey() for _ in range(100)}
    tokens = {new_token() for _ in range(100)}

    assert len(made) == len(tokens) == 100
    assert all(APIKEY.fullmatch(key) for key in made)
    assert all(re.fullmatch(r"cst_[0-9a-f]{32}", token) for token in tokens)


def test_a_digest_depends_on_key_and_secret_and_tells_neither() -> None:
    key = new_apikey()
    one, other = Keyring("one"), Keyring("other")

    assert one.digest(key) == Keyring("one").digest(key)
    assert one.digest(key) != other.digest(key)
    assert one.digest(key) != one.digest(new_apikey())
    assert key not in one.digest(key)
    assert key not in repr(one)


@pytest.mark.parametrize("key", ["", "x", "ü" * 1000, "\x00"])
def test_any_text_has_a_digest_of_the_same_length(key: str) -> None:
    assert len(Keyring("secret").digest(key)) == 40


# ---- the secret ----


def test_a_secret_is_made_beside_the_store_for_its_owner_alone(
    settings: Settings, tmp_path: Path
) -> None:
    made = secret_of(settings)

    path = tmp_path / "store.db.secret"
    assert re.fullmatch(r"[0-9a-f]{64}", made)
    assert path.read_text() == made + "\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_of(settings) == made
    assert list(tmp_path.iterdir()) == [path]


def test_a_secret_in_the_settings_counts_and_makes_no_file(tmp_path: Path) -> None:
    settings = Settings(database=f"sqlite:///{tmp_path}/store.db", secret="hush")

    assert secret_of(settings) == "hush"
    assert list(tmp_path.iterdir()) == []


def test_processes_that_start_together_make_one_secret(settings: Settings, tmp_path: Path) -> None:
    program = (
        "import sys; from cloudsignal.server.keys import secret_of;"
        "from cloudsignal.server.settings import Settings;"
        "print(flush=True); sys.stdin.readline();"
        "print(secret_of(Settings(database=sys.argv[1])))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, settings.database],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # It is ready; now all at once.

    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    made = {process.communicate(timeout=60)[0] for process in processes}

    assert made == {(tmp_path / "store.db.secret").read_text()}
    assert [each.name for each in tmp_path.iterdir()] == ["store.db.secret"]


def test_a_secret_that_another_made_in_between_counts(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = keys._make_secret

    def late(path: Path) -> None:
        path.write_text("the other's\n")
        real(path)

    monkeypatch.setattr(keys, "_make_secret", late)

    assert secret_of(settings) == "the other's"
    assert [each.name for each in tmp_path.iterdir()] == ["store.db.secret"]


def test_a_start_that_failed_midway_does_not_stop_the_next(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(keys.os, "fsync", full)
        with pytest.raises(SettingsError, match=r"store\.db\.secret cannot be used: No space left"):
            secret_of(settings)
    assert list(tmp_path.iterdir()) == []

    assert secret_of(settings)


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\xfd"])
def test_a_secret_that_is_none_is_refused(
    settings: Settings, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "store.db.secret"
    path.write_bytes(content)

    with pytest.raises(SettingsError, match=r"the secret in .*store\.db\.secret"):
        secret_of(settings)
    assert path.read_bytes() == content


def test_a_secret_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be used: No such file"):
        secret_of(Settings(database=f"sqlite:///{tmp_path}/none/store.db"))


# ---- the secret of a store ----


def test_the_first_secret_is_the_stores_and_another_is_refused(store: Store) -> None:
    Keyring("first").check(store)
    Keyring("first").check(store)

    with pytest.raises(StoreUnusable, match=r"bring back the file .*CLOUDSIGNAL_SECRET_FILE"):
        Keyring("second").check(store)

    Keyring("first").check(store)
