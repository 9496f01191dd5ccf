"""Webhooks: their rows, their outbox, the log of what was posted, and posting anew."""
