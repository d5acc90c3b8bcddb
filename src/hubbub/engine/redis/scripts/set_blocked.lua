#!lua
-- with time vault moving ending change people
-- Block or unblock an account.  The answer: the version, the sessions that ended, and why it was not done.
local user, is_blocked = ARGV[5], ARGV[6] == '1'
if redis.call('HEXISTS', accounts, user) == 0 then
    return {at, version(), {}, 'NO_ACCOUNT'}
end
if is_blocked and is_last_admin(user) then
    return {at, version(), {}, 'LAST_ADMIN'}
end
set_standing(user, standing_of(user), is_blocked)
if is_blocked then
    drop_links_of(user)
end
return {at, note_change(at), is_blocked and tell(end_all(user)) or {}}
