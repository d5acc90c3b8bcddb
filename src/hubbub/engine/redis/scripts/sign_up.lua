#!lua
-- with time vault moving change people
-- Make an account by a link, and use that once: secret, user, hash, display name, keys.
local secret, user, name = ARGV[2], ARGV[3], ARGV[5]
local link = find_link(secret, at)
if not link then
    return {at, 'NO_LINK'}
end
complete_looks()
if redis.call('HEXISTS', accounts, user) == 1 or is_taken(user, 6) then
    return {at, 'TAKEN'}
end
if link.uses > 1 then
    link.uses = link.uses - 1
    redis.call('HSET', links, secret, cjson.encode(link))
else
    redis.call('HDEL', links, secret)
end
redis.call('HSET', accounts, user, ARGV[4])
set_standing(user, link.role, false)
note_account(user)
put_name(user, name, 6)
note_change(at)
return {at, 'DONE'}
