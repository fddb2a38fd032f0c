"""The JSON API for those who read: items, orders, the log."""

from cloudsignal.server.api.application import create

__all__ = ["create"]
