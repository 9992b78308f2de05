-- The rule of `find`: what was decided for a delivery already. It writes nothing.

local function ended_for_job(row, written)
  return ended(row, to_hear(row.id, job.submission, job.route), written)
end

local function parked(row)
  return { 'parked', row.park_kind, row.park_after, row.park_until, row.park_carried or '0' }
end

local function standing_of_open(row)
  if job.first and job.submission ~= row.carrier then
    return nil
  end
  if job.run < row.run then
    return { 'stale' }
  end
  if job.run > row.run or job.generation >= row.generation then
    return nil
  end
  if job.generation == row.generation - 1 and row.park_kind then
    return parked(row)
  end
  return { 'stale' }
end

-- Tell what was decided for this delivery; nil: nothing, it may go on.
local function standing(row, operation)
  if not row then
    return nil
  end
  if row.content_hash ~= job.content_hash then
    return { 'conflict' }
  end
  if row.state == 'open' then
    return standing_of_open(row)
  end
  if job.first or job.run == row.run then
    return ended_for_job(row, operation and row.ended_by == operation)
  end
  if job.run < row.run then
    return { 'stale' }
  end
  -- A later run: a replay. What completed is never called for again, whatever the message says.
  return row.state == 'completed' and ended_for_job(row) or nil
end
