"""Tells receivers over HTTP what happened: rendered, signed, posted until it is taken."""
