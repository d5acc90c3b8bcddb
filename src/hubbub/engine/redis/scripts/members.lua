#!lua flags=no-writes
-- The users in rooms of a partition: their number, and the first ones in the order of their bytes.
-- KEYS: for each room, who is in it on which node (user NUL node), and how many users there are.  ARGV: the most names
-- of a room.
local limit = tonumber(ARGV[1])

local function first(users)
    local names, from = {}, '-'
    while #names < limit do
        local found = redis.call('ZRANGEBYLEX', users, from, '+', 'LIMIT', 0, limit - #names)
        if #found == 0 then
            break
        end
        for _, entry in ipairs(found) do
            local user = string.match(entry, '^[^%z]*')
            if user ~= names[#names] then
                names[#names + 1] = user
            end
        end
        from = '(' .. found[#found]
    end
    return names
end

local answer = {}
for place = 1, #KEYS, 2 do
    answer[#answer + 1] = {tonumber(redis.call('GET', KEYS[place + 1]) or 0), first(KEYS[place])}
end
return answer
