local id = redis.call('GET', key('taken', argument()))
local claim = id and claim_of(id)
return claim and claim.wanted_until
