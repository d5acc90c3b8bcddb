#!lua flags=allow-oom
-- Write who has come and gone in rooms of a partition, on one node.
-- KEYS: the node's part of the partition, and the nodes that have one; then for each room who is in it on which node (user NUL node), and how many
-- users there are.  ARGV: the node, the number of the batch before, that of this one, the command that publishes; then
-- for each room its name, its channel, the number of changes, and the changes, in their order: +user, -user.
-- The node's part has `room NUL user`, all with score 0, and under '' the number of the last batch.  A batch that
-- another one was before than the caller knows changes nothing: it was written already, or something was lost.
-- The answer: the number of the last batch before.
local part, node, number, publish = KEYS[1], ARGV[1], tonumber(ARGV[3]), ARGV[4]
local last = tonumber(redis.call('ZSCORE', part, '') or 0)
if last ~= tonumber(ARGV[2]) then
    return last
end
redis.call('ZADD', part, number, '')
if last == 0 then
    redis.call('SADD', KEYS[2], node)
end

local function is_anywhere(users, user)
    return #redis.call('ZRANGEBYLEX', users, '[' .. user .. '\0', '(' .. user .. '\1', 'LIMIT', 0, 1) > 0
end

local place, key = 5, 3
while place <= #ARGV do
    local room, channel, count = ARGV[place], ARGV[place + 1], tonumber(ARGV[place + 2])
    local users, total = KEYS[key], KEYS[key + 1]
    local told = {}
    for change = place + 3, place + 2 + count do
        local sign, user = string.sub(ARGV[change], 1, 1), string.sub(ARGV[change], 2)
        local before = is_anywhere(users, user)
        if sign == '+' then
            redis.call('ZADD', part, 0, room .. '\0' .. user)
            redis.call('ZADD', users, 0, user .. '\0' .. node)
            if not before then
                redis.call('INCR', total)
                told[#told + 1] = ARGV[change]
            end
        else
            redis.call('ZREM', part, room .. '\0' .. user)
            redis.call('ZREM', users, user .. '\0' .. node)
            if before and not is_anywhere(users, user) then
                if redis.call('DECR', total) <= 0 then
                    redis.call('DEL', total)
                end
                told[#told + 1] = ARGV[change]
            end
        end
    end
    if #told > 0 then
        redis.call(publish, channel, table.concat(told, '\0'))
    end
    place, key = place + 3 + count, key + 2
end
return last
