-- How a delivery enters the books: a new job, a submission that joins one, a replay that opens it again.

-- The longest hop through a parking queue, and some minutes for a queue in front of the workers.
local longest_away = 45 * 60 * 1000000

-- Give when this delivery was received, by the server's clock: the caller's own tells only how long ago that was.
-- So a follower and its leader on two hosts whose clocks differ are compared on one.
local function seen_at()
  return text(server_now() - (now - tonumber(job.received_at)))
end

-- An open job is forgotten long after its deadline.
local function expires_open(id)
  expires(id, math.max(tonumber(job.deadline), now) + record_ttl)
end

local function insert_row()
  local row = {
    id = job.id, state = 'open', run = 0, generation = 0, attempts = 0, calls = 0, refusals = 0, snoozes = 0,
    upstream = 0, spent = '0', unpriced = 0,
  }
  change(row, {
    number = redis.call('INCR', key('numbers')),
    tenant = job.tenant, key = job.key, tier = job.tier, lane = job.lane, path = job.path, model = job.model,
    content_hash = job.content_hash, priority = job.priority, state = 'open', run = job.run,
    generation = job.generation, carrier = job.submission, received_at = job.received_at,
    submitted_at = job.submitted_at, deadline = job.deadline, seen_at = seen_at(),
  })
  expires_open(job.id)
  count_open(job.tier, 1)
  return row
end

local function join(row)
  note_submission(row.id, job.submission, job.route)
  local claim = claim_of(row.id)
  if claim then
    want(claim)
  end
  return { 'joined' }
end

-- Tell whether the message that carried the open job is lost, as after a purge of its queue.
--
-- Whatever waited for it would have come back, and ended it, soon after its deadline. A replay's message cannot
-- be stood in for: a first delivery is of run 1.
local function is_abandoned(row)
  return row.run == 1 and tonumber(row.deadline) < now - longest_away and not claim_of(row.id)
end

-- Let this submission's message carry the job from here; what was spent stays spent.
local function adopt(row)
  clear(row, not_parked)
  change(row, {
    carrier = job.submission, generation = 0, deadline = job.deadline, received_at = job.received_at,
    seen_at = seen_at(),
  })
  expires_open(row.id)
end

-- Start the replay's run: nothing spent, nobody has heard, no dead letter.
--
-- The run was not received before the former one ended: so the former run's own failure, or an answer of that
-- time, is none of its answers.
local function reopen(row)
  if row.state == 'open' then
    count_open(row.tier, -1)
  end
  local received_at = later(row.ended_at, job.received_at)
  local seen = later(row.ended_seen, seen_at())
  drop_letter(row.id)
  redis.call('UNLINK', key('body', row.id), key('outcome', row.id))
  clear(row, nothing_spent)
  clear(row, not_parked)
  change(row, {
    state = 'open', run = job.run, generation = job.generation, tier = job.tier, lane = job.lane,
    priority = job.priority, received_at = received_at, submitted_at = job.submitted_at, deadline = job.deadline,
    seen_at = seen,
  })
  count_open(row.tier, 1)
  expires_open(row.id)
  local flat = redis.call('HGETALL', key('submissions', row.id))
  for i = 1, #flat, 2 do
    redis.call('HSET', key('submissions', row.id), flat[i], '0' .. string.sub(flat[i + 1], 2))
  end
  add_line(row, { what = 'replayed', attempt = 0 })
end

-- Believe the message where the server has lost its last writes: its generation was parked once.
local function catch_up(row)
  clear(row, not_parked)
  change(row, { generation = job.generation })
end

-- Give the open row that this delivery carries, or nil and what was decided for the delivery already.
--
-- The first delivery of a submission that does not carry the open job only has its route noted: another message
-- brings the job, so this one neither calls nor ends nor parks it.
local function enter(operation)
  local row = load_row(job.id)
  local decided = standing(row, operation)
  if decided then
    return nil, decided
  end
  if not row then
    row = insert_row()
  elseif row.state == 'open' and job.first and job.submission ~= row.carrier then
    if not is_abandoned(row) then
      return nil, join(row)
    end
    adopt(row)
  elseif job.run > row.run then
    reopen(row)
  elseif job.generation > row.generation then
    catch_up(row)
  end
  note_submission(row.id, job.submission, job.route)
  return row
end
