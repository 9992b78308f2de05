-- Keeps an entry, dropping at most so many others for its room. Gives 1 when it is kept, else 0.
-- ARGV: fingerprint, size, most bytes of all, most to drop, now, end of life, both in us, life in ms, entry.
local fingerprint, size, room, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
drop(fingerprint)
bury(ARGV[5], most)
if bytes() + size > room then
  for _, oldest in ipairs(redis.call('ZRANGE', used, 0, most - 1)) do
    drop(oldest)
    if bytes() + size <= room then
      break
    end
  end
end
if bytes() + size > room then
  return 0
end
redis.call('SET', base .. ':=' .. fingerprint, ARGV[8], 'PX', ARGV[7])
redis.call('HSET', sizes, fingerprint, ARGV[2])
redis.call('HINCRBY', sizes, '', size)
redis.call('ZADD', used, ARGV[5], fingerprint)
redis.call('ZADD', ends, ARGV[6], fingerprint)
return 1
