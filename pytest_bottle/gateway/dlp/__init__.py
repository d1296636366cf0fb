"""The search for secrets in what would leave a bottle: bodies, addresses, commits."""
