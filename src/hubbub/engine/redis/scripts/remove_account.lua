#!lua flags=allow-oom
-- with time vault moving ending change people
-- Remove an account, and what is its user's; the answer begins with whether there was one.
local user = ARGV[5]
if redis.call('HDEL', accounts, user) == 0 then
    return {at, 0, {}}
end
set_standing(user, 'member', false)
for _, found in ipairs(redis.call('ZRANGEBYLEX', invitations_of, '[' .. user .. '\0', '(' .. user .. '\1')) do
    redis.call('ZREM', invitations_of, found)
    redis.call('ZREM', invited, string.sub(found, #user + 2) .. '\0' .. user)
end
drop_looks(user)
redis.call('HDEL', names, user)
redis.call('HDEL', sinces, user)
drop_links_of(user)
note_change(at)
return {at, 1, tell(end_all(user))}
