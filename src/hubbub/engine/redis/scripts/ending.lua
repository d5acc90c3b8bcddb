-- Ending sessions.  ARGV goes on with the command that publishes, the channel, and the caller's node.
local publish, channel, node = ARGV[2], ARGV[3], ARGV[4]

-- Sessions that one publication names.
local MOST_NAMED = 500

local function drop_session(session, user, ends)
    redis.call('HDEL', sessions, session)
    redis.call('ZREM', session_ends, session)
    redis.call('ZREM', sessions_of, member(user, ends, session))
end

local function drop_otp(otp, user, ends)
    redis.call('HDEL', otps, otp)
    redis.call('ZREM', otp_ends, otp)
    redis.call('ZREM', otps_of, member(user, ends, otp))
end

-- One-time passwords of a user: those of one session, or all.
local function drop_otps(user, session)
    for _, found in ipairs(redis.call('ZRANGEBYLEX', otps_of, '[' .. user .. '\0', '(' .. user .. '\1')) do
        local otp = name_of(user, found)
        local _, its_session = parts_of_otp(redis.call('HGET', otps, otp))
        if not session or its_session == session then
            drop_otp(otp, user, ends_of(user, found))
        end
    end
end

-- All sessions of a user, but one that is to be kept.
local function end_all(user, keep)
    local ended = {}
    if not keep then
        drop_otps(user, nil)
    end
    for _, found in ipairs(redis.call('ZRANGEBYLEX', sessions_of, '[' .. user .. '\0', '(' .. user .. '\1')) do
        local ends, session = ends_of(user, found), name_of(user, found)
        if session ~= keep then
            if keep then
                drop_otps(user, session)
            end
            drop_session(session, user, ends)
            if ends > at then
                ended[#ended + 1] = session
            end
        end
    end
    return ended
end

local function tell(ended)
    for first = 1, #ended, MOST_NAMED do
        local last = math.min(first + MOST_NAMED - 1, #ended)
        redis.call(publish, channel, node .. '\0' .. table.concat(ended, '\0', first, last))
    end
    return ended
end
