#!lua flags=no-writes
-- with time vault
return {time_of(facts, ARGV[1]), redis.call('HLEN', accounts)}
