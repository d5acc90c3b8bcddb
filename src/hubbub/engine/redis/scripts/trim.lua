#!lua flags=allow-oom
-- with age
-- Drops what has grown too old in rooms that nobody reads, some of it at a time.
-- KEYS: l
-- ARGV: drop what was sent before
-- Returns how many messages are still too old.
local expired = count_expired(KEYS[1], redis.call('LLEN', KEYS[1]), tonumber(ARGV[1]))
return expired - drop_expired(KEYS[1], expired)
