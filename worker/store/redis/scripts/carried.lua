-- Only for the run that the delivery belongs to: when a replay has opened a later run meanwhile, its submissions have
-- to hear again, and a reply too many is better than one too few.
local letter = argument() == '1'
local heard = tonumber(argument())

local row = load_row(job.id)
if not row or row.content_hash ~= job.content_hash or row.run ~= job.run then
  return
end
if heard == 0 and not letter then
  if row.generation == job.generation + 1 then
    change(row, { park_carried = '1' })
  end
  return
end
if row.state == 'open' then
  return
end
for _ = 1, heard do
  local submission = argument()
  local route = argument()
  local known = redis.call('HGET', key('submissions', row.id), submission)
  redis.call('HSET', key('submissions', row.id), submission, '1' .. (known and string.sub(known, 2) or route))
end
if letter then
  change(row, { letter_due = '0' })
end
