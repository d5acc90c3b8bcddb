#!lua flags=no-writes
-- with time vault
-- An account: the hash of its password, and its standing.
return {time_of(facts, ARGV[1]), redis.call('HGET', accounts, ARGV[2]), redis.call('HGET', standings, ARGV[2])}
