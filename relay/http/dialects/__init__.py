"""The request formats that are spoken here, each one module of reading, accepting and refusing."""
