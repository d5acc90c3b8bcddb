#!lua flags=allow-oom
-- with time vault moving people
-- End a link by its id; whether one was open.
local was_open = 0
each_link(function(secret, link)
    if link.id == ARGV[2] then
        redis.call('HDEL', links, secret)
        was_open = link.ends > at and 1 or 0
    end
end)
return {at, was_open}
