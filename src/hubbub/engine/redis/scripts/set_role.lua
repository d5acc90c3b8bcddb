#!lua
-- with time vault moving change
-- Give an account another role.  The answer: the version, and why it was not done.
local user, role = ARGV[2], ARGV[3]
if redis.call('HEXISTS', accounts, user) == 0 then
    return {at, version(), 'NO_ACCOUNT'}
end
if role ~= 'admin' and is_last_admin(user) then
    return {at, version(), 'LAST_ADMIN'}
end
local _, is_blocked = standing_of(user)
set_standing(user, role, is_blocked)
return {at, note_change(at)}
