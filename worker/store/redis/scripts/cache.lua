-- The cache's bookkeeping. An entry is a string that the server lets expire; these know how much room the entries take:
--   cache:sizes  bytes by fingerprint, "" their sum     cache:used  last use     cache:until  end of life
local base = KEYS[1] .. ':cache'
local sizes, used, ends = base .. ':sizes', base .. ':used', base .. ':until'

local function bytes()
  return tonumber(redis.call('HGET', sizes, '') or '0')
end

local function drop(fingerprint)
  local size = redis.call('HGET', sizes, fingerprint)
  if size then
    redis.call('HINCRBY', sizes, '', -tonumber(size))
    redis.call('HDEL', sizes, fingerprint)
  end
  redis.call('ZREM', used, fingerprint)
  redis.call('ZREM', ends, fingerprint)
  redis.call('UNLINK', base .. ':=' .. fingerprint)
end

-- Drops at most so many entries whose life has ended; tells how many.
local function bury(now, most)
  local dead = redis.call('ZRANGEBYSCORE', ends, '-inf', now, 'LIMIT', 0, most)
  for _, fingerprint in ipairs(dead) do
    drop(fingerprint)
  end
  return #dead
end
