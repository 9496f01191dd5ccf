"""Examines an installation from beside the server: what is looked at, how it is, and how to mend what is not well."""
