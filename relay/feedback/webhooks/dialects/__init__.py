"""The forms of webhooks, each one module of what is said and of the headers it is said with."""
