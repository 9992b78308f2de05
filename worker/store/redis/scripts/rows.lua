-- One job's row, its submissions and its history.
--
-- A row is a small hash without long values, so that the server keeps it packed; the outcome lies apart. What is
-- zero or unknown is left out.

local history_lines = 200
local counts = { 'run', 'generation', 'attempts', 'calls', 'refusals', 'snoozes', 'upstream', 'unpriced' }
local nothing_spent = {
  'begun_at', 'attempts', 'calls', 'refusals', 'snoozes', 'upstream', 'spent', 'unpriced', 'ended_at', 'ended_seen', 'ended_by',
  'letter_due', 'body_until',
}
local not_parked = { 'park_kind', 'park_after', 'park_until', 'park_carried' }

local function load_row(id)
  local flat = redis.call('HGETALL', key('job', id))
  if #flat == 0 then
    return nil
  end
  local row = { id = id }
  for i = 1, #flat, 2 do
    row[flat[i]] = flat[i + 1]
  end
  for _, name in ipairs(counts) do
    row[name] = tonumber(row[name] or 0)
  end
  if not row.spent then
    row.spent, row.unpriced = '0', row.calls -- money is text: see `money`. Calls before it was kept have no known cost
  end
  return row
end

local function change(row, fields)
  local flat = {}
  for name, value in pairs(fields) do
    row[name] = value
    flat[#flat + 1] = name
    flat[#flat + 1] = value
  end
  redis.call('HSET', key('job', row.id), unpack(flat))
end

local function clear(row, names)
  for _, name in ipairs(names) do
    row[name] = nil
  end
  for _, name in ipairs(counts) do
    row[name] = row[name] or 0
  end
  row.spent = row.spent or '0'
  redis.call('HDEL', key('job', row.id), unpack(names))
end

local function expires(id, at)
  redis.call('ZADD', key('expiry'), at, id)
end

local function count_open(tier, by)
  if redis.call('HINCRBY', key('open'), tier, by) == 0 then
    redis.call('HDEL', key('open'), tier)
  end
end

-- A submission is kept as `<heard><route>`; one that is known stays as it is.
local function note_submission(id, submission, route)
  redis.call('HSETNX', key('submissions', id), submission, '0' .. route)
end

-- Give the submissions that have not heard yet, this one included unless it has heard.
local function to_hear(id, submission, route)
  local flat = redis.call('HGETALL', key('submissions', id))
  local waiting, known = {}, false
  for i = 1, #flat, 2 do
    known = known or flat[i] == submission
    if string.sub(flat[i + 1], 1, 1) == '0' then
      waiting[#waiting + 1] = { flat[i], string.sub(flat[i + 1], 2) }
    end
  end
  table.sort(waiting, function(one, other)
    return one[1] < other[1]
  end)
  if not known then
    waiting[#waiting + 1] = { submission, route }
  end
  return waiting
end

local function add_line(row, line)
  local none = cjson.null
  local length = redis.call('RPUSH', key('history', row.id), cjson.encode({
    now_text, row.run, row.generation, line.what, line.attempt, line.kind or none, line.status or none,
    line.endpoint or none, line.calls or 0, math.floor((line.upstream or 0) / 1000),
  }))
  if length > history_lines then
    redis.call('LTRIM', key('history', row.id), -history_lines, -1)
  end
end

local function history(id)
  return redis.call('LRANGE', key('history', id), 0, -1)
end
