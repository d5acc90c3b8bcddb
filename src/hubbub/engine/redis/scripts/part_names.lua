#!lua flags=no-writes
-- The nodes that have a part of a partition.  KEYS: the set of them.
return redis.call('SMEMBERS', KEYS[1])
