#!lua flags=no-writes
-- with time vault
-- Which of the sessions in ARGV live: their places, from 0.
local at = time_of(facts, ARGV[1])
local found = {}
for place, ends in ipairs(redis.call('ZMSCORE', session_ends, unpack(ARGV, 2))) do
    if ends and tonumber(ends) > at then
        found[#found + 1] = place - 1
    end
end
return {at, found}
