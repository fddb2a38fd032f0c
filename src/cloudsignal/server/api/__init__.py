"""The JSON API: items, orders, the log, the registration of orders, endpoints and deliveries."""

from cloudsignal.server.api.application import create

__all__ = ["create"]
