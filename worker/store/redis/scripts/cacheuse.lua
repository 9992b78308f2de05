-- Notes a use of an entry that is still there. ARGV: fingerprint, now in us.
local entry = base .. ':=' .. ARGV[1]
if redis.call('EXISTS', entry) == 1 then
  redis.call('HSET', entry, 'used', ARGV[2])
  redis.call('ZADD', used, 'XX', ARGV[2], ARGV[1])
end
