#!lua flags=allow-oom
-- with time vault moving change
-- Open a room that is not to be deleted.
if redis.call('HGET', closed, ARGV[2]) ~= '1' then
    redis.call('HDEL', closed, ARGV[2])
end
return {at, note_change(at)}
