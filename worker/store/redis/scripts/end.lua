local claimed = argument() == '1'
local call = argument()
local shareable = argument() == '1'
local finish = read_finish()

local row, claim, decided = open_row(claimed, call, finish.operation)
if not row then
  return decided
end
if not claimed then
  local running = claim_of(job.id)
  if running then
    -- The living were left in place by `open_row`. Somebody may want that call's answer for longer than this
    -- delivery does, and a call must never outlive the record of its run.
    return { 'follow', running.job }
  end
end
if claim then
  remove(claim) -- first: a full server then takes the rest
  if shareable and job.dedupe ~= 'off' then
    leave_answer(row)
  end
end
write_end(row, finish)
return ended_for_job(row, true)
