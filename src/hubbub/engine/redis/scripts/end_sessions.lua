#!lua flags=allow-oom
-- with time vault moving ending
-- End all sessions of a user.
return {at, tell(end_all(ARGV[5]))}
