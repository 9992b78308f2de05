-- Make one step of dropping what has outlived its lifetime; tell how much it was.
local most = tonumber(argument())
local again_after = tonumber(argument())

local function drop(row, id)
  if row and row.state == 'open' then
    count_open(row.tier, -1)
  end
  drop_letter(id)
  redis.call(
    'UNLINK', key('job', id), key('submissions', id), key('history', id), key('outcome', id), key('body', id)
  )
  redis.call('ZREM', key('expiry'), id)
end

-- The dead are told from the living by their leases; this only keeps the list short. It comes first, since a full
-- server refuses a script whose first write could need memory, and then nothing would ever be dropped.
redis.call('ZREMRANGEBYSCORE', key('owners'), '-inf', server_now() - record_ttl)
local expired = redis.call('ZRANGEBYSCORE', key('expiry'), '-inf', now_text, 'LIMIT', 0, most)
for _, id in ipairs(expired) do
  local claim = claim_of(id)
  if claim and lives(claim) then
    expires(id, now + again_after)
  else
    if claim then
      remove(claim)
    end
    drop(load_row(id), id)
  end
end
return #expired
