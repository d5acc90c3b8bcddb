#!lua flags=no-writes
-- with time vault
-- The user of a live session, with its terms.
local at = time_of(facts, ARGV[1])
return {at, find_session(ARGV[2], at)}
