-- Puts other orders in the place of those that were read, unless somebody else did meanwhile.
-- KEYS: prefix. ARGV: lane, the orders that were read ("": none), the new ones. Gives 1 when they stand, else 0.
local lanes = KEYS[1] .. ':lanes'
if (redis.call('HGET', lanes, ARGV[1]) or '') ~= ARGV[2] then
  return 0
end
redis.call('HSET', lanes, ARGV[1], ARGV[3])
return 1
