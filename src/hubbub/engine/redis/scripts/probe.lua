#!lua
-- Nothing, which a server that is full refuses.
return 1
