#!lua flags=allow-oom
-- End a node's part of a partition (attend.lua), unless there is still something in it.  A batch of the node's that
-- comes late finds a number that none follows; the server's wall clock matters only for how long.
-- KEYS: the part, and the nodes that have one in the partition; ARGV: the node.
if redis.call('ZCOUNT', KEYS[1], 0, 0) > 0 then
    return 0
end
redis.call('SREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
redis.call('ZADD', KEYS[1], 9007199254740991, '')
redis.call('PEXPIRE', KEYS[1], 600000)
return 1
