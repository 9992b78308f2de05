-- Counts what was really used in place of charges.
-- ARGV: see `meters`; then the slot in which they were counted, and of each charge: its meter's name, by how much its
-- amount changes, by how much the pace changes in us.
if redis.call('GET', mark) == 'settled' then
  return 0 -- told again: the first answer was lost on its way
end
redis.call('SET', mark, 'settled', 'PX', kept)
for at = own + 1, #ARGV, 3 do
  local meter, more = meter_of(ARGV[at]), tonumber(ARGV[at + 1])
  local number = more > 0 and slot or math.min(tonumber(ARGV[own]), slot)
  if number >= in_sight then
    meter.oldest = math.min(meter.oldest, number)
    add(meter, number, more)
  end
  meter.paced_until = meter.paced_until + tonumber(ARGV[at + 2])
  keep(meter)
end
return 1
