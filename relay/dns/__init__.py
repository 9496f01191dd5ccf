"""The DNS: what it says of mail for a domain, and which records a domain has published."""

from relay.dns.records import RecordType
from relay.dns.resolver import MailExchange, Resolver

__all__ = ["MailExchange", "RecordType", "Resolver"]
