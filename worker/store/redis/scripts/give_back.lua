local id = argument()
local call = argument()
redis.call('SET', key('void', me, call), '1', 'PX', argument())
give_back(id, call)
