"""Reads what a mail must say of the calendar text it carries (RFC 6047)."""

from __future__ import annotations

import re

# No scheduling must be assumed of a text without METHOD (RFC 5545 section 3.7.2): it is shown, and no reply is asked.
DEFAULT = "PUBLISH"
FILENAME = "invite.ics"
FILE_TYPE = "application/ics"  # as text/calendar, some clients would show the invitation a second time

_FOLDED = re.compile(r"\r?\n[ \t]")
_METHOD = re.compile(r"^METHOD(?:;[^:\r\n]*)?:[ \t]*([A-Za-z0-9-]{1,32})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_COMPONENT = re.compile(r"^BEGIN:(?!VCALENDAR)", re.IGNORECASE | re.MULTILINE)


def method_of(calendar: str) -> str:
    """METHOD of iCalendar text, in upper case. It is one of the calendar's own properties, before any component."""
    text = calendar
    if component := _COMPONENT.search(calendar):
        text = calendar[: component.start()]
    found = _METHOD.search(_FOLDED.sub("", text))
    return found[1].upper() if found else DEFAULT
