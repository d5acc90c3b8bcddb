#!lua flags=no-writes
-- What a user follows: rooms, each with 1 where it is muted.  KEYS: it.
return redis.call('HGETALL', KEYS[1])
