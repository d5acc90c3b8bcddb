#!lua flags=no-writes
-- The nodes that have a lease, and those that are being swept.  KEYS as for `lease`.
return {redis.call('ZRANGE', KEYS[2], 0, -1), redis.call('ZRANGE', KEYS[3], 0, -1)}
