#!lua flags=allow-oom
-- with time vault moving change
-- Take an invitation back: user, room.
local user, room = ARGV[2], ARGV[3]
redis.call('ZREM', invited, room .. '\0' .. user)
redis.call('ZREM', invitations_of, user .. '\0' .. room)
return {at, note_change(at)}
