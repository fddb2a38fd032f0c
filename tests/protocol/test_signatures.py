"""Signed webhooks: what the specification's own library signs and verifies, we do too."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from cloudsignal.protocol import signatures

NOW_S = 1_614_265_330
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
KEY = signatures.read(SECRET)
BODY = b'{"test": 2432232314}'


def headers(*secrets: bytes, body: bytes = BODY, now_s: int = NOW_S) -> dict[str, str]:
    return signatures.headers(secrets or [KEY], id="msg_1", now_s=now_s, body=body)


@given(
    secret=st.binary(min_size=24, max_size=64),
    id=st.from_regex(r"[0-9A-Za-z_-]{1,40}", fullmatch=True),
    now_s=st.integers(0, 4_000_000_000),
    body=st.text().map(str.encode),
)
def test_the_specifications_library_signs_alike(
    secret: bytes, id: str, now_s: int, body: bytes
) -> None:
    peer = Webhook(signatures.written(secret))
    theirs = peer.sign(id, datetime.fromtimestamp(now_s, UTC), body.decode())
    ours = signatures.headers([secret], id=id, now_s=now_s, body=body)
    assert ours[signatures.SIGNATURE] == theirs
    assert signatures.verify([secret], ours, now_s=now_s, body=body) == id


def test_while_a_secret_is_replaced_either_is_enough() -> None:
    old, new = b"o" * 24, b"n" * 32
    both = headers(old, new)
    assert signatures.verify([old], both, now_s=NOW_S, body=BODY) == "msg_1"
    assert signatures.verify([b"x" * 24, new], both, now_s=NOW_S, body=BODY) == "msg_1"


def test_names_of_headers_are_read_in_any_case() -> None:
    given = {name.title(): value for name, value in headers().items()}
    assert signatures.verify([KEY], given, now_s=NOW_S, body=BODY) == "msg_1"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({signatures.ID: "msg_2"}, "not that of the secret"),
        ({signatures.TIMESTAMP: str(NOW_S + 1)}, "not that of the secret"),
        ({signatures.SIGNATURE: "v1,AAAA"}, "not that of the secret"),
        ({signatures.SIGNATURE: "v2" + headers()[signatures.SIGNATURE][2:]}, "not that"),
        ({signatures.SIGNATURE: "vé,x"}, "not that of the secret"),
        ({signatures.SIGNATURE: ""}, "no webhook-signature header"),
        ({signatures.ID: ""}, "no webhook-id header"),
        ({signatures.TIMESTAMP: "soon"}, "no number of seconds"),
        ({signatures.TIMESTAMP: "9" * 5000}, "no number of seconds"),
        ({signatures.TIMESTAMP: str(NOW_S - 301)}, "signed 301 s ago"),
        ({signatures.TIMESTAMP: str(NOW_S + 301)}, "301 s in the future"),
    ],
)
def test_what_was_not_signed_so_is_not_believed(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        signatures.verify([KEY], headers() | changes, now_s=NOW_S, body=BODY)


def test_another_body_is_not_believed() -> None:
    with pytest.raises(ValueError, match="forged"):
        signatures.verify([KEY], headers(), now_s=NOW_S, body=BODY + b" ")


@pytest.mark.parametrize("text", ["whsec_", "whsec_AAAA", "whsec_é", "not base64!", "A" * 100])
def test_a_secret_that_cannot_be_one_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="a signing secret"):
        signatures.read(text)
