"""Who listens: the self-hosted CloudSignal 2.0 server."""
