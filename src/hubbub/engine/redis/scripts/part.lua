#!lua flags=no-writes
-- A node's part of a partition (attend.lua): the number of its last batch, and some of the entries.
-- KEYS: the part; ARGV: how many entries to leave out, and how many to give.
return {
    tonumber(redis.call('ZSCORE', KEYS[1], '') or 0),
    redis.call('ZRANGEBYSCORE', KEYS[1], 0, 0, 'LIMIT', ARGV[1], ARGV[2]),
}
