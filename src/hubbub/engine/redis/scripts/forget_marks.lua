#!lua flags=allow-oom
-- Forget read marks.  KEYS and ARGV as for `mark`, without seqs.
for mark = 1, #KEYS / 2 do
    redis.call('HDEL', KEYS[2 * mark - 1], ARGV[2 * mark - 1])
    redis.call('SREM', KEYS[2 * mark], ARGV[2 * mark])
end
return #KEYS / 2
