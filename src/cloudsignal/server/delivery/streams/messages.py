"""Signals as messages: CloudEvents 1.0 in JSON, in their structured mode."""

from typing import Final
from urllib.parse import quote

from msgspec import UNSET, Raw, Struct, UnsetType, json, structs

from cloudsignal.protocol import datetimes
from cloudsignal.server import views
from cloudsignal.server.store.reading import LoggedSignal
from cloudsignal.server.views import SignalView

CONTENT_TYPE: Final = "application/cloudevents+json"
SOURCE: Final = "/cloudsignal/"
"""What the source of every event begins with; the identity of its store follows."""
TYPE: Final = "cloudsignal."
"""What the type of every event begins with; that of the signal follows."""

_NOTHING: Final = Raw(b"null")


class CloudEvent(Struct, frozen=True):
    """A signal as an event: the members that CloudEvents asks for, and the signal as ``data``.

    ``bodyleftout`` is there, and true, if the signal is too large for the stream and comes without its
    body.
    """

    id: str
    source: str
    type: str
    subject: str
    time: str
    data: SignalView
    specversion: str = "1.0"
    datacontenttype: str = "application/json"
    bodyleftout: bool | UnsetType = UNSET


class Message(Struct, frozen=True):
    """A signal to be published; its ``id`` is no other signal's, of this store or of another."""

    event: CloudEvent

    @property
    def id(self) -> str:
        return self.event.id

    @property
    def position(self) -> int:
        """Where the signal stands in the log."""
        return self.event.data.position

    @property
    def partner(self) -> str:
        """The name of the print partner who reported the signal."""
        return self.event.data.partner

    @property
    def type(self) -> str:
        """The signal's type."""
        return self.event.data.type

    def encoded(self) -> bytes:
        """The event as it is published."""
        return json.encode(self.event)

    def without_body(self) -> "Message":
        """The same without what was sent, marked as such."""
        data = structs.replace(self.event.data, body=_NOTHING)
        return Message(structs.replace(self.event, data=data, bodyleftout=True))


def message(identity: str, logged: LoggedSignal) -> Message:
    """A signal of the store with that identity as a message."""
    return Message(
        CloudEvent(
            id=_id(identity, logged),
            source=SOURCE + identity,
            type=TYPE + logged.type,
            subject=f"{quote(logged.order, safe='')}/{quote(logged.item, safe='')}",
            time=datetimes.write(logged.datetime),
            data=views.signal_view(logged),
        )
    )


def _id(identity: str, logged: LoggedSignal) -> str:
    # A store that was restored from a backup gives positions out again, to other signals: without
    # the instant, a stream would take these for repeats.
    return f"{identity}-{logged.position}-{logged.received}"
