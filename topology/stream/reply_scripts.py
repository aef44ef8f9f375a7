"""The Lua scripts behind `replies.py`. Each runs in Redis at once, so that no two processes interleave.

An error belongs to the reply that met it: `redis.pcall` gives it back as a value, in that reply's place of the result.
"""

from __future__ import annotations

WRITTEN, REUSED = 1, 2  # what WRITE says of a reply, where it says no error

# `prediction`: the Prediction at a reply key, where that is a good one. `stands_for`: whether it is of the text asked
# (`keys.request_digest`).
_COMMON = """
local function prediction(value)
  if not value or string.sub(value, 1, 1) ~= '+' then return nil end
  local read, found = pcall(cmsgpack.unpack, string.sub(value, 2))
  if read and type(found) == 'table' and type(found.text) == 'string' and type(found.lang) == 'string' then
    return found
  end
  return nil
end
local function stands_for(found, digest)
  return redis.sha1hex(#found.lang .. ':' .. found.lang .. found.text) == digest
end
"""

# The first good reply wins; an error never replaces it, and a good reply may replace an error. Who asks the same again
# is sent the reply that is there. A good reply to another text is REUSED, and nothing of it is written.
# KEYS: reply, waiters, claim of each reply. ARGV: how long replies and errors are kept (ms), the length of a stream,
# then value, stream, tenant, id and digest of each reply, and how long it is kept if it is good.
WRITE = _COMMON + f"local WRITTEN, REUSED = {WRITTEN}, {REUSED}" + """
local told, failure = {}, nil
local function try(...)
  local found = redis.pcall(...)
  if type(found) == 'table' and found.err then
    failure = failure or found
    return nil
  end
  return found
end

local function tell(streams, tenant, id, value)
  local once = {}
  for _, stream in ipairs(streams) do
    if stream ~= '' and not once[stream] then
      once[stream], told[stream] = true, true
      try('XADD', stream, 'MAXLEN', '~', ARGV[3], '*', 'id', id, 'value', value, 'tenant', tenant)
    end
  end
end

local function write(reply, waiters, claim, value, stream, tenant, id, digest, kept)
  local good = string.sub(value, 1, 1) == '+'
  local old = try('GET', reply)
  local found = prediction(old)
  if found and not stands_for(found, digest) then
    if good then return REUSED end
    tell({stream}, tenant, id, value)
    return WRITTEN
  end
  if found then
    value = old
  elseif old ~= nil then  -- nil: what is there is no reply, and is not overwritten
    if not try('SET', reply, value, 'PX', good and kept or ARGV[2]) then return end
    if not good then try('DEL', claim) end
  end
  local streams = try('SMEMBERS', waiters) or {}
  local waiting = #streams > 0
  streams[#streams + 1] = stream
  tell(streams, tenant, id, value)
  if waiting then try('DEL', waiters) end
  return WRITTEN
end

local results = {}
for i = 0, #KEYS / 3 - 1 do
  failure = nil
  local k, a = 3 * i, 3 + 6 * i
  local result = write(KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], unpack(ARGV, a + 1, a + 6))
  results[i + 1] = failure or result
end
for stream in pairs(told) do redis.pcall('PEXPIRE', stream, ARGV[1]) end
return results
"""

# A caller's own id: the reply if it is there; `wait` if somebody's request is in flight; else `go`. `reused` where
# either is of another text. KEYS: reply, waiters, claim. ARGV: stream, now and deadline (µs), time to live (ms),
# digest. Who holds the claim may go again: the same client asks anew when its request was not published.
CLAIM = _COMMON + """
local stream, now_us, deadline_us, ttl_ms, digest = unpack(ARGV)
local reply = redis.pcall('GET', KEYS[1])
if type(reply) == 'table' then return reply end
local found = prediction(reply)
if found then
  if not stands_for(found, digest) then return {'reused', ''} end
  return {'reply', reply}
end
local held = redis.pcall('GET', KEYS[3])
if type(held) == 'table' then return held end
local until_us, held_for, holder = string.match(held or '', '^(%d+) (%S*) (.*)$')
local in_flight = until_us and tonumber(until_us) > tonumber(now_us)
if in_flight and held_for ~= digest then return {'reused', ''} end
local added = redis.pcall('SADD', KEYS[2], stream)
if type(added) == 'table' then return added end
redis.call('PEXPIRE', KEYS[2], ttl_ms)
if in_flight and holder ~= stream then return {'wait', ''} end
if reply then redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[3], deadline_us .. ' ' .. digest .. ' ' .. stream, 'PX', ttl_ms)
return {'go', ''}
"""

# A late listener: the reply if it is there, else be told when it comes. KEYS: reply, waiters.
# ARGV: stream, time to live (ms).
LISTEN = """
local reply = redis.pcall('GET', KEYS[1])
if reply then return reply end
local added = redis.pcall('SADD', KEYS[2], ARGV[1])
if type(added) == 'table' then return added end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return false
"""
