#!lua flags=no-writes
-- Some of those who follow a room.  KEYS: they.  ARGV: after whom ('' for the first ones), and how many.
return redis.call('ZRANGEBYLEX', KEYS[1], ARGV[1] == '' and '-' or '(' .. ARGV[1], '+', 'LIMIT', 0, ARGV[2])
