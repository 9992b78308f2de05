-- Write the lease anew; claims that others took over meanwhile stay theirs.
--
-- `judges:<owner>` is from when on the owner may take others for dead because their leases ran out: once it has seen
-- the server work for as long as a lease. `renewed` is when anybody renewed last.
local was_away = argument() == '1'
local until_then = server_now() + lease
redis.call('ZADD', key('owners'), until_then, me)
redis.call('SET', key('renewed'), text(server_now()), 'PX', 10 * milliseconds(lease))
if was_away or redis.call('EXISTS', key('judges', me)) == 0 then
  redis.call('SET', key('judges', me), text(until_then))
end
redis.call('PEXPIRE', key('judges', me), 10 * milliseconds(lease))
