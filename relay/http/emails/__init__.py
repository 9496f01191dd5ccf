"""The native API of messages: sending them, looking at them, moving them."""
