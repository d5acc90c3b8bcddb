-- The time that all nodes share (steady.py): the larger one of what is kept and what the caller takes it to be.
local function time_of(facts, estimate)
    return math.max(tonumber(redis.call('HGET', facts, 'at') or 0), tonumber(estimate))
end

local function move_on(facts, estimate)
    local at = time_of(facts, estimate)
    redis.call('HSET', facts, 'at', at)
    return at
end
