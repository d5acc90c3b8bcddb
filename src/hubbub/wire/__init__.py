"""Bytes to events and back: the only code that knows sockets and frames."""
