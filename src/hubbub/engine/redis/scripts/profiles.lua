#!lua flags=no-writes
-- with time vault
-- What is known of users: for each that has an account, or is shown by another name, its name, that, its standing and
-- since when.
local answer = {time_of(facts, ARGV[1])}
for place = 2, #ARGV do
    local user = ARGV[place]
    local name = redis.call('HGET', names, user)
    if name or redis.call('HEXISTS', accounts, user) == 1 then
        local shown = name and cjson.decode(name)[1] or ''
        local standing = redis.call('HGET', standings, user) or 'member'
        answer[#answer + 1] = {user, shown, standing, redis.call('HGET', sinces, user)}
    end
end
return answer
