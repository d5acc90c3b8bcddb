-- All of the vault has the same keys, in this order (vault.py says what is in them), and the caller's time first.
local facts, sessions, session_ends, sessions_of, otps, otp_ends, otps_of,
    accounts, standings, admins, setup, invited, invitations_of, closed,
    names, sinces, looks, links, api_keys, api_key_names = unpack(KEYS)

-- Members of an index: all of a user's are side by side, in the order of their ends.
local function member(user, ends, name)
    return user .. '\0' .. string.format('%016d', ends) .. '\0' .. name
end

-- Those of a user that end after a moment.
local function live_range(user, at)
    return '[' .. user .. '\0' .. string.format('%016d', at + 1), '(' .. user .. '\1'
end

local function ends_of(user, found)
    return tonumber(string.sub(found, #user + 2, #user + 17))
end

local function name_of(user, found)
    return string.sub(found, #user + 19)
end

-- A session's user, which its terms may follow.
local function whose(record)
    return string.match(record, '^[^%z]*')
end

-- What is kept of a live session.
local function find_session(session, at)
    local ends = redis.call('ZSCORE', session_ends, session)
    return ends and tonumber(ends) > at and redis.call('HGET', sessions, session)
end

-- A one-time password's user, its session, whether that is not kept here ('outside'), and its terms.
local function parts_of_otp(record)
    return string.match(record, '^([^%z]*)%z([^%z]*)%z?([^%z]*)%z?(.*)$')
end
