"""A trial of several nodes and a Redis on this machine, for development and tests."""
