-- What came out of a run that has ended.

-- Give a row's outcome and its response body, each false where there is none, or none any more.
local function outcome_of(row)
  local outcome = redis.call('GET', key('outcome', row.id))
  local kept = row.state == 'completed' and row.body_until and tonumber(row.body_until) > now
  return outcome, kept and redis.call('GET', key('body', row.id)) or false
end

-- Give the run's terminal record, and who has to hear of it; without the outcome for the one who has just written it.
local function ended(row, hear, written)
  local outcome, body = false, false
  if not written then
    outcome, body = outcome_of(row)
  end
  return {
    'ended', row.state, row.run, outcome, body, row.attempts, row.calls, row.refusals, row.snoozes, row.spent,
    row.unpriced, row.upstream,
    row.submitted_at, row.begun_at or false, row.ended_at or false, row.letter_due or '0', written and 1 or 0, hear,
    history(row.id),
  }
end
