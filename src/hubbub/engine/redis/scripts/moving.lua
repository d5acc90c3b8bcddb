-- For a script that changes something.
local at = move_on(facts, ARGV[1])
