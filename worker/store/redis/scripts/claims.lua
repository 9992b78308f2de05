-- Claims, by job.
--
-- `claim:<job>` tells who calls for a job, `taken:<key>` which job holds a claim key. So a job holds at most one
-- claim and a key is held at most once, also where two deliveries of a job disagree about sharing.

local function claim_of(id)
  local found = redis.call('HMGET', key('claim', id), 'owner', 'key', 'run', 'call', 'awaited', 'wanted_until',
    'closing')
  if not found[1] then
    return nil
  end
  return {
    job = id, owner = found[1], key = found[2], run = tonumber(found[3]), call = found[4], awaited = found[5],
    wanted_until = found[6], closing = found[7],
  }
end

-- Nobody can renew a lease while the server is away: one that ran out counts only when somebody has renewed within
-- a lease, and whoever judges has seen the server work for as long as one. `renew` writes both.
local function alive(owner)
  local lease_until = tonumber(redis.call('ZSCORE', key('owners'), owner) or nil)
  if not lease_until or lease_until > server_now() then
    return lease_until ~= nil
  end
  local renewed = tonumber(redis.call('GET', key('renewed')) or 0)
  local judges_from = tonumber(redis.call('GET', key('judges', me)) or nil)
  return renewed < server_now() - lease or not judges_from or judges_from > server_now()
end

local function lives(claim)
  return claim.owner == me or alive(claim.owner)
end

local function remove(claim)
  redis.call('DEL', key('claim', claim.job), key('taken', claim.key))
  if claim.closing then
    redis.call('SREM', key('closing', claim.owner), claim.job)
  end
  if claim.awaited then
    redis.call('PUBLISH', key('released'), claim.key)
  end
end

-- Remove a dead owner's claim; its job's history tells of the attempt that left no outcome.
local function take_over(claim)
  remove(claim)
  local row = load_row(claim.job)
  if row and row.run == claim.run then
    add_line(row, { what = 'taken over', attempt = row.attempts })
  end
end
