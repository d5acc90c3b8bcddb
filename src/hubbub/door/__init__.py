"""A second door: clients and back ends that speak Centrifugo's protocol.

A channel of theirs is the room of the same name, an offset its seq.  Nothing here is loaded unless it is configured.
"""
