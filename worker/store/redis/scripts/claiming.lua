-- A job's own claim, and the answers that ended claims leave for those who followed them.

-- Give a living claim of the job or its key; remove those of the dead.
local function in_the_way()
  local holder = redis.call('GET', key('taken', job.claim_key))
  for _, id in ipairs(holder and holder ~= job.id and { holder, job.id } or { job.id }) do
    local claim = claim_of(id)
    if claim and lives(claim) then
      return claim
    end
    if claim then
      take_over(claim)
    end
  end
  return nil
end

local function take(row, call)
  redis.call('HSET', key('claim', row.id), 'owner', me, 'key', job.claim_key, 'run', row.run, 'call', call)
  redis.call('SET', key('taken', job.claim_key), row.id)
  -- No call starts under a lease that has run out: a process that was suspended may begin before it renews. And a
  -- server that has lost its data knows of no lease before the next renewal.
  redis.call('ZADD', key('owners'), server_now() + lease, me)
end

-- Note that the claim's call is wanted until this job's deadline, and whether it is another job's.
local function want(claim)
  local fields = { 'wanted_until', later(claim.wanted_until, job.deadline) }
  if claim.job ~= job.id then
    fields[3], fields[4] = 'followed', '1'
  end
  redis.call('HSET', key('claim', claim.job), unpack(fields))
end

local function leave_answer(row)
  local left = table.concat({ row.run, text(server_now()), row.id }, ' ')
  redis.call('SET', key('answer', job.claim_key), left, 'PX', milliseconds(answer_ttl))
end

-- Give the run that ended last under the job's claim key.
local function last_answer()
  local left = job.dedupe ~= 'off' and redis.call('GET', key('answer', job.claim_key))
  if not left then
    return nil
  end
  local run, ended_at, id = string.match(left, '^(%d+) (%d+) (.*)$')
  if tonumber(ended_at) <= server_now() - answer_ttl then
    return nil
  end
  return { job = id, run = tonumber(run), ended_at = tonumber(ended_at) }
end
