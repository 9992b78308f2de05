local id = argument()
local run = tonumber(argument())
local claim = claim_of(id)
return claim and claim.owner == me and claim.run == run and not is_to_close(id) and 1 or 0
