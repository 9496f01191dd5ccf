"""The management API: tenants, SES accounts, domains, keys and so on, each in a module of its noun; events, figures."""

from relay.http.management.table import ROUTES, endpoints

__all__ = ["ROUTES", "endpoints"]
