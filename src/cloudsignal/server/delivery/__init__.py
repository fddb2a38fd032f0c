"""How order owners are told: webhooks, posted to their endpoints. And how other systems are: streams."""
