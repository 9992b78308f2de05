local finish = read_finish()

local function cancel_unknown()
  if redis.call('EXISTS', key('job', asked.id)) == 1 or not (asked.operator or asked.by_key) then
    return { 'unknown' }
  end
  call_off(asked.id)
  return { 'called off' }
end

local row = row_of_asker()
if not row then
  return cancel_unknown()
end
if row.state == 'cancelled' then
  -- Perhaps by this very ask, whose worker died before all had heard.
  return settled(row, true, row.ended_by == finish.operation)
end
if row.state ~= 'open' then
  return settled(row)
end
note_submission(row.id, asked.submission, asked.route)
local claim = claim_of(row.id)
if claim and lives(claim) then
  -- Also where other jobs wait for the call, which then is not closed: should it come to nothing, it is not made
  -- again for this job.
  call_off(row.id)
  redis.call('SADD', key('closing', claim.owner), row.id)
  redis.call('HSET', key('claim', row.id), 'closing', '1')
  return { 'not ended', 1 }
end
if claim then
  take_over(claim)
end
write_end(row, finish)
return settled(row, true, true)
