-- Write the lease anew; claims that others took over meanwhile stay theirs.
redis.call('ZADD', key('owners'), server_now() + tonumber(argument()), me)
