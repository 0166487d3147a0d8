//! What Redis does in one step.
//!
//! An entry is kept as `<generation> <version> <text>`. Entries of another generation than the one in
//! force are worth nothing: renewing the generation forgets all entries at once, and refuses those of
//! loads that began before.

use deadpool_redis::redis::{Cmd, cmd};

/// The generation that entries belong to now; one begins when there is none.
macro_rules! generation {
    () => {
        r"
local generation = redis.call('GET', KEYS[2])
if not generation then
  generation = ARGV[1]
  redis.call('SET', KEYS[2], generation)
end"
    };
}

/// Reads an entry; makes a generation where there is none, after a flush.
const LOOK_UP: &str = concat!(
    generation!(),
    r"
return {generation, redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1])}"
);

/// Keeps what was loaded, unless something as new is there or the generation ended since.
const OFFER: &str = r"
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
local kept = redis.call('GET', KEYS[1])
if kept then
  local generation, version = string.match(kept, '^(%w+) (%d+) ')
  if generation == ARGV[1] and tonumber(version) >= tonumber(ARGV[2]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
return 1";

/// Keeps what a change made, unless something newer is there, and tells all nodes. A full Redis keeps
/// nothing, and tells all the same.
const CHANGE: &str = concat!(
    generation!(),
    r"
local kept = redis.call('GET', KEYS[1])
local newer = false
if kept then
  local of, version = string.match(kept, '^(%w+) (%d+) ')
  newer = of == generation and tonumber(version) > tonumber(ARGV[2])
end
if not newer then
  local kept = redis.pcall('SET', KEYS[1], generation .. ' ' .. ARGV[2] .. ' ' .. ARGV[3], 'PX', ARGV[4])
  if kept.err then redis.call('DEL', KEYS[1]) end
end
redis.call('PUBLISH', ARGV[5], ARGV[6])
return 1"
);

/// Begins a new generation and tells all nodes; a Redis that refuses the one is not to repeat the other.
const RENEW: &str = r"
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1";

/// Takes one of `ARGV[1]` microseconds each out of a window of `ARGV[2]`, by Redis's own clock: the wait
/// for the next one, or 0. Nobody waits for longer than the window, even when that clock is set back.
const TAKE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local each, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local due = tonumber(redis.call('GET', KEYS[1]) or now) or now
if due < now then due = now end
if due > now + window then due = now + window end
local next = due + each
if next - window > now then return math.ceil(next - window - now) end
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
return 0";

/// Whether scripts may run and write: what a full or read-only Redis refuses.
const PROBE: &str = "return redis.call('SET', KEYS[1], '1', 'PX', 1000)";

fn script(text: &str, keys: &[&str]) -> Cmd {
    let mut command = cmd("EVAL");
    command.arg(text).arg(keys.len()).arg(keys);
    command
}

pub(super) fn look_up(entry: &str, generations: &str, fresh: &str) -> Cmd {
    let mut command = script(LOOK_UP, &[entry, generations]);
    command.arg(fresh);
    command
}

/// What is to be kept under a key, and for how long.
#[derive(Debug)]
pub(super) struct Keeping<'a> {
    pub(super) entry: &'a str,
    pub(super) generations: &'a str,
    /// The one that a load began in; for a change, a fresh one in case that there is none.
    pub(super) generation: &'a str,
    pub(super) version: i64,
    pub(super) text: &'a str,
    pub(super) millis: u64,
}

impl Keeping<'_> {
    fn command(&self, text: &str) -> Cmd {
        let mut command = script(text, &[self.entry, self.generations]);
        command
            .arg(self.generation)
            .arg(self.version)
            .arg(self.text)
            .arg(self.millis);
        command
    }

    pub(super) fn offer(&self) -> Cmd {
        self.command(OFFER)
    }

    pub(super) fn change(&self, channel: &str, message: &str) -> Cmd {
        let mut command = self.command(CHANGE);
        command.arg(channel).arg(message);
        command
    }
}

pub(super) fn renew(generations: &str, fresh: &str, channel: &str, message: &str) -> Cmd {
    let mut command = script(RENEW, &[generations]);
    command.arg(fresh).arg(channel).arg(message);
    command
}

pub(super) fn take(key: &str, each_micros: u64, window_micros: u64) -> Cmd {
    let mut command = script(TAKE, &[key]);
    command.arg(each_micros).arg(window_micros);
    command
}

pub(super) fn probe(key: &str) -> Cmd {
    script(PROBE, &[key])
}
