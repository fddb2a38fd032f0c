"""What people and programs are shown of items and signals: the API's and the command line's JSON."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, structs

from cloudsignal.protocol import datetimes
from cloudsignal.protocol.items import Item, findings
from cloudsignal.protocol.refusals import Problem
from cloudsignal.server.settings import InForce, declared
from cloudsignal.server.store.access import Interface, Partner
from cloudsignal.server.store.backends import backend_of
from cloudsignal.server.store.orders import Owner, RegisteredOrder
from cloudsignal.server.store.posts import RefusedPost, Traffic
from cloudsignal.server.store.reading import LoggedSignal, StoredItem, StoredOrder
from cloudsignal.server.store.search import Hit, Kind

Instant = Annotated[
    str, Meta(description="ISO 8601 with offset, in UTC", extra_json_schema={"format": "date-time"})
]


class ParcelView(Struct, frozen=True):
    """One parcel an item left in."""

    tracking: str
    shipping_option: str
    datetime: Instant


class SignalView(Struct, frozen=True):
    """A signal in the log; ``body`` is what was sent, less its key."""

    position: int
    type: str
    order: str
    item: str
    partner: str
    interface: int
    datetime: Instant
    received: Instant
    test: bool
    body: Raw
    findings: list[str] | UnsetType = UNSET


class ItemView(Struct, frozen=True):
    """An item as it stands; ``times`` holds the datetime of every step it has taken."""

    order: str
    item: str
    partner: str
    state: str
    delayed: bool
    test: bool
    parcels: list[ParcelView]
    cause: str | None
    message: str | None
    delay_hours: float | None
    findings: list[str]
    times: dict[str, Instant]
    updated: Instant
    position: int
    signals: list[SignalView] | UnsetType = UNSET


class RegistrationView(Struct, frozen=True):
    """What is registered of an order; ``items``, where one order is shown, has what its owner calls them."""

    owner: str
    partner: str | None
    reference: str
    due: Instant | None
    tracking_urls: dict[str, str]
    registered: Instant
    changed: Instant
    items: dict[str, str] | UnsetType = UNSET


class RegisteredOrderView(Struct, frozen=True):
    """An order in a list: what is registered of it."""

    order: str
    registration: RegistrationView


class OrderView(Struct, frozen=True):
    """An order: how many of its items are in which state, and the items (of very many, the newest).

    ``registration`` is null if nobody registered it.
    """

    order: str
    states: dict[str, int]
    items: list[ItemView]
    registration: RegistrationView | None = None


class HitView(Struct, frozen=True):
    """What a search found: an order or, if ``item`` is not null, an item of it, and by which ``text``."""

    kind: Kind
    order: str
    item: str | None
    text: str


class OwnerView(Struct, frozen=True):
    """Who orders belong to; ``unregistered`` says whether it gets what nobody registered."""

    owner: str
    unregistered: bool
    created: Instant


class PartnerView(Struct, frozen=True):
    """A print partner."""

    partner: str
    created: Instant


class InterfaceView(Struct, frozen=True):
    """A CloudSignal API interface; its keys are never shown."""

    interface: int
    partner: str
    state: str
    test: bool
    timezone: str
    allow: list[str]
    created: Instant


class RefusedPostView(Struct, frozen=True):
    """A refused post of an interface: every problem that was answered, and an excerpt of its body without any key.

    ``body`` is for reading, a value a line; it is empty where the body was not to blame.
    """

    id: int
    received: Instant
    partner: str
    interface: int
    address: str
    status: int
    type: str
    problems: list[Problem]
    body: str


class TrafficView(Struct, frozen=True):
    """What came through an interface: when the last post did, and of the last day how many, and how many refused."""

    last_used: Instant | None
    posts_last_day: int
    refused_last_day: int


class SettingView(Struct, frozen=True):
    """A setting in force: its value, of a secret only whether there is one.

    ``source`` is the flag, the variable or the file that it comes from, None where it is the default.
    """

    setting: str
    value: Any
    source: str | None
    description: str

    @property
    def text(self) -> str:
        """The value for people."""
        if isinstance(self.value, bool):
            return "true" if self.value else "false"
        return ", ".join(self.value) if isinstance(self.value, tuple) else str(self.value)


def item_view(stored: StoredItem, signals: list[LoggedSignal] | None = None) -> ItemView:
    """An item, with its signals if they are given."""
    item = stored.folded
    return ItemView(
        order=stored.order,
        item=stored.item,
        partner=stored.partner_name,
        state=item.state,
        delayed=item.is_delayed,
        test=not item.live,
        parcels=[
            ParcelView(each.tracking, each.shipping_option, datetimes.write(each.datetime))
            for each in item.parcels
        ],
        cause=item.cause.value if item.cause else None,
        message=item.message.value if item.message else None,
        delay_hours=item.delay_hours,
        findings=item.findings,
        times={step: datetimes.write(when) for step, when in item.times.items()},
        updated=datetimes.write(stored.updated),
        position=stored.position,
        signals=UNSET if signals is None else _marked(item, signals),
    )


def signal_view(logged: LoggedSignal) -> SignalView:
    """A signal by itself."""
    return SignalView(
        position=logged.position,
        type=logged.type,
        order=logged.order,
        item=logged.item,
        partner=logged.partner_name,
        interface=logged.interface,
        datetime=datetimes.write(logged.datetime),
        received=datetimes.write(logged.received),
        test=logged.test,
        body=Raw(logged.body.encode()),
    )


def order_view(
    order: str, stored: StoredOrder | None, registered: RegisteredOrder | None = None
) -> OrderView:
    """An order with its items, in the order of their ids, and what is registered of it."""
    found = stored or StoredOrder({}, [])
    items = [item_view(each) for each in sorted(found.items, key=lambda each: each.item)]
    told = None if registered is None else _registration(registered, registered.items)
    return OrderView(order, found.states, items, told)


def registered_order_view(registered: RegisteredOrder) -> RegisteredOrderView:
    """An order in a list, without its items."""
    return RegisteredOrderView(registered.order, _registration(registered))


def _registration(
    registered: RegisteredOrder, items: dict[str, str] | UnsetType = UNSET
) -> RegistrationView:
    return RegistrationView(
        owner=registered.owner_name,
        partner=registered.partner_name,
        reference=registered.reference,
        due=None if registered.due is None else datetimes.write(registered.due),
        tracking_urls=registered.tracking_urls,
        items=items,
        registered=datetimes.write(registered.registered),
        changed=datetimes.write(registered.changed),
    )


def hit_view(hit: Hit) -> HitView:
    """What a search found."""
    return HitView(hit.kind, hit.order, hit.item, hit.text)


def owner_view(owner: Owner) -> OwnerView:
    """An owner, without its keys."""
    return OwnerView(owner.name, owner.unregistered, datetimes.write(owner.created))


def partner_view(partner: Partner) -> PartnerView:
    """A print partner."""
    return PartnerView(partner.name, datetimes.write(partner.created))


def interface_view(interface: Interface) -> InterfaceView:
    """An interface, without its keys."""
    return InterfaceView(
        interface=interface.id,
        partner=interface.partner_name,
        state=interface.state,
        test=interface.test,
        timezone=interface.timezone,
        allow=list(interface.allow),
        created=datetimes.write(interface.created),
    )


def refused_post_view(refused: RefusedPost) -> RefusedPostView:
    """A refused post."""
    return RefusedPostView(
        id=refused.id,
        received=datetimes.write(refused.at),
        partner=refused.partner_name,
        interface=refused.interface,
        address=refused.address,
        status=refused.status,
        type=refused.type,
        problems=list(refused.problems),
        body=refused.body,
    )


def traffic_view(traffic: Traffic) -> TrafficView:
    """What came through an interface in the last day."""
    last = None if traffic.last is None else datetimes.write(traffic.last)
    return TrafficView(last, traffic.posts, traffic.refusals)


def setting_views(in_force: InForce) -> list[SettingView]:
    """Every setting in the order of its declaration; neither a secret nor a password is in it.

    Raises StoreUnusable when the setting ``database`` names none.
    """
    settings = in_force.settings
    shown = {"database": backend_of(settings.database).shown}
    for each in declared():
        if each.secret:
            shown[each.name] = "set" if getattr(settings, each.name) else "not set"
    return [
        SettingView(
            each.name,
            shown.get(each.name, getattr(settings, each.name)),
            in_force.sources.get(each.name),
            each.description,
        )
        for each in declared()
    ]


def marked(item: Item, signals: Iterable[LoggedSignal]) -> Iterator[tuple[LoggedSignal, list[str]]]:
    """The signals of an item in the order of the log, each with what is odd about it."""
    latest: int | None = None
    for logged in signals:
        signal = logged.report.signal
        found = set(findings(signal, logged.datetime, logged.received, latest))
        if item.is_after_final(signal.effect, logged.datetime):
            found.add("after_final")
        latest = logged.datetime if latest is None else max(latest, logged.datetime)
        yield logged, sorted(found)


def _marked(item: Item, signals: list[LoggedSignal]) -> list[SignalView]:
    return [
        structs.replace(signal_view(logged), findings=found)
        for logged, found in marked(item, signals)
    ]
