#!lua
-- with time vault moving change people
-- Keep a link: secret, lifetime, the link as JSON, how many there may be in all and of one user.  The answer: why not.
local secret, link = ARGV[2], cjson.decode(ARGV[4])
if link.by ~= '' then
    local _, is_blocked = standing_of(link.by)
    if is_blocked or redis.call('HEXISTS', accounts, link.by) == 0 then
        return {at, 'NO_ACCOUNT'}
    end
end
local in_all, of_user = 0, 0
each_link(function(other, found)
    if found.ends <= at then
        redis.call('HDEL', links, other)
    else
        in_all = in_all + 1
        of_user = of_user + (found.by == link.by and 1 or 0)
    end
end)
if in_all >= tonumber(ARGV[5]) or (link.by ~= '' and of_user >= tonumber(ARGV[6])) then
    return {at, 'TOO_MANY'}
end
link.ends = at + tonumber(ARGV[3])
redis.call('HSET', links, secret, cjson.encode(link))
return {at, ''}
