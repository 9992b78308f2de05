-- All that is known of some jobs, each as one snapshot; false for one that is not known.
local function key(name, id)
  return KEYS[1] .. ':' .. name .. ':' .. id
end

local told = {}
for i, id in ipairs(ARGV) do
  local row = redis.call('HGETALL', key('job', id))
  told[i] = #row > 0 and {
    row, redis.call('GET', key('outcome', id)), redis.call('HGET', key('claim', id), 'owner'),
    redis.call('HGETALL', key('submissions', id)), redis.call('LRANGE', key('history', id), 0, -1),
  }
end
return told
