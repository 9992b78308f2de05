local id = argument()
local call = argument()
give_back(id, call) -- first: a full server then takes the rest
redis.call('SET', key('void', me, call), '1', 'PX', argument())
