"""What bounds templates, their variables and what is made of them. Without the library, which takes time to load."""

from __future__ import annotations

LONGEST_SUBJECT = 998  # characters, of the template's and of the one it makes (RFC 5322 section 2.1.1)
LONGEST_BODY = 256 << 10  # characters of a text or HTML template
LONGEST_MARKUP = 2000  # characters between {{ and }}, or {% and %}
MOST_MARKUP = 5000  # of these in a template
DEEPEST = 20  # blocks within blocks

MOST_VARIABLES = 256 << 10  # characters of all variables together, about
LONGEST_RESULT = 1 << 20  # characters of a rendered text or HTML, or of a value on the way to it
MOST_HELD = 2 << 20  # characters in all that a template has assigned and captured
LONGEST_RANGE = 10_000  # members of (1..n)
LONGEST_LIST = 20_000  # members of what `split` makes

# What filling in a template may cost. A step is about as much work as one variable takes, 1 to 2 microseconds.
STEPS = 100_000
SECONDS = 0.5  # of the processor
# The same for one that is filled in on the event loop: what needs more goes to a thread.
QUICK_STEPS = 2000
QUICK_SECONDS = 0.005
