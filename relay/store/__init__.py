"""All SQL: the schema, the one writer, and what is read and written. Others pass a `Connection` on, and no more."""

from sqlalchemy import Connection

__all__ = ["Connection"]
