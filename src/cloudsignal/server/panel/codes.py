"""The second factor: codes that an app makes of a secret and the time (RFC 6238)."""

import re
from typing import Final

import pyotp
import segno

from cloudsignal.protocol.units import SECOND_US

STEP_S: Final = 30
DRIFT_STEPS: Final = 1
"""How many steps a phone's clock may be wrong."""
ISSUER: Final = "cloudsignal"
_SECRET: Final = re.compile("[A-Z2-7]{32}")


def new_secret() -> str:
    """A new secret, in the letters that apps take."""
    return pyotp.random_base32()


def is_secret(text: str) -> bool:
    """Whether a text is a secret as they are made here."""
    return _SECRET.fullmatch(text) is not None


def step_of(secret: str, code: str, *, now: int) -> int | None:
    """The time step that a code was made for, None if it is none of about now, in microseconds."""
    given = "".join(code.split())
    totp = pyotp.TOTP(secret, interval=STEP_S)
    current = now // SECOND_US // STEP_S
    for step in range(max(0, current - DRIFT_STEPS), current + DRIFT_STEPS + 1):
        if pyotp.utils.strings_equal(totp.generate_otp(step), given):
            return step
    return None


def picture(secret: str, name: str) -> str:
    """The secret as apps scan it: a QR code in SVG, for somebody of that name."""
    uri = pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(name=name, issuer_name=ISSUER)
    return segno.make(uri, micro=False).svg_inline(scale=4, border=2, title="QR code")
