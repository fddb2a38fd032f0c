"""Every setting, declared once: the flag, the environment variable, the file and the docs follow.

A setting called ``queue_max`` is the flag ``--queue-max``, the variable ``CLOUDSIGNAL_QUEUE_MAX`` and
the line ``queue_max = …`` of a TOML file; the first of these that is there counts, then the default.
A secret can also be read from a file that ``CLOUDSIGNAL_…_FILE`` names.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

import msgspec
from msgspec import Meta, Struct

from cloudsignal.protocol.http import BODY_BYTES_MAX
from cloudsignal.protocol.wire import BUNDLE_MAX

PREFIX: Final = "CLOUDSIGNAL_"
CONFIG_VARIABLE: Final = "CLOUDSIGNAL_CONFIG"

Positive = Meta(ge=1)
Secret = Meta(extra={"secret": True})


TRACKING_URL: Final = re.compile(r"[^=\s][^=]*=https?://[^\s{}]*\{tracking\}[^\s{}]*")
"""How a shipping option and where its parcels can be followed are written."""


PUBLIC_URL: Final = re.compile(r"https?://([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
"""How it is written where the server is reached: nothing follows the host and its port."""


MAIL_ADDRESS: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
"""How the address of a mailbox is written: nothing in it can be taken for more than one."""


class SettingsError(Exception):
    """A setting is unknown, unreadable, or not what it must be."""


class Settings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What can be set, with its default."""

    database: Annotated[
        str,
        Meta(
            description="where the store is: sqlite:///PATH (four slashes for an absolute path) or"
            " postgresql://USER:PASSWORD@HOST/DATABASE"
        ),
    ] = "sqlite:///cloudsignal.db"
    secret: Annotated[
        str,
        Secret,
        Meta(
            description="what keys are digested with, the same on every node; without it, a random one in"
            " the file PATH.secret beside a SQLite store"
        ),
    ] = ""
    host: Annotated[str, Meta(description="the address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="the port; 0 takes a free one")] = 8000
    workers: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="how many server processes share the port, each with a writer of its own;"
            " more than one needs PostgreSQL",
        ),
    ] = 1
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses or networks of reverse proxies whose X-Forwarded-For is believed"
        ),
    ] = ()
    body_bytes_max: Annotated[int, Positive, Meta(description="the largest request body")] = (
        BODY_BYTES_MAX
    )
    bundle_max: Annotated[int, Positive, Meta(description="how many signals a bundle may hold")] = (
        BUNDLE_MAX
    )
    strict_causes: Annotated[
        bool, Meta(description="refuse an ItemCanceled whose cause is none of the published ones")
    ] = False
    unregistered_orders: Annotated[
        Literal["accept", "refuse"],
        Meta(description="what becomes of signals for orders that nobody registered"),
    ] = "accept"
    queue_max: Annotated[
        int,
        Positive,
        Meta(description="how many signals may wait for the store before posts get 503"),
    ] = 20_000
    queue_bytes_max: Annotated[
        int, Positive, Meta(description="how many bytes of signals may wait for the store")
    ] = 64 << 20
    reading_bytes_max: Annotated[
        int,
        Positive,
        Meta(description="how many bytes of unfinished request bodies are held in all"),
    ] = 256 << 20
    group_max: Annotated[
        int, Positive, Meta(description="how many signals are written in one transaction at most")
    ] = 2_000
    failed_keys_max: Annotated[
        int,
        Positive,
        Meta(
            description="how many unknown keys an address may try before it gets 429; each server"
            " process counts for itself"
        ),
    ] = 20
    failed_keys_window_s: Annotated[
        int, Positive, Meta(description="in how many seconds it may try them, and then has to wait")
    ] = 60
    posts_per_minute: Annotated[
        int,
        Meta(
            ge=0,
            description="how many posts an interface may send in a minute before it gets 429; 0 for"
            " any number; each server process counts for itself",
        ),
    ] = 0
    read_timeout_s: Annotated[
        float, Meta(gt=0, description="how long a connection may take to send a request it began")
    ] = 30.0
    keep_alive_s: Annotated[
        int, Positive, Meta(description="how long an idle connection is kept for the next request")
    ] = 75
    shutdown_s: Annotated[
        int,
        Meta(
            ge=1, le=60, description="how long accepted posts may take to be answered after SIGTERM"
        ),
    ] = 5
    refresh_s: Annotated[
        float,
        Meta(gt=0, le=5, description="after how many seconds a changed or revoked key is noticed"),
    ] = 1.0
    metrics_allow: Annotated[
        tuple[str, ...],
        Meta(description="addresses or networks that may read /metrics without a token"),
    ] = ("127.0.0.0/8", "::1/128")
    panel: Annotated[bool, Meta(description="serve the panel, pages for people, under /panel/")] = (
        True
    )
    panel_http: Annotated[
        bool,
        Meta(
            description="let the panel be used over http:// from other machines too, where everybody on"
            " the way is trusted"
        ),
    ] = False
    panel_timezone: Annotated[
        str, Meta(description="the time zone whose days and hours the panel counts by")
    ] = "UTC"
    public_url: Annotated[
        str,
        Meta(
            description="where people reach this server, such as https://signals.example.com: links in alerts and to"
            " set the panel up begin so; without it, alerts have no links"
        ),
    ] = ""
    events_max: Annotated[
        int, Positive, Meta(description="how many live event connections are served at once")
    ] = 1000
    webhook_networks: Annotated[
        tuple[str, ...],
        Meta(
            description="addresses or networks that webhooks may go to although they are not public, such as"
            " 10.0.0.0/8"
        ),
    ] = ()
    webhook_http: Annotated[
        bool, Meta(description="let webhooks go to http:// URLs too, readable on the way")
    ] = False
    post_log_days: Annotated[
        int,
        Meta(
            ge=1,
            le=3650,
            description="how many days it is remembered which posts came, and which of them were refused",
        ),
    ] = 30
    deliver: Annotated[
        bool, Meta(description="tell order owners from this server, if there are endpoints")
    ] = True
    delivery_log_days: Annotated[
        int,
        Meta(
            ge=1,
            le=3650,
            description="how many days attempts to tell order owners, and deliveries that were given up, are kept",
        ),
    ] = 30
    tracking_urls: Annotated[
        tuple[str, ...],
        Meta(
            description="how parcels can be followed, by shipping option, for orders that do not say it:"
            " GLS=https://gls.example/{tracking}"
        ),
    ] = ()
    smtp_host: Annotated[
        str,
        Meta(description="the mail server that alerts are sent by; without it, none are mailed"),
    ] = ""
    smtp_port: Annotated[int, Meta(ge=1, le=65535, description="its port")] = 587
    smtp_tls: Annotated[
        Literal["starttls", "implicit", "none"],
        Meta(
            description="how it is spoken to: starttls (port 587, mostly), implicit (465), or none where"
            " everybody on the way is trusted"
        ),
    ] = "starttls"
    smtp_user: Annotated[str, Meta(description="who signs in there; without it, nobody does")] = ""
    smtp_password: Annotated[str, Secret, Meta(description="with which password")] = ""
    smtp_sender: Annotated[str, Meta(description="the address that mails come from")] = ""
    nats_url: Annotated[
        str,
        Secret,
        Meta(
            description="where NATS is, with JetStream, to publish every signal to: nats://USER:PASSWORD@HOST:4222"
            " or tls://…, TOKEN@ instead, commas between several servers; without it, nothing is published"
        ),
    ] = ""
    nats_credentials_file: Annotated[
        str, Meta(description="a file of credentials (.creds) to tell NATS who we are")
    ] = ""
    nats_ca_file: Annotated[
        str,
        Meta(
            description="the certificates of whom NATS' own are signed by, in PEM; without it, the system's"
        ),
    ] = ""
    nats_stream: Annotated[
        str,
        Meta(
            pattern=r"^[^\s.*>/\\]{1,255}\Z",
            description="the stream that signals are published to; made if it is not there",
        ),
    ] = "CLOUDSIGNAL"
    nats_subject: Annotated[
        str,
        Meta(
            pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\Z",
            max_length=100,
            description="what their subjects begin with; print partner and type follow",
        ),
    ] = "cloudsignal"
    nats_replicas: Annotated[
        int,
        Meta(ge=1, le=5, description="on how many servers of NATS a stream that is made is kept"),
    ] = 1
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Meta(description="how log lines look; auto is console on a terminal, else json"),
    ] = "auto"
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="the least important line shown"),
    ] = "info"
    refused_lines_per_minute: Annotated[
        int, Positive, Meta(description="how many refused posts are logged in a minute")
    ] = 120


class InForce(Struct, frozen=True):
    """The settings in force.

    ``sources`` has by name where those come from that are set: the flag, the variable, or the path of the file.
    """

    settings: Settings
    sources: dict[str, str]


class Setting(Struct, frozen=True):
    """What is known of one setting, read from its annotation."""

    name: str
    type: Any
    default: Any
    description: str
    secret: bool

    @property
    def variable(self) -> str:
        """The environment variable, such as ``CLOUDSIGNAL_QUEUE_MAX``."""
        return PREFIX + self.name.upper()

    @property
    def flag(self) -> str:
        """The flag of the command line, such as ``--queue-max``."""
        return flag_of(self.name)


def flag_of(name: str) -> str:
    """The flag of the setting of that name."""
    return "--" + name.replace("_", "-")


def declared() -> tuple[Setting, ...]:
    """Every setting in the order of its declaration."""
    hints = get_type_hints(Settings, include_extras=True)
    return tuple(
        _setting(name, hints[name], default)
        for name, default in zip(
            Settings.__struct_fields__, Settings.__struct_defaults__, strict=True
        )
    )


def _setting(name: str, hint: Any, default: Any) -> Setting:
    metas: tuple[Meta, ...] = hint.__metadata__
    description = next(meta.description for meta in metas if meta.description)
    secret = any((meta.extra or {}).get("secret", False) for meta in metas)
    return Setting(name, hint, default, description, secret)


Found = dict[str, tuple[str, Any]]
"""Of settings that are set, by name: where, and to what."""


def read(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> Settings:
    """The settings in force: flags that are not None, then the environment, then the TOML file.

    Raises SettingsError with a sentence for an unknown name, an unreadable file or a bad value.
    """
    return find(flags, environment, config).settings


def find(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
) -> InForce:
    """The same, with where each comes from."""
    environment = os.environ if environment is None else environment
    found = _from_file(config, environment) | _from_environment(environment) | _from_flags(flags)
    values = {name: value for name, (_, value) in found.items()}
    try:
        # TOML and flags bring types, the environment only texts: both are read leniently.
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_told(error)) from None
    _check(settings)
    return InForce(settings, {name: source for name, (source, _) in found.items()})


def _told(error: msgspec.ValidationError) -> str:
    """What is wrong, led by the name of the setting."""
    fault, _, path = str(error).partition(" - at `$.")
    name = path.rstrip("`")
    return f"the setting {name} is not what it must be: {fault}"


def _check(settings: Settings) -> None:
    """What a setting's type does not say. Raises SettingsError."""
    for name in ("trusted_proxies", "metrics_allow", "webhook_networks"):
        for text in getattr(settings, name):
            try:
                ip_network(text, strict=False)
            except ValueError:
                advice = "write 192.0.2.7 or 192.0.2.0/24"
                raise SettingsError(
                    f"the setting {name} is not what it must be: {text!r} is neither an address nor a"
                    f" network: {advice}"
                ) from None
    for text in settings.tracking_urls:
        if not TRACKING_URL.fullmatch(text):
            raise SettingsError(
                f"the setting tracking_urls is not what it must be: write {text!r} as a shipping option, an equals"
                " sign, and an address with {tracking} in it once: GLS=https://gls.example/{tracking}"
            )
    if settings.public_url and not PUBLIC_URL.fullmatch(settings.public_url):
        raise SettingsError(
            f"the setting public_url is not what it must be: write {settings.public_url!r} as https:// or http:// and"
            " the host, with a port if need be, and nothing behind it: https://signals.example.com"
        )
    _check_smtp(settings)
    # Only now: who sends signals needs no time zones, and starts the sooner.
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(settings.panel_timezone)
    except (KeyError, ValueError, OSError):
        raise SettingsError(
            f"the setting panel_timezone is not what it must be: {settings.panel_timezone!r} is no time zone: write"
            " UTC or one like Europe/Berlin"
        ) from None
    if settings.queue_max < settings.bundle_max:
        raise SettingsError(
            "the setting queue_max must be at least bundle_max, or large bundles never fit"
        )


def _from_flags(flags: Mapping[str, Any] | None) -> Found:
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    return {name: (flag_of(name), value) for name, value in given.items()}


def _check_smtp(settings: Settings) -> None:
    if settings.smtp_host and not MAIL_ADDRESS.fullmatch(settings.smtp_sender):
        raise SettingsError(
            "the setting smtp_sender is not what it must be: with smtp_host it is the address that mails come"
            " from, such as cloudsignal@example.com"
        )
    if settings.smtp_user and settings.smtp_tls == "none":
        raise SettingsError(
            "the setting smtp_tls is not what it must be: with smtp_user it is starttls or implicit, or the"
            " password could be read on the way"
        )


def _from_environment(environment: Mapping[str, str]) -> Found:
    # Here, because it is the command line's affair what a print partner can set, and not the server's.
    from cloudsignal.partner.profiles import VARIABLES

    settings = {setting.variable: setting for setting in declared()}
    found: Found = {}
    for variable, text in environment.items():
        if not variable.startswith(PREFIX) or variable in {CONFIG_VARIABLE, *VARIABLES}:
            continue
        setting = settings.get(variable) or settings.get(variable.removesuffix("_FILE"))
        if setting is None:
            raise SettingsError(f"{variable} is no setting: `cloudsignal settings` lists them all")
        if variable != setting.variable:
            text = _secret_of(setting, variable, text)
        value = parts(text) if isinstance(setting.default, tuple) else text
        found[setting.name] = variable, value
    return found


def _secret_of(setting: Setting, variable: str, path: str) -> str:
    if not setting.secret:
        raise SettingsError(f"{variable} is no setting: only a secret is read from a file")
    try:
        secret = Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"{variable}: {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {path} cannot be read: it is not text") from None
    if not secret:
        raise SettingsError(f"{variable}: {path} is empty")
    return secret


def parts(text: str) -> list[str]:
    """The parts of a list that is written with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _from_file(config: Path | None, environment: Mapping[str, str]) -> Found:
    path = config or (
        Path(environment[CONFIG_VARIABLE]) if CONFIG_VARIABLE in environment else None
    )
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not TOML: {error}") from None
    known = {setting.name for setting in declared()}
    for name in values:
        if name not in known:
            raise SettingsError(
                f"{path}: {name} is no setting: `cloudsignal settings` lists them all"
            )
    return {name: (str(path), value) for name, value in values.items()}
