#!lua flags=no-writes
-- with time vault change
-- A page of each list that is asked for: the number of entries to a page, then for each list its name and where the
-- page before has ended ('' at first).  The answer: the version, and for each list where the page ends ('' where it is
-- the last one) and the entries.
local function page_of_hash(key, cursor, count, has_values)
    local found = redis.call('HSCAN', key, cursor == '' and 0 or cursor, 'COUNT', count)
    local entries = {}
    for place = 1, #found[2], 2 do
        entries[#entries + 1] = found[2][place]
        if has_values then
            entries[#entries + 1] = found[2][place + 1]
        end
    end
    return {found[1] == '0' and '' or found[1], entries}
end

local function page_of_index(key, last, count)
    local found = redis.call('ZRANGEBYLEX', key, last == '' and '-' or '(' .. last, '+', 'LIMIT', 0, count)
    return {#found == tonumber(count) and found[#found] or '', found}
end

local answer = {time_of(facts, ARGV[1]), version()}
for place = 3, #ARGV, 2 do
    local list, from = ARGV[place], ARGV[place + 1]
    if list == 'accounts' then
        answer[#answer + 1] = page_of_hash(accounts, from, ARGV[2], false)
    elseif list == 'standings' then
        answer[#answer + 1] = page_of_hash(standings, from, ARGV[2], true)
    elseif list == 'closed' then
        answer[#answer + 1] = page_of_hash(closed, from, ARGV[2], true)
    else
        answer[#answer + 1] = page_of_index(invited, from, ARGV[2])
    end
end
return answer
