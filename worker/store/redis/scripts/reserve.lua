-- Counts an amount in several pots, or in none when one has no room for it.
-- KEYS: prefix. ARGV: reservation, amount, now and its span of life in ms, then of each pot: its name, the most that
-- may be in it, its span of life in ms. Gives {1}, or {0, what is spent and what is reserved in each pot}.
local base = KEYS[1] .. ':pot:'
local now, reservation, amount = tonumber(ARGV[3]), KEYS[1] .. ':reserved:' .. ARGV[1], ARGV[2]
if redis.call('EXISTS', reservation) == 1 then
  return {1} -- asked again: the first answer was lost on its way
end
local answer, full = {0}, false
for each = 5, #ARGV, 3 do
  local sums = redis.call('HMGET', base .. ARGV[each], 'spent', 'reserved')
  local spent, reserved = sums[1] or '0', sums[2] or '0'
  local taken = plus(spent, reserved)
  answer[#answer + 1] = spent
  answer[#answer + 1] = reserved
  full = full or (amount ~= '0' and shorter_or_less(ARGV[each + 1], plus(taken, amount)))
end
if full then
  return answer
end
local names, pots = {}, KEYS[1] .. ':pots'
for each = 5, #ARGV, 3 do
  local pot, life = base .. ARGV[each], ARGV[each + 2]
  redis.call('HSET', pot, 'reserved', plus(redis.call('HGET', pot, 'reserved') or '0', amount))
  redis.call('PEXPIRE', pot, life)
  redis.call('ZADD', pots, string.format('%.0f', now + tonumber(life)), ARGV[each])
  names[#names + 1] = ARGV[each]
end
redis.call('HSET', reservation, 'amount', amount, 'pots', cjson.encode(names))
redis.call('PEXPIRE', reservation, ARGV[4])
redis.call('ZREMRANGEBYSCORE', pots, '-inf', ARGV[3])
return {1}
