#!lua
-- with time vault moving ending change people
-- Add an account, or change its password: user, hash, role, and 1 for one that is blocked.
local user = ARGV[5]
if redis.call('HSET', accounts, user, ARGV[6]) == 1 then
    set_standing(user, ARGV[7], ARGV[8] == '1')
    note_account(user)
end
note_change(at)
return {at, tell(end_all(user))}
