"""Codes of the second factor, by the examples of RFC 6238."""

import base64

import pytest

from cloudsignal.server.panel import codes

SECRET = base64.b32encode(b"12345678901234567890").decode()
SECOND = 1_000_000
# Of the RFC's codes, which have eight digits, the last six.
EXAMPLES = [(1111111109, "081804"), (1234567890, "005924"), (20000000000, "353130")]


@pytest.mark.parametrize(("at_s", "code"), EXAMPLES)
def test_a_code_is_good_in_its_step_and_those_beside_it(at_s: int, code: str) -> None:
    step = at_s // 30
    for near in (at_s - 30, at_s, at_s + 30):
        assert codes.step_of(SECRET, code, now=near * SECOND) == step
    for far in (0, at_s + 60):
        assert codes.step_of(SECRET, code, now=far * SECOND) is None


def test_a_code_may_have_spaces_and_nothing_else() -> None:
    assert codes.step_of(SECRET, " 287 082 ", now=59 * SECOND) == 1
    for wrong in ("", "28708", "2870822", "28708x"):
        assert codes.step_of(SECRET, wrong, now=59 * SECOND) is None


def test_secrets_differ_and_can_be_scanned() -> None:
    first, second = codes.new_secret(), codes.new_secret()
    assert first != second
    assert codes.is_secret(first)
    assert not any(map(codes.is_secret, ("", first[:-1], first + "A", first + "\n", first.lower())))
    assert len(base64.b32decode(first)) >= 20
    assert codes.picture(first, "Ada & <Co>").startswith("<svg")
    assert "<Co>" not in codes.picture(first, "Ada & <Co>")
