"""Relay: a self-hosted bridge from SMTP and HTTP to Amazon SES."""

__version__ = "0.1.0"
