"""Hands one mail to the operator's mail server, and says in a sentence what became of it."""

import smtplib
import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from typing import Final, Self

from msgspec import Struct

from cloudsignal.protocol.units import SECOND_US
from cloudsignal.server.alerting.composing import Mail, plain
from cloudsignal.server.settings import Settings

ANSWER_S_MAX: Final = 15.0
"""How long the mail server may take for each of its answers."""
SAID_CHARS_MAX: Final = 200
"""How much of an answer is repeated."""


class NotSent(Exception):
    """The mail server did not take the mail; the message says why."""


class MailServer(Struct, frozen=True, kw_only=True):
    """Where mails are handed in, and who they come from. It does not show the password."""

    host: str
    port: int
    tls: str
    user: str = ""
    password: str = ""
    sender: str
    timeout_s: float = ANSWER_S_MAX

    @classmethod
    def of(cls, settings: Settings) -> Self | None:
        """The mail server that is set; None if there is none."""
        if not settings.smtp_host:
            return None
        return cls(
            host=settings.smtp_host,
            port=settings.smtp_port,
            tls=settings.smtp_tls,
            user=settings.smtp_user,
            password=settings.smtp_password,
            sender=settings.smtp_sender,
        )

    def __repr__(self) -> str:
        return f"MailServer({self.host!r}, {self.port})"

    def hand_in(self, mail: EmailMessage, recipients: Sequence[str]) -> str:
        """Hand a mail in; how it was answered. Raises NotSent."""
        try:
            with self._line() as line:
                refused = line.send_message(mail, self.sender, list(recipients))
        except smtplib.SMTPRecipientsRefused as error:
            raise NotSent(f"{self.host} takes no mail for {_refusals(error.recipients)}") from None
        except smtplib.SMTPAuthenticationError as error:
            raise NotSent(
                f"{self.host} does not let {self.user} in: {self._said(error)}: look at smtp_user and smtp_password"
            ) from None
        except smtplib.SMTPResponseException as error:
            raise NotSent(f"{self.host}: {self._said(error)}") from None
        except smtplib.SMTPNotSupportedError as error:
            raise NotSent(f"{self.host} offers no {_missing(error)}") from None
        except smtplib.SMTPServerDisconnected as error:
            # That is also what an answer that does not come in time is told as.
            raise NotSent(
                self._silent
                if isinstance(error.__context__, TimeoutError)
                else f"{self.host} cut the line before it had taken the mail"
            ) from None
        except smtplib.SMTPException as error:
            raise NotSent(f"{self.host}: {plain(str(error))[:SAID_CHARS_MAX]}") from None
        except TimeoutError:
            raise NotSent(self._silent) from None
        except ssl.SSLError as error:
            raise NotSent(
                f"{self.host} does not speak TLS as it has to: {_of_tls(error)}"
            ) from None
        except OSError as error:
            raise NotSent(f"{self.host} cannot be reached: {error.strerror or error}") from None
        except ValueError:
            # What it says may hold a part of the password.
            raise NotSent(
                "smtp_host, smtp_user or smtp_password hold something that no mail server can be told: look at them"
            ) from None
        if refused:
            return f"it was taken, but not for {_refusals(refused)}"
        return "it was taken"

    @property
    def _silent(self) -> str:
        return f"{self.host} did not answer within {self.timeout_s:g} s"

    @contextmanager
    def _line(self) -> Iterator[smtplib.SMTP]:
        trusted = ssl.create_default_context()
        if self.tls == "implicit":
            line: smtplib.SMTP = smtplib.SMTP_SSL(
                self.host, self.port, timeout=self.timeout_s, context=trusted
            )
        else:
            line = smtplib.SMTP(self.host, self.port, timeout=self.timeout_s)
        try:
            if self.tls == "starttls":
                line.starttls(context=trusted)
            if self.user:
                line.login(self.user, self.password)
            yield line
        finally:
            # What was taken is taken, however the server says goodbye.
            with suppress(OSError):
                line.quit()

    def _said(self, error: smtplib.SMTPResponseException) -> str:
        raw = error.smtp_error
        text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
        if self.password:
            text = text.replace(self.password, "…")
        return f"it answered {error.smtp_code}: {plain(text)[:SAID_CHARS_MAX]}"


def mail_of(
    mail: Mail, sender: str, recipients: Sequence[str], *, message: str, made: int
) -> EmailMessage:
    """A mail as it is sent, known by ``message``: the same each time."""
    written = EmailMessage(policy=SMTP)
    written["From"] = sender
    written["To"] = ", ".join(recipients)
    # What looks like an encoded word would be decoded here: to another header, or to the mail's text.
    written["Subject"] = plain(mail.subject).replace("=?", "= ?")
    written["Date"] = datetime.fromtimestamp(made // SECOND_US, UTC)
    written["Message-ID"] = f"<{message}@{sender.partition('@')[2]}>"
    # So that nobody's holiday answers it.
    written["Auto-Submitted"] = "auto-generated"
    written.set_content(mail.text, cte="quoted-printable")
    return written


def _missing(error: smtplib.SMTPNotSupportedError) -> str:
    if "STARTTLS" in str(error):
        return "STARTTLS: look at smtp_tls"
    return "way to sign in: look at smtp_user"


def _refusals(refused: dict[str, tuple[int, bytes]]) -> str:
    return ", ".join(
        f"{who} ({code}: {plain(said.decode('utf-8', 'replace'))[:SAID_CHARS_MAX]})"
        for who, (code, said) in refused.items()
    )


def _of_tls(error: ssl.SSLError) -> str:
    told = error.verify_message if isinstance(error, ssl.SSLCertVerificationError) else ""
    return told or error.reason or type(error).__name__
