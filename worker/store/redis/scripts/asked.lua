-- Somebody's ask about a job, which stands as its submission.

local asked = {
  id = argument(),
  operator = argument() == '1',
  tenant = argument(),
  by_key = argument() == '1',
  submission = argument(),
  route = argument(),
}

local function settled(row, everybody, written)
  local hear = everybody and to_hear(row.id, asked.submission, asked.route) or { { asked.submission, asked.route } }
  return {
    'settled', row.tenant, row.key, row.tier, row.lane, row.path, row.model, row.content_hash, row.priority,
    row.submitted_at, row.received_at, row.deadline, row.run, row.generation, ended(row, hear, written),
  }
end

-- Give the job's row, if it is the asker's.
local function row_of_asker()
  local row = load_row(asked.id)
  return row and (asked.operator or row.tenant == asked.tenant) and row or nil
end
