"""The engine on Redis 7 or later, or Valkey: one server, one with Sentinel, or a cluster.

Several processes on several machines share it.  `target` reads the URL, `servers` finds the masters and looks whether
they can be used, `keys` names what is kept; `calls` runs scripts there, which are the files in `scripts`.
"""
