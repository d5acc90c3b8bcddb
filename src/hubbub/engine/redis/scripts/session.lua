#!lua flags=no-writes
-- with time vault
-- The user of a live session.
local at = time_of(facts, ARGV[1])
return {at, find_user(ARGV[2], at)}
