-- Whoever is told yes is not taken over for as long as a lease lasts: a process that was suspended would lose the
-- claim at any moment.
local id = argument()
local run = tonumber(argument())
local claim = claim_of(id)
local mine = claim and claim.owner == me and claim.run == run
if mine then
  redis.call('ZADD', key('owners'), server_now() + lease, me)
end
return mine and not is_to_close(id) and 1 or 0
