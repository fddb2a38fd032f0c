"""NATS JetStream as a stream: acknowledged, and in the order of the log, whatever fails.

Two things that JetStream does make it so. It does not take a message again whose ``Nats-Msg-Id`` it has
taken within the stream's duplicate window. And a message that tells at which position the one before it
has to be is refused if the stream ends elsewhere. So many can be on their way at once: when one is lost,
all behind it are refused, and stand nowhere before it.

That holds as long as nobody else publishes into the stream at the same time, whose message could stand
where a lost one was expected. So messages go one by one until a number of them has found its place right
behind the one before.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final
from urllib.parse import ParseResult, quote, unquote, urlparse

from msgspec import Struct, json

from cloudsignal.server.delivery.streams.messages import CONTENT_TYPE, Message
from cloudsignal.server.delivery.streams.stream import StreamUnavailable
from cloudsignal.server.settings import Settings, SettingsError, parts

try:
    import nats.errors
    import nkeys  # type: ignore[import-untyped]  # noqa: F401 - nats-py needs it for credentials
    from nats.aio.client import Client, RawCredentials
    from nats.aio.msg import Msg
    from nats.js import errors
    from nats.js.api import StorageType, StreamConfig
    from nats.js.client import JetStreamContext
except ModuleNotFoundError as error:
    raise SettingsError(
        f"{error.name} is missing, and nats_url is set: pip install 'cloudsignal[server,nats]' brings it"
    ) from None

DUPLICATE_WINDOW_S: Final = 300.0
"""For how long a stream of ours recognises repeats: longer than a restart or another's taking over lasts."""
UNANSWERED_MAX: Final = 256
"""How many messages may wait for their answer at most."""
UNDISTURBED: Final = 200
"""How many messages have to follow each other in the stream before more than one waits for its answer."""
CONNECT_S: Final = 10.0
ANSWER_S: Final = 5.0
"""How long NATS may take to answer."""
CLOSE_S: Final = 2.0
HEADERS_BYTES: Final = 1024
"""Room for a message's headers, which count as part of it."""

_log: Final = logging.getLogger(__name__)

_NO_ANSWER: Final = "503"
_WRONG_LAST: Final = 10071
_ADVICE: Final = (
    "the setting nats_url is not what it must be: write nats://HOST:4222 or tls://HOST:4222, with"
    " USER:PASSWORD@ or TOKEN@ before the host if need be, and commas between several"
)


class Refusal(Struct, frozen=True):
    """Why a message was not taken."""

    code: int
    description: str = ""
    err_code: int = 0


class Answer(Struct, frozen=True):
    """What JetStream answers to a message: where it stands, or why it does not."""

    seq: int = 0
    duplicate: bool = False
    error: Refusal | None = None


_UNANSWERED: Final = Answer(error=Refusal(0, f"no answer within {ANSWER_S:.0f} seconds"))
_UNTAKEN: Final = Answer(error=Refusal(503, "its stream is gone, or has no leader just now"))


class NatsStream:
    """A stream of JetStream, made if it is not there. It is connected to by publishing."""

    name = "nats"

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError with a sentence if it cannot be as it is set."""
        self._settings = settings
        self._servers = servers_of(settings.nats_url)
        self._tls = _tls(settings.nats_ca_file)
        if settings.nats_credentials_file:
            credentials_of(settings.nats_credentials_file)
        self._connection: Connection | None = None
        # Where our last message stands in the stream, and how many before it follow each other there.
        self._last = 0
        self._undisturbed = 0

    async def publish(self, messages: Sequence[Message]) -> int:
        """See ``Stream``."""
        try:
            if self._connection is None:
                self._last = self._undisturbed = 0
                self._connection = await self._connected()
            return await self._publish(self._connection, messages)
        except StreamUnavailable:
            await self.close()
            raise
        except SettingsError as error:  # What was right at the start need not be for ever.
            await self.close()
            raise StreamUnavailable(str(error)) from error
        except (nats.errors.Error, OSError, TimeoutError) as error:
            told = self._told(error)
            await self.close()
            raise StreamUnavailable(told) from error

    async def close(self) -> None:
        """See ``Stream``."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> "Connection":
        connection = Connection(self._servers, self._tls)
        self._connection = connection  # So that it is closed whatever becomes of it.
        await connection.open(self._settings)
        return connection

    async def _publish(self, connection: "Connection", messages: Sequence[Message]) -> int:
        """Many at once, each behind the one before it, or one that may stand anywhere."""
        chosen = messages[: UNANSWERED_MAX if self._undisturbed >= UNDISTURBED else 1]
        answers = await connection.ask(chosen, self._last)
        held = _taken(answers)
        for answer in answers[:held]:
            self._look_at(answer)
        if held == len(chosen):
            return held
        self._undisturbed = 0
        if held:
            return held
        refusal = answers[0].error
        if refusal and refusal.err_code == _WRONG_LAST:
            return await self._publish(connection, messages)
        why = connection.said or (refusal.description if refusal else "")
        raise StreamUnavailable(
            f"NATS did not take a message on {subject(self._settings.nats_subject, chosen[0])}: {why}"
        )

    def _look_at(self, answer: Answer) -> None:
        """Notice when something stands between two of our messages, or one was there already."""
        is_next = not answer.duplicate and answer.seq == self._last + 1
        self._undisturbed = self._undisturbed + 1 if is_next else 0
        self._last = answer.seq

    def _told(self, error: Exception) -> str:
        """What went wrong as a sentence, which never holds a password."""
        said = self._connection.said if self._connection else ""
        if "authorization violation" in f"{error} {said}".lower():
            return (
                f"NATS at {self._servers} refuses who we say we are: look at the user and password or token"
                " in nats_url, or at nats_credentials_file"
            )
        if isinstance(error, nats.errors.SecureConnWantedError):
            return f"NATS at {self._servers} does not offer TLS, which tls:// in nats_url asks for"
        if isinstance(error, errors.ServiceUnavailableError):
            return (
                f"JetStream does not answer at NATS on {self._servers}: it is not enabled there or for this"
                " user, or has no leader just now"
            )
        if isinstance(error, errors.APIError):
            return f"NATS refuses the stream {self._settings.nats_stream}: {error.description}"
        why = said or str(error) or "it does not answer"
        return f"NATS cannot be used at {self._servers}: {why}"


class Connection:
    """A connection to one of the servers, for as long as it lasts: it is never mended, only replaced."""

    def __init__(self, servers: "Servers", tls: ssl.SSLContext) -> None:
        self._client = Client()
        self._servers = servers
        self._tls = tls
        self._size_max = 0
        self._stream = self._prefix = ""
        self._inbox = ""
        self._numbers = count(1)
        self._unanswered: dict[str, asyncio.Future[Answer]] = {}
        self.said = ""
        """What the library or the server last complained of."""

    async def open(self, settings: Settings) -> None:
        """Connect, and make sure of the stream. Raises StreamUnavailable, or what the library raises."""
        options = self._servers.identification(self._check_secure)
        if settings.nats_credentials_file:
            # Read anew each time: they expire, and are replaced.
            options["user_credentials"] = credentials_of(settings.nats_credentials_file)
        async with asyncio.timeout(CONNECT_S):
            await self._client.connect(
                list(self._servers.urls),
                name="cloudsignal",
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                error_cb=self._complained,
                closed_cb=self._closed,
                tls=self._tls,
                **options,
            )
        self._check_secure()
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._answered)
        largest = await _stream(self._client.jetstream(timeout=ANSWER_S), settings)
        limits = [size for size in (self._client.max_payload, largest) if size > 0]
        self._size_max = min(limits) - HEADERS_BYTES
        self._stream, self._prefix = settings.nats_stream, settings.nats_subject

    def _check_secure(self) -> None:
        """Make sure that a connection that is to be encrypted is. Raises SecureConnWantedError.

        Where the server does not ask for TLS the library goes on without it.
        """
        if self._servers.tls and not self._client._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError

    async def ask(self, messages: Sequence[Message], last: int) -> list[Answer]:
        """Publish messages, and wait: what is answered to each.

        If they are many, the first one has to stand right behind ``last``, a position in the stream, and
        each other one behind the one before it.
        """
        waiting = []
        try:
            for number, message in enumerate(messages):
                expected = last + number if len(messages) > 1 else None
                waiting.append(await self._send(message, expected))
            await asyncio.wait(waiting, timeout=ANSWER_S)
            return [each.result() if _is_answered(each) else _UNANSWERED for each in waiting]
        finally:
            self._unanswered.clear()

    async def _send(self, message: Message, expected: int | None) -> asyncio.Future[Answer]:
        body = self._fitting(message)
        headers = {
            "Nats-Msg-Id": message.id,
            "Nats-Expected-Stream": self._stream,
            "content-type": CONTENT_TYPE,
        }
        if expected is not None:
            headers["Nats-Expected-Last-Sequence"] = str(expected)
        reply = f"{self._inbox}.{next(self._numbers)}"
        self._unanswered[reply] = answer = asyncio.get_running_loop().create_future()
        await self._client.publish(
            subject(self._prefix, message), body, reply=reply, headers=headers
        )
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            # The library swallows it while it waits until what it sends is sent.
            raise asyncio.CancelledError
        return answer

    def _fitting(self, message: Message) -> bytes:
        """The message as it is published: without what was sent if it would be too large with it."""
        body = message.encoded()
        if len(body) <= self._size_max:
            return body
        shorter = message.without_body().encoded()
        if len(shorter) > self._size_max:
            raise StreamUnavailable(
                f"the signal at position {message.position} takes {len(shorter)} bytes even without its body,"
                f" and NATS takes {max(self._size_max, 0)}: raise max_payload there, or max_msg_size of the"
                " stream"
            )
        _log.warning(
            "a signal is published without its body",
            extra={"facts": {"position": message.position, "size": len(body)}},
        )
        return shorter

    async def _answered(self, msg: Msg) -> None:
        answer = self._unanswered.pop(msg.subject, None)
        if answer is not None and not answer.done():
            untaken = msg.headers is not None and msg.headers.get("Status") == _NO_ANSWER
            answer.set_result(_UNTAKEN if untaken else json.decode(msg.data, type=Answer))

    async def _complained(self, error: Exception) -> None:
        self.said = str(error)

    async def _closed(self) -> None:
        for answer in self._unanswered.values():
            answer.cancel()

    async def close(self) -> None:
        """Let go of it, and of what was not answered."""
        with suppress(nats.errors.Error, OSError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await self._client.close()


class Servers(Struct, frozen=True):
    """The servers of one NATS, and who we say we are to them. It shows no password."""

    urls: tuple[str, ...]
    tls: bool
    user: str | None
    password: str | None

    def identification(self, check: Callable[[], None]) -> dict[str, Any]:
        """What the library has to be told of it. Nothing is given away before ``check`` has passed."""

        def checked(text: str) -> Callable[[], str]:
            def give() -> str:
                check()
                return text

            return give

        if self.user is None:
            return {}
        if self.password is None:
            return {"token": checked(self.user)}
        return {"user": checked(self.user), "password": checked(self.password)}

    def __str__(self) -> str:
        return ", ".join(urlparse(url).netloc for url in self.urls)

    def __repr__(self) -> str:
        return f"Servers({str(self)!r})"


def servers_of(text: str) -> Servers:
    """The servers that ``nats_url`` names. Raises SettingsError with a sentence that holds no secret."""
    try:
        found = [urlparse(part) for part in parts(text)]
        hosts = [each.hostname for each in found if each.port != 0]
    except ValueError:
        raise SettingsError(_ADVICE) from None
    schemes = {each.scheme for each in found}
    people = {(each.username, each.password) for each in found}
    if not found or not all(hosts) or len(hosts) < len(found) or not schemes <= {"nats", "tls"}:
        raise SettingsError(_ADVICE)
    if len(schemes) > 1 or len(people) > 1:
        raise SettingsError(
            "the setting nats_url is not what it must be: all its URLs have the same scheme, and the same"
            " user and password or token"
        )
    [(user, password)] = people
    return Servers(
        urls=tuple(map(_without_user, found)),
        tls=schemes == {"tls"},
        user=None if user is None else unquote(user),
        password=None if password is None else unquote(password),
    )


def _without_user(url: ParseResult) -> str:
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}"


def credentials_of(file: str) -> RawCredentials:
    """What a file of credentials holds. Raises SettingsError with a sentence."""
    wrong = f"the setting nats_credentials_file is not what it must be: {file}"
    try:
        text = Path(file).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{wrong} cannot be read: {error}") from None
    # Without the first the library would look for it for ever.
    if not all(f"-----BEGIN {part}-----" in text for part in ("NATS USER JWT", "USER NKEY SEED")):
        raise SettingsError(
            f"{wrong} holds no credentials of NATS: they are called .creds as a rule"
        )
    return RawCredentials(text)


def _tls(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except OSError as error:  # An SSLError is one.
        raise SettingsError(
            f"the setting nats_ca_file is not what it must be: {ca_file} cannot be read as certificates:"
            f" {error.strerror or error}"
        ) from None


def subject(prefix: str, message: Message) -> str:
    """The subject of a message: ``cloudsignal.<partner>.<type>``."""
    return f"{prefix}.{token(message.partner)}.{message.type}"


def token(name: str) -> str:
    """A name as one token of a subject: percent-encoded as in URLs, and its dots too."""
    return quote(name, safe="").replace(".", "%2E")


async def _stream(jetstream: JetStreamContext, settings: Settings) -> int:
    """Make sure that the stream is there and takes our subjects: the largest message that it takes.

    Raises StreamUnavailable, or what the library raises.
    """
    name, wanted = settings.nats_stream, f"{settings.nats_subject}.*.*"
    try:
        found = await jetstream.stream_info(name)
    except errors.NotFoundError:
        found = await jetstream.add_stream(
            StreamConfig(
                name=name,
                description="every signal, published by cloudsignal",
                subjects=[f"{settings.nats_subject}.>"],
                storage=StorageType.FILE,
                num_replicas=settings.nats_replicas,
                duplicate_window=DUPLICATE_WINDOW_S,
            )
        )
    subjects = found.config.subjects or []
    if not any(covers(each, wanted) for each in subjects):
        raise StreamUnavailable(
            f"the stream {name} is there and takes {', '.join(subjects) or 'no subjects'}, but not"
            f" {wanted}: add that to its subjects, or name another stream in nats_stream"
        )
    if found.config.no_ack:
        raise StreamUnavailable(
            f"the stream {name} acknowledges nothing: make it without no_ack, or name another one in"
            " nats_stream"
        )
    return found.config.max_msg_size or 0


def covers(pattern: str, subject: str) -> bool:
    """Whether a stream that takes a pattern takes all of a subject, in which each ``*`` is any token."""
    given, wanted = pattern.split("."), subject.split(".")
    if given[-1] == ">" and len(given) <= len(wanted):
        # It stands for one token or more.
        given, wanted = given[:-1], wanted[: len(given) - 1]
    return len(given) == len(wanted) and all(
        mine in ("*", asked) for mine, asked in zip(given, wanted, strict=True)
    )


def _taken(answers: Sequence[Answer]) -> int:
    """How many answers, from the first on, say that the message is in the stream."""
    refused = (number for number, answer in enumerate(answers) if answer.error is not None)
    return next(refused, len(answers))


def _is_answered(answer: asyncio.Future[Answer]) -> bool:
    return answer.done() and not answer.cancelled()
