"""How order owners are told: webhooks, posted to their endpoints."""
