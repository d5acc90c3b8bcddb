#!lua flags=allow-oom
-- with time vault moving ending
-- End a session.
local session = ARGV[5]
local known = redis.call('HGET', sessions, session)
local ended = {}
if known then
    local user = whose(known)
    local ends = tonumber(redis.call('ZSCORE', session_ends, session))
    drop_otps(user, session)
    drop_session(session, user, ends)
    if ends > at then
        ended[1] = session
    end
end
return {at, tell(ended)}
