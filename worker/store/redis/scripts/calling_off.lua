-- Cancelled jobs that have no record yet: no worker knows them, or their call still runs.

local function is_called_off(id)
  local off_until = redis.call('GET', key('off', id))
  return off_until and tonumber(off_until) > now
end

local function call_off(id)
  redis.call('SET', key('off', id), text(now + record_ttl), 'PX', milliseconds(record_ttl))
end

local function forget_calling_off(id)
  redis.call('DEL', key('off', id))
end
