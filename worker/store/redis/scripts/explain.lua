-- All that is known of a job, as one snapshot.
local id = argument()
local row = redis.call('HGETALL', key('job', id))
if #row == 0 then
  return false
end
return {
  row, redis.call('GET', key('outcome', id)), redis.call('HGET', key('claim', id), 'owner'),
  redis.call('HGETALL', key('submissions', id)), redis.call('LRANGE', key('history', id), 0, -1),
}
