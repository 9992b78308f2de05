-- The index of dead letters: one list for each `<kind>:<tier>`, in the order of their time.

local function drop_letter(id)
  local box = redis.call('HGET', key('letter', id), 'box')
  if box then
    redis.call('DEL', key('letter', id))
    redis.call('ZREM', key('letters', box), id)
    if redis.call('EXISTS', key('letters', box)) == 0 then
      redis.call('SREM', key('letterboxes'), box)
    end
  end
end
