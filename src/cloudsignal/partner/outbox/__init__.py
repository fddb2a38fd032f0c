"""The outbox: signals are on disk at once, and sent when that is possible."""
