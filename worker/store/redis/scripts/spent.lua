-- Counts what was spent instead of what was reserved. KEYS: prefix. ARGV: reservation, amount ("": what was reserved).
local base, reservation = KEYS[1] .. ':pot:', KEYS[1] .. ':reserved:' .. ARGV[1]
local found = redis.call('HMGET', reservation, 'amount', 'pots')
if not found[1] then
  return 0 -- settled before
end
redis.call('DEL', reservation)
for _, name in ipairs(cjson.decode(found[2])) do
  local pot = base .. name
  local sums = redis.call('HMGET', pot, 'spent', 'reserved')
  if sums[1] or sums[2] then
    redis.call('HSET', pot,
      'spent', plus(sums[1] or '0', ARGV[2] == '' and found[1] or ARGV[2]),
      'reserved', minus(sums[2] or '0', found[1]))
  end
end
return 1
