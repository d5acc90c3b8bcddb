-- What is kept of people.  A name looks like its keys (looks.py); that of an account is worked out here as there.
local function key_of_user(user)
    return (string.gsub(string.gsub(string.gsub(user, '0', 'o'), '1', 'l'), 'm', 'rn'))
end

local function note_look(key, user)
    redis.call('ZADD', looks, 0, key .. '\0' .. user)
end

-- A vault of an earlier version has accounts that are not among the looks yet.
local function complete_looks()
    if redis.call('HGET', facts, 'looks') == '1' then
        return
    end
    for _, user in ipairs(redis.call('HKEYS', accounts)) do
        note_look(key_of_user(user), user)
    end
    redis.call('HSET', facts, 'looks', 1)
end

-- Whether another account looks like any of the keys from a place in ARGV on.
local function is_taken(user, first)
    for place = first, #ARGV do
        local key = ARGV[place]
        for _, found in ipairs(redis.call('ZRANGEBYLEX', looks, '[' .. key .. '\0', '(' .. key .. '\1', 'LIMIT', 0, 2)) do
            if found ~= key .. '\0' .. user then
                return true
            end
        end
    end
    return false
end

-- The index is by key, and so is what is dropped: those of the account, and of the display name, which are beside it.
local function drop_looks(user)
    redis.call('ZREM', looks, key_of_user(user) .. '\0' .. user)
    local name = redis.call('HGET', names, user)
    if name then
        for _, key in ipairs(cjson.decode(name)[2]) do
            redis.call('ZREM', looks, key .. '\0' .. user)
        end
    end
end

local function note_account(user)
    local now = redis.call('TIME')
    redis.call('HDEL', names, user)  -- how whoever vouched for a user of that name has had it shown
    redis.call('HSET', sinces, user, string.format('%d', now[1] * 1000 + math.floor(now[2] / 1000)))
    note_look(key_of_user(user), user)
end

-- Have a user shown by a name whose keys are those from a place in ARGV on.
local function put_name(user, name, first)
    if name == '' then
        redis.call('HDEL', names, user)
        return
    end
    local keys = {}
    for place = first, #ARGV do
        keys[#keys + 1] = ARGV[place]
        note_look(ARGV[place], user)
    end
    redis.call('HSET', names, user, cjson.encode({name, keys}))
end

-- An open link by the hash of its secret; one that has ended is dropped.
local function find_link(secret, at)
    local found = redis.call('HGET', links, secret)
    if not found then
        return nil
    end
    local link = cjson.decode(found)
    if link.ends <= at then
        return nil
    end
    return link
end

-- All links: f(secret, link) for each.
local function each_link(f)
    local found = redis.call('HGETALL', links)
    for place = 1, #found, 2 do
        f(found[place], cjson.decode(found[place + 1]))
    end
end

local function drop_links_of(user)
    each_link(function(secret, link)
        if link.by == user then
            redis.call('HDEL', links, secret)
        end
    end)
end
