"""The rows that the configuration file declares, and so owns: what it would change of them, and the change."""

from relay.management.declaring.applying import apply, plan
from relay.management.declaring.plan import Change, Plan, Verb

__all__ = ["Change", "Plan", "Verb", "apply", "plan"]
