-- Writing the terminal record of an open run whose claim is released.

-- `finish` says how the run ends: `state`, `outcome`, `body` (its checksum before it, '' for none), `letter` (its
-- reason, '' for none), `work` and the failure's own facts.
local function read_finish()
  return {
    operation = argument(),
    state = argument(),
    outcome = argument(),
    body = argument(),
    letter = argument(),
    request = argument(),
    kind = argument(),
    status = argument(),
    code = argument(),
    endpoint = argument(),
    calls = tonumber(argument()),
    refusals = tonumber(argument()),
    upstream = tonumber(argument()),
    spent = argument(),
    unpriced = tonumber(argument()),
  }
end

local function or_none(value)
  return value ~= '' and value or nil
end

local function write_letter(row, finish)
  local box = finish.letter .. ':' .. row.tier
  drop_letter(row.id)
  redis.call(
    'HSET', key('letter', row.id), 'box', box, 'run', row.run, 'kind', finish.letter, 'status', finish.status,
    'code', finish.code, 'at', now_text, 'attempts', row.attempts, 'request', finish.request
  )
  redis.call('ZADD', key('letters', box), now_text, row.id)
  redis.call('SADD', key('letterboxes'), box)
end

local function add_settled_line(row, what, facts)
  add_line(row, {
    what = what, attempt = row.attempts, kind = or_none(facts.kind), status = tonumber(facts.status),
    endpoint = or_none(facts.endpoint), calls = facts.calls + facts.refusals, upstream = facts.upstream,
  })
end

local function write_end(row, finish)
  local fields = {
    state = finish.state, ended_at = now_text, ended_seen = text(server_now()), ended_by = finish.operation,
    letter_due = finish.letter ~= '' and '1' or '0', calls = row.calls + finish.calls,
    refusals = row.refusals + finish.refusals, upstream = row.upstream + finish.upstream,
    spent = plus(row.spent, finish.spent), unpriced = row.unpriced + finish.unpriced,
  }
  if finish.body ~= '' then
    fields.body_until = text(now + result_ttl)
    redis.call('SET', key('body', row.id), finish.body, 'PX', milliseconds(result_ttl))
  end
  change(row, fields)
  redis.call('SET', key('outcome', row.id), finish.outcome)
  expires(row.id, now + record_ttl)
  count_open(row.tier, -1)
  forget_calling_off(row.id)
  if finish.letter ~= '' then
    write_letter(row, finish)
  end
  add_settled_line(row, finish.state, finish)
end
