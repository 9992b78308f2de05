local to_close = {}
for _, id in ipairs(redis.call('SMEMBERS', key('closing', me))) do
  if is_to_close(id) then
    to_close[#to_close + 1] = id
  end
end
return to_close
