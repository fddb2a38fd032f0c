"""Whether signals will get through: each thing that has to be right, looked at without leaving a trace at a server of ours."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from msgspec import Struct

from cloudsignal.partner.answers import Answer, told_in
from cloudsignal.partner.claim import claim
from cloudsignal.partner.client import Client
from cloudsignal.partner.errors import NoAnswer, OutboxError, SetupError
from cloudsignal.partner.keys import ApiKey
from cloudsignal.partner.outbox.file import File
from cloudsignal.partner.outbox.sender import sender_path
from cloudsignal.partner.posts import check_of
from cloudsignal.protocol.wire import EMPTY

CLOCK_S: Final = 60.0
"""How far this machine's clock may be from the server's."""
TOLD_S: Final = 2.0
"""What is less is not told: servers tell their time in whole seconds."""
HEALTH: Final = "/healthz"


class Finding(Struct, frozen=True):
    """What was looked at, whether it is as it should be, and what there is to know or to do."""

    what: str
    ok: bool
    info: str


def examine(
    client: Client,
    outbox: Path | None,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Iterator[Finding]:
    """Look at everything, one after the other. Without an outbox that is left out."""
    yield _address(client)
    began = time.monotonic()
    # Nothing in it can be stored: a bundle holds at least one signal. Keys are looked at before that.
    answer = client.ask(client.check())
    seconds = time.monotonic() - began
    server = client.ask(_post_of_a_stranger()) if _may_be_anybodys(answer) else answer
    found = _server(server, seconds)
    yield found
    if found.ok:
        yield _key(answer)
        yield _clock(client, now)
    if outbox is not None:
        yield from examine_outbox(outbox)


def _looks_at_keys(answer: Answer) -> bool:
    """Whether only who looks at keys answers a check like this, whatever it thinks of this key."""
    return answer.status in (401, 403) or told_in(answer).type == EMPTY


def _may_be_anybodys(answer: Answer | NoAnswer) -> bool:
    """Whether this may be the answer of a server that knows the key, or of who takes or refuses whatever comes."""
    return isinstance(answer, Answer) and answer.status in (200, 400) and not _looks_at_keys(answer)


def _post_of_a_stranger() -> bytes:
    # A server may count it as a try to find out a key, so ours is not asked in this way.
    return check_of(ApiKey(secrets.token_hex(16)))


def _address(client: Client) -> Finding:
    base = client.address.base
    if client.address.is_in_the_open:
        info = f"{base} is not encrypted: whoever stands between can read the key. Use https://"
        return Finding("address", False, info)
    return Finding("address", True, base)


def _server(answer: Answer | NoAnswer, seconds: float) -> Finding:
    if isinstance(answer, NoAnswer):
        return Finding("server", False, answer.info)
    status = answer.status
    if _looks_at_keys(answer):
        told = told_in(answer).info
        kind = "a CloudSignal server" if told else "a server that refuses keys, without a sentence"
        return Finding("server", True, f"{kind}, answers within {seconds * 1000:.0f} ms")
    if status == 200:
        info = (
            "it takes a key that nobody has: what answers is no CloudSignal server, but perhaps a proxy or"
            " a sign-in page in between"
        )
    elif status == 429:
        info = told_in(answer).info or "too many posts came from here: wait some minutes"
    elif status >= 500:
        info = f"it answers {status}, and cannot take signals now; they are tried again"
    else:
        info = f"it answers {status}: there is no CloudSignal endpoint below this address"
    return Finding("server", False, info)


def _key(answer: Answer | NoAnswer) -> Finding:
    if isinstance(answer, NoAnswer):
        return Finding("key", False, answer.info)
    if answer.status == 400:
        return Finding("key", True, "the server knows it")
    told = told_in(answer).info or f"the server answers {answer.status}"
    if answer.status in (401, 403):
        return Finding("key", False, f"{told}. Ask the operator of the server")
    return Finding("key", False, told)


def _clock(client: Client, now: Callable[[], datetime]) -> Finding:
    health = client.look(HEALTH)
    moment = now()
    told = health.date if isinstance(health, Answer) else ""
    try:
        ahead_s = (moment - parsedate_to_datetime(told)).total_seconds()
    except (ValueError, TypeError):
        return Finding("clock", True, "the server does not tell its time")
    if abs(ahead_s) < TOLD_S:
        return Finding("clock", True, "agrees with the server's")
    difference = f"{abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the server's"
    if abs(ahead_s) <= CLOCK_S:
        return Finding("clock", True, difference)
    return Finding("clock", False, f"{difference}: set this machine's clock, best by NTP")


def examine_outbox(path: Path) -> Iterator[Finding]:
    """Look at an outbox, whether or not anything else can be looked at."""
    if not path.exists():
        yield _future_outbox(path)
        return
    try:
        with closing(File(path)) as file:
            health = file.health()
    except OutboxError as error:
        yield Finding("outbox", False, str(error))
        return
    if health.paused is not None:
        advice = "mend that, then: cloudsignal outbox resume"
        yield Finding("outbox", False, f"PAUSED: {health.paused}; {advice}")
    elif health.trouble is not None:
        yield Finding("outbox", False, f"signals do not get through: {health.trouble.info}")
    else:
        yield Finding("outbox", True, f"{health.waiting} wait, {health.file_bytes / 1e6:.1f} MB")
    if health.refused:
        advice = "cloudsignal outbox list --state refused"
        yield Finding("refused", False, f"{health.refused} signals need a person: {advice}")
    if health.waiting:
        yield from _sender(path)


def _sender(path: Path) -> Iterator[Finding]:
    try:
        found = claim(sender_path(path), like=path)
    except SetupError as error:
        yield Finding("sender", False, str(error))
        return
    if found is not None:
        found.close()
        yield Finding("sender", False, "nobody sends what waits: cloudsignal outbox run")


def _future_outbox(path: Path) -> Finding:
    folder = path.absolute().parent
    if not folder.is_dir():
        return Finding("outbox", False, f"{path} cannot be made: make the folder {folder} first")
    if not os.access(folder, os.W_OK):
        info = f"{path} cannot be made: let this user write into {folder}"
        return Finding("outbox", False, info)
    return Finding("outbox", True, f"{path} is not there yet: the first signal makes it")
