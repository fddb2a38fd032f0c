"""The JSON API: items, orders, the log, and the registration of orders."""

from cloudsignal.server.api.application import create

__all__ = ["create"]
