-- The called-off jobs whose call this process makes, and nobody else waits for.
--
-- A call that others wait for is not closed: they would have to pay for another one.

local function is_to_close(id)
  local found = redis.call('HMGET', key('claim', id), 'owner', 'followed')
  return found[1] == me and not found[2] and is_called_off(id)
end
