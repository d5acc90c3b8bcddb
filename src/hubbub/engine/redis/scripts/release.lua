#!lua flags=allow-oom
-- with time
-- End a node's lease: its users are out of all rooms.  KEYS as for `lease`; ARGV: the caller's time, the node.
local at = move_on(KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('ZREM', KEYS[3], ARGV[2])
redis.call('ZADD', KEYS[4], at, ARGV[2])
return {at}
