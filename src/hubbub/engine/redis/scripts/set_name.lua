#!lua
-- with time vault moving people
-- Keep how a user is shown: user, name, keys.  The answer: whether it is kept, '' where there is no account.
local user, name = ARGV[2], ARGV[3]
if redis.call('HEXISTS', accounts, user) == 0 then
    return {at, ''}
end
complete_looks()
if is_taken(user, 4) then
    return {at, 0}
end
drop_looks(user)
note_look(key_of_user(user), user)
put_name(user, name, 4)
return {at, 1}
