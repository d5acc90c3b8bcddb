#!lua flags=no-writes
-- with time vault people
-- All open links, as JSON, or that with a secret.
local at = time_of(facts, ARGV[1])
local answer = {at}
if ARGV[2] then
    local link = find_link(ARGV[2], at)
    answer[2] = link and cjson.encode(link)
    return answer
end
each_link(function(_, link)
    if link.ends > at then
        answer[#answer + 1] = cjson.encode(link)
    end
end)
return answer
