#!lua
-- Move read marks on, never back.  KEYS: for each mark the room's marks, and the rooms that the user has marks in.
-- ARGV: for each mark the user, the room, and the seq.  The answer: how far each is now.
local furthest = {}
for mark = 1, #KEYS / 2 do
    local marks, rooms = KEYS[2 * mark - 1], KEYS[2 * mark]
    local user, room, seq = ARGV[3 * mark - 2], ARGV[3 * mark - 1], tonumber(ARGV[3 * mark])
    local known = tonumber(redis.call('HGET', marks, user) or 0)
    if seq > known then
        redis.call('HSET', marks, user, seq)
        if known == 0 then
            redis.call('SADD', rooms, room)
        end
    end
    furthest[mark] = math.max(seq, known)
end
return furthest
