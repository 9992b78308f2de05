local claimed = argument() == '1'
local call = argument()
local kind = argument()
local after = argument()
local until_when = argument()
local explained = argument() == '1'
-- How the job ends where it was cancelled meanwhile; its work and its failure are those of this settlement.
local cancelled = read_finish()
local why = { kind = argument(), status = argument(), endpoint = argument() }
why.calls, why.refusals, why.upstream = cancelled.calls, cancelled.refusals, cancelled.upstream
why.spent, why.unpriced = cancelled.spent, cancelled.unpriced

-- Count the work of a call whose delivery came again meanwhile and was parked: that copy goes on.
--
-- It was parked for a follower's short wait; the call was told to wait until `begin` lets the copy go on.
local function parked_by_another(row)
  local stands = standing(row) or { 'stale' }
  if explained then
    add_settled_line(row, kind, why)
  end
  change(row, {
    park_until = later(row.park_until, until_when),
    attempts = math.max(0, row.attempts - (kind == 'snooze' and 1 or 0)), calls = row.calls + why.calls,
    refusals = row.refusals + why.refusals, upstream = row.upstream + why.upstream,
    spent = plus(row.spent, why.spent), unpriced = row.unpriced + why.unpriced,
  })
  return stands
end

local function write_park(row)
  local snoozed = kind == 'snooze' and 1 or 0
  if explained then -- a follower's snooze has no reason, and would flood the history
    add_settled_line(row, kind, why)
  end
  change(row, {
    generation = row.generation + 1, attempts = math.max(0, row.attempts - (claimed and snoozed or 0)),
    calls = row.calls + why.calls, refusals = row.refusals + why.refusals, snoozes = row.snoozes + snoozed,
    upstream = row.upstream + why.upstream, park_kind = kind, park_after = after, park_until = until_when,
    park_carried = '0', spent = plus(row.spent, why.spent), unpriced = row.unpriced + why.unpriced,
  })
  return { 'parked', kind, after, until_when, '0' }
end

local row, claim, decided = open_row(claimed, call, cancelled.operation)
if not row then
  return decided
end
if claim then
  remove(claim)
end
if is_called_off(row.id) and not claim_of(row.id) then
  -- Nobody waits for the copy any more. While a call runs elsewhere, its process ends the job.
  write_end(row, cancelled)
  return ended_for_job(row, true)
end
if row.generation ~= job.generation then
  return parked_by_another(row)
end
return write_park(row)
