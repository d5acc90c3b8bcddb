"""The servers that Hubbub is measured beside."""
