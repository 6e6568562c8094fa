"""Scripts that watch themselves: a write to a key that was not read before is an error, and so is a read too late."""

from __future__ import annotations

import hashlib

import pytest

from wink_tasks.adapters.redis import link, scripts

WATCH = """
local server, redis, read, wrote = redis, {}, {}, false
local reads = {GET = 1, HGET = 1, HMGET = 1, HGETALL = 1, EXISTS = 1, LRANGE = 1, SMEMBERS = 1, XRANGE = 1,
  XREVRANGE = 1, XLEN = 1, ZRANGE = 1, ZRANGEBYSCORE = 1, TIME = 0}
for _, key in ipairs(KEYS) do read[key] = true end
redis.call = function(command, key, ...)
  if reads[command] then
    for _, seen in ipairs(command == 'EXISTS' and {key, ...} or {key}) do
      if wrote and not read[seen] then error(seen .. ' is read for the first time after a write, by ' .. command) end
      read[seen] = true
    end
  else
    if not read[key] then error(key .. ' is written unread, by ' .. command) end
    wrote = true
  end
  return server.call(command, key, ...)
end
"""


def watched(name: str) -> scripts.Script:
    """The command `name`, which fails where it breaks the rule."""
    source = WATCH + scripts.script(name).source
    return scripts.Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have all commands watch themselves."""
    monkeypatch.setattr(link, "script", watched)
