-- The dead letters of some jobs, each with what its job says; false for one that is gone.
local function key(name, id)
  return KEYS[1] .. ':' .. name .. ':' .. id
end

local told = {}
for i, id in ipairs(ARGV) do
  local letter = redis.call('HGETALL', key('letter', id))
  told[i] = #letter > 0 and {
    redis.call('HGETALL', key('job', id)), letter, redis.call('LRANGE', key('history', id), 0, -1),
  }
end
return told
