"""The management API: tenants, SES accounts, domains, keys, suppressions and figures, each in a module of its noun."""

from relay.http.management.table import ROUTES, endpoints

__all__ = ["ROUTES", "endpoints"]
