-- Counts one start in a lane, or gives what forbids it.
-- KEYS: prefix. ARGV: lane, permit, now in us ("": the server's), span to keep in us, then calls and span in us of each rule.
-- Gives {1}, or {0, age of the calls-th latest start for each rule; -1: there are fewer}.
local lane, permit, kept = KEYS[1] .. ':permits:' .. ARGV[1], ARGV[2], tonumber(ARGV[4])
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
if redis.call('ZSCORE', lane, permit) then
  return {1} -- asked again: the first answer was lost on its way
end
local function whole(number)
  return string.format('%.0f', number)
end
-- Where the clock was put back, what lies ahead of it counts as of now, so that a lane waits for a minute at most.
for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', lane, '(' .. whole(now), '+inf')) do
  redis.call('ZADD', lane, whole(now), ahead)
end
redis.call('ZREMRANGEBYSCORE', lane, '-inf', '(' .. whole(now - kept))
local answer, full = {0}, false
for rule = 5, #ARGV, 2 do
  local calls, span = tonumber(ARGV[rule]), tonumber(ARGV[rule + 1])
  local start = redis.call('ZREVRANGE', lane, calls - 1, calls - 1, 'WITHSCORES')
  local age = -1
  if start[2] then
    age = now - tonumber(start[2])
    full = full or age < span
  end
  answer[#answer + 1] = age
end
if full then
  return answer
end
redis.call('ZADD', lane, whole(now), permit)
redis.call('PEXPIRE', lane, whole(kept / 1000))
return {1}
