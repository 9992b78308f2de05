-- The server's clock, by which leases run: no process is judged by another's clock, or by its own.

local function server_now()
  local read = redis.call('TIME')
  return read[1] * 1000000 + read[2]
end
