"""Secrets at rest: opened with the same secret and for the same endpoint only."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloudsignal.server.delivery.sealing import Sealer, SealError, WrongSecret
from cloudsignal.server.keys import Keyring

texts = st.text(st.characters(codec="utf-8"))
SEALED = Sealer("s", random=bytes).seal("zqword", of="endpoint 1")


@given(texts, texts, texts)
def test_what_is_sealed_is_opened_with_the_same_secret(secret: str, plain: str, of: str) -> None:
    sealed = Sealer(secret).seal(plain, of=of)
    assert sealed.isascii()
    assert sealed.startswith("v1.")
    assert Sealer(secret).open(sealed, of=of) == plain


def test_twice_the_same_looks_different() -> None:
    assert Sealer("s").seal("zqword", of="endpoint 1") != SEALED


def test_the_format_stays() -> None:
    sealed = Sealer("s", random=bytes).seal("word", of="endpoint 1")
    assert sealed == "v1.32ee3a15.AAAAAAAAAAAAAAAAecfkKcEZhpmvlk5CERqE5sxU0Z4="


def test_nothing_is_shown() -> None:
    sealer = Sealer("zqsecret")
    sealed = sealer.seal("zqword", of="endpoint 1")
    assert "zq" not in repr(sealer) + str(sealer) + sealed
    assert Keyring("zqsecret").digest("cloudsignal")[:8] not in sealed


def test_another_secret_is_told_apart() -> None:
    with pytest.raises(WrongSecret, match="CLOUDSIGNAL_SECRET_FILE"):
        Sealer("other").open(SEALED, of="endpoint 1")


def test_what_is_another_endpoints_is_not_opened() -> None:
    with pytest.raises(SealError, match="not that of endpoint 2"):
        Sealer("s").open(SEALED, of="endpoint 2")


@pytest.mark.parametrize("other", "A_.0 é")
def test_what_is_damaged_is_not_opened(other: str) -> None:
    damaged = {SEALED[:at] + other + SEALED[at + 1 :] for at in range(len(SEALED))}
    for sealed in damaged - {SEALED}:
        with pytest.raises(SealError) as caught:
            Sealer("s").open(sealed, of="endpoint 1")
        assert "zqword" not in str(caught.value)


@pytest.mark.parametrize("sealed", ["", "v1", "v1.", "v1..", "v2.00000000.AAAA", "zqword"])
def test_another_format_is_told(sealed: str) -> None:
    with pytest.raises(SealError) as caught:
        Sealer("s").open(sealed, of="endpoint 1")
    assert "zqword" not in str(caught.value)


@given(st.text())
def test_any_text_is_opened_or_refused(text: str) -> None:
    with pytest.raises(SealError):
        Sealer("s").open(text, of="endpoint 1")
