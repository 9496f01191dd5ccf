"""All SQL: the schema, the one writer, and what is read and written."""
