local call = argument()
local max_attempts = tonumber(argument())
local distrusted = argument()

local function tally(what, row)
  return { what, row.attempts, row.calls, row.refusals, row.snoozes, row.spent, row.unpriced }
end

-- Give the outcome that an ended claim of the key left for this job.
--
-- A failure, or for `inflight` any outcome, is shared only with those who waited for it: it must have ended since
-- this run was first received. So a replay is never answered with the failure that it is to mend. The answer of a
-- model to fall back to is theirs alone too, also for `cache`: nobody asked for that model.
local function answered(row)
  local answer = last_answer()
  local leader = answer and answer.job ~= distrusted and load_row(answer.job)
  if not leader or leader.state == 'open' or leader.run ~= answer.run then
    return nil
  end
  local waited = answer.ended_at >= tonumber(row.seen_at)
  local outcome, body = outcome_of(leader)
  local completed = leader.state == 'completed'
  if not outcome or (completed and not body) then
    return nil
  end
  if not waited and not (completed and job.dedupe == 'cache' and not cjson.decode(outcome).fallback) then
    return nil
  end
  return { 'answered', outcome, body, leader.id }
end

-- Tell whether the copy's own time is not the one up to which its generation was parked in the end.
local function is_early(row)
  if job.not_before == '' or not row.park_until then
    return false
  end
  return tonumber(row.park_until) > math.max(now, tonumber(job.not_before))
end

-- Tell why an open job may not be called now; nil: it may.
local function obstacle(row)
  if is_called_off(job.id) then
    return { 'called off' }
  end
  local claim = in_the_way()
  if claim then
    want(claim)
    return { 'follow', claim.job }
  end
  local answer = answered(row)
  if answer then
    return answer
  end
  if is_early(row) then
    return { 'early', row.park_until }
  end
  if row.attempts >= max_attempts then
    return tally('exhausted', row)
  end
  return nil
end

local function start(row)
  take(row, call)
  local fields = { attempts = row.attempts + 1 }
  if not row.begun_at then
    fields.begun_at = now_text
  end
  change(row, fields)
  return tally('started', row)
end

-- One that was given up must not come into effect after all, and one that comes twice counts once.
if redis.call('EXISTS', key('void', me, call)) == 1 then
  return { 'void' }
end
give_back(job.id, call)
local row, decided = enter()
if not row then
  return decided
end
return obstacle(row) or start(row)
