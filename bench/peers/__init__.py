"""One module a server: how it is started, and what it does where it is our own."""
