"""Signed webhooks, as the Standard Webhooks specification has them: a digest over id, time and body.

A secret is written ``whsec_`` and then base64.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Final

ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"
TOLERANCE_S: Final = 300
"""How far the sender's clock may be from the receiver's."""
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64

_PREFIX: Final = "whsec_"
_VERSION: Final = "v1"


def written(secret: bytes) -> str:
    """A secret as people get it to see."""
    return _PREFIX + b64encode(secret).decode()


def read(secret: str) -> bytes:
    """The secret that was written so, with its prefix or without. Raises ValueError with a sentence."""
    try:
        found = b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (Error, ValueError):
        raise ValueError("a signing secret is whsec_ and then base64") from None
    if not SECRET_BYTES_MIN <= len(found) <= SECRET_BYTES_MAX:
        raise ValueError(
            f"a signing secret has {SECRET_BYTES_MIN} to {SECRET_BYTES_MAX} bytes, this one {len(found)}"
        )
    return found


def headers(secrets: Iterable[bytes], *, id: str, now_s: int, body: bytes) -> dict[str, str]:
    """The headers that go with a body, signed with each of the secrets: while one is replaced, with both."""
    return {
        ID: id,
        TIMESTAMP: str(now_s),
        SIGNATURE: " ".join(_signature(each, id, now_s, body) for each in secrets),
    }


def verify(secrets: Iterable[bytes], given: Mapping[str, str], *, now_s: float, body: bytes) -> str:
    """The id of a webhook that one of the secrets has signed. Raises ValueError with a sentence.

    ``given`` are the request's headers, whatever the case of their names.
    """
    found = {name.lower(): value for name, value in given.items()}
    missing = [name for name in (ID, TIMESTAMP, SIGNATURE) if not found.get(name)]
    if missing:
        raise ValueError(f"it is not signed: there is no {missing[0]} header")
    id, at_s = found[ID], _seconds(found[TIMESTAMP])
    if abs(now_s - at_s) > TOLERANCE_S:
        raise ValueError(
            f"it was signed {abs(now_s - at_s):.0f} s {'ago' if at_s < now_s else 'in the future'}:"
            " it is repeated by somebody, or a clock is wrong"
        )
    given_ones = [each.encode() for each in found[SIGNATURE].split()]
    for secret in secrets:
        wanted = _signature(secret, id, at_s, body).encode()
        # Every one is compared, and in constant time: how long it takes tells nothing.
        if sum([hmac.compare_digest(wanted, each) for each in given_ones]):
            return id
    raise ValueError("the signature is not that of the secret: it is another endpoint's, or forged")


def _signature(secret: bytes, id: str, at_s: int, body: bytes) -> str:
    digest = hmac.digest(secret, f"{id}.{at_s}.".encode() + body, sha256)
    return f"{_VERSION},{b64encode(digest).decode()}"


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 12:
        raise ValueError(f"{TIMESTAMP} is no number of seconds")
    return int(text)
