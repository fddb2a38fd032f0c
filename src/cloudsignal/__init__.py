"""A self-hosted system around the CloudSignal API 2.0."""

__version__ = "0.1.0"
