"""What an answer to a post means (contract, section 1). Pure: it reads no clock and no socket."""

from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct

from cloudsignal.partner.errors import (
    InvalidSignals,
    KeyRefused,
    NoAnswer,
    NotNow,
    SendError,
    StrangeAnswer,
    WrongAddress,
)
from cloudsignal.partner.receipts import Receipt
from cloudsignal.protocol import wire
from cloudsignal.protocol.refusals import Problem
from cloudsignal.protocol.retry import is_worth_retrying, retry_after_s

ANSWER_BYTES_MAX: Final = 256 << 10
"""How much of an answer is read."""
RETRY_AFTER_MAX_S: Final = 3600.0
"""The longest wait that a server can ask for."""
SHOWN_MAX: Final = 200
INFO_MAX: Final = 2_000
"""How much of a server's sentence is kept."""

Proof = Literal["receipt", "json", "anything"]
"""What a 200 has to hold so that the signals count as stored.

``receipt``: the receipt of a cloudsignal server. ``json``, the usual choice: that, or any JSON but an
error, or nothing; the protocol leaves the body of a 200 unused, and what stands between, such as a
sign-in page, answers in HTML. ``anything``: whatever it is.
"""
PROOFS: Final[tuple[Proof, ...]] = ("receipt", "json", "anything")


class Answer(Struct, frozen=True):
    """An answer as it came: status, body, ``Retry-After`` and ``Date`` as sent.

    Of a body that ``is_cut`` only the beginning is known.
    """

    status: int
    body: bytes
    retry_after: str = ""
    date: str = ""
    is_cut: bool = False


_receipt: Final = msgspec.json.Decoder(wire.Receipt)
_any: Final = msgspec.json.Decoder()


class Told(Struct):
    """An error in the shape of the field: its type, its sentence, and every problem."""

    type: str = ""
    info: str = ""
    details: list[Problem] = []


class _Problem(Struct):
    error: Told


_error: Final = msgspec.json.Decoder(_Problem)


def read(answer: Answer, *, signals: int, proof: Proof, now: datetime) -> Receipt:
    """What an answer to a post of so many signals says. Raises SendError when they are not stored."""
    if answer.status != 200:
        raise _failure(answer, now)
    if answer.is_cut:
        raise StrangeAnswer(_strange(answer), status=200)
    receipt = _receipt_in(answer, signals)
    if receipt is None:
        if proof == "receipt" or (proof == "json" and not _is_silent(answer.body)):
            raise StrangeAnswer(_strange(answer), status=200)
        receipt = Receipt(signals)
    return receipt


def _receipt_in(answer: Answer, signals: int) -> Receipt | None:
    try:
        told = _receipt.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if told.accepted + told.duplicates != signals:
        return None
    return Receipt(signals, told.accepted, told.duplicates, told.position)


def _is_silent(body: bytes) -> bool:
    """Whether a body says nothing against a post's being stored: nothing at all, or JSON but no error."""
    if not body.strip():
        return True
    try:
        value = _any.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return not (isinstance(value, dict) and ("error" in value or "accepted" in value))


def _failure(answer: Answer, now: datetime) -> SendError:
    told = told_in(answer)
    status = answer.status
    if status == 400 and answer.body.lstrip().startswith(b"<"):
        kind: type[SendError] = (
            StrangeAnswer  # A page: a proxy does not know what is wrong with a signal.
        )
    elif status in (400, 413):
        kind = InvalidSignals
    elif status in (401, 403):
        # This one is not about the key: the item is another print partner's.
        kind = InvalidSignals if told.type == "not_your_item" else KeyRefused
    elif is_worth_retrying(status):
        kind = NotNow
    elif status // 100 == 2:
        kind = StrangeAnswer
    else:
        kind = WrongAddress
    return kind(
        _shown(told.info) or _mute(answer),
        status=status,
        type=told.type,
        problems=[Problem(each.at, each.type, _shown(each.info)) for each in told.details],
        retry_after_s=retry_after_s(answer.retry_after, now=now, longest_s=RETRY_AFTER_MAX_S),
    )


def told_in(answer: Answer) -> Told:
    """What the server says of an error, empty if it says nothing."""
    try:
        return _error.decode(answer.body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Told()


def _shown(text: str) -> str:
    """What a server says, for logs and terminals: in one line, and not without end."""
    printable = "".join(each if each.isprintable() else " " for each in text[:INFO_MAX])
    return " ".join(printable.split())


def _mute(answer: Answer) -> str:
    """A sentence for an answer without one."""
    status = answer.status
    match status:
        case 401 | 403:
            return (
                f"the server answers {status}: it does not take this apikey, and does not say why"
            )
        case 413:
            return "the server answers 413: the post is larger than it or a proxy before it takes"
        case 404 | 405 | 410:
            return f"the server answers {status}: there is no CloudSignal endpoint at this address"
        case _ if 300 <= status < 400:
            return (
                f"the server answers {status} and sends elsewhere, which is not followed, because a post can"
                " get lost that way: put the address it is at now into base_url"
            )
        case _:
            return f"the server answers {status}{_beginning(answer.body)}"


def _strange(answer: Answer) -> str:
    return (
        f"what answered 200 is not a CloudSignal server{_beginning(answer.body)}: is there a proxy, or the"
        " sign-in page of a network, between here and it?"
    )


def _beginning(body: bytes) -> str:
    """What an unexpected body begins with, for people."""
    text = " ".join(body[: SHOWN_MAX * 4].decode("utf-8", "replace").split())
    if not text:
        return ""
    return f" with {wire.echo(text)}"


def no_answer(why: str) -> NoAnswer:
    """What a post without an answer fails with."""
    return NoAnswer(f"no answer came: {why}")
