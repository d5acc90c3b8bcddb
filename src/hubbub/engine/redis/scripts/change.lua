-- The version of who may do what.  It rises with each change, and not only by one: where changes were lost with a
-- server, those after them get versions that no node has seen.
local function version()
    return tonumber(redis.call('HGET', facts, 'access') or 0)
end

local function note_change(at)
    local raised = math.max(version() + 1, at)
    redis.call('HSET', facts, 'access', raised)
    return raised
end

-- A user's role and whether it is blocked (with a ! after it); none is kept for a member.
local function standing_of(user)
    local standing = redis.call('HGET', standings, user) or 'member'
    local role = string.gsub(standing, '!', '')
    return role, role ~= standing
end

local function set_standing(user, role, is_blocked)
    if role == 'member' and not is_blocked then
        redis.call('HDEL', standings, user)
    else
        redis.call('HSET', standings, user, role .. (is_blocked and '!' or ''))
    end
    redis.call(role == 'admin' and not is_blocked and 'SADD' or 'SREM', admins, user)
end

local function is_last_admin(user)
    return redis.call('SISMEMBER', admins, user) == 1 and redis.call('SCARD', admins) == 1
end
