-- Counts a call's charges on all their meters, or on none.
-- ARGV: see `meters`; then of each charge: its meter's name, how much may be counted there already, its amount, its pace in us.
-- Gives {slot}, and if one of them does not fit also for each charge how long it must wait in us; 0: it fits.
local before = redis.call('GET', mark)
if before then
  return {tonumber(before) or slot} -- asked again: the first answer was lost on its way
end

local function leaves_at(meter, over)
  for number = meter.oldest, meter.newest do
    over = over - amount_of(meter, number)
    if over <= 0 then
      return (number + slots) * width
    end
  end
  return now
end

local answer, meters, full = {slot}, {}, false
for at = own, #ARGV, 4 do
  local meter = meter_of(ARGV[at])
  local wait = math.max(0, meter.paced_until - ahead - now)
  local over = meter.total - tonumber(ARGV[at + 1])
  if over > 0 then
    wait = math.max(wait, leaves_at(meter, over) - now)
  end
  full = full or wait > 0
  answer[#answer + 1] = wait
  meters[#meters + 1] = meter
end
if full then
  return answer
end
for index, meter in ipairs(meters) do
  local at = own + 4 * (index - 1)
  add(meter, slot, tonumber(ARGV[at + 2]))
  meter.paced_until = math.max(meter.paced_until, now) + tonumber(ARGV[at + 3])
  keep(meter)
end
redis.call('SET', mark, whole(slot), 'PX', kept)
return {slot}
