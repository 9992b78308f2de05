-- A meter as it is now, for `take` and `settle`.
-- KEYS: prefix. ARGV: number of the take, now in us ("": the server's), span to keep in ms, a slot in us, the slots in
-- sight, how far the pace may be ahead in us, the longest a charge takes of it in us; then the script's own, from `own` on.
-- A meter is a hash: the amount of each slot in sight by its number, the sum of them as `total`, the range of their
-- numbers as `oldest` and `newest`, and `paced_until`.
local mark, now = KEYS[1] .. ':taken:' .. ARGV[1], tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
local kept, width, slots = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local ahead, longest = tonumber(ARGV[6]), tonumber(ARGV[7])
local own = 8
local slot = math.floor(now / width)
local in_sight = slot - slots + 1

local function whole(number)
  return string.format('%.0f', number)
end

local function keep(meter)
  redis.call('HSET', meter.key, 'oldest', whole(meter.oldest), 'newest', whole(meter.newest),
    'total', whole(meter.total), 'paced_until', whole(meter.paced_until))
  redis.call('PEXPIRE', meter.key, kept)
end

local function amount_of(meter, number)
  return tonumber(redis.call('HGET', meter.key, whole(number)) or 0)
end

local function add(meter, number, amount)
  local had = amount_of(meter, number)
  local has = math.max(0, had + amount)
  redis.call('HSET', meter.key, whole(number), whole(has))
  meter.total = meter.total + has - had
end

local function drop(meter, number)
  meter.total = meter.total - amount_of(meter, number)
  redis.call('HDEL', meter.key, whole(number))
end

local function meter_of(name)
  local key = KEYS[1] .. ':meter:' .. name
  local known = redis.call('HMGET', key, 'oldest', 'newest', 'total', 'paced_until')
  local meter = {
    key = key, oldest = tonumber(known[1] or slot), newest = tonumber(known[2] or slot),
    total = tonumber(known[3] or 0), paced_until = tonumber(known[4] or 0),
  }
  -- Where the clock was put back, what lies ahead of it counts as of now, so that nobody waits for longer than a span.
  meter.paced_until = math.min(meter.paced_until, now + ahead + longest)
  for number = math.max(meter.oldest, slot + 1), meter.newest do
    local amount = amount_of(meter, number)
    drop(meter, number)
    add(meter, slot, amount)
  end
  for number = meter.oldest, math.min(meter.newest, in_sight - 1) do
    drop(meter, number)
  end
  local changed = meter.newest ~= slot
  meter.oldest = math.min(math.max(meter.oldest, in_sight), slot)
  meter.newest = slot
  if known[1] and changed then
    keep(meter)
  end
  return meter
end
