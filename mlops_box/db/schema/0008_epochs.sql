-- When a value was recorded; NULL: before this was kept, or told again from a checkpoint that another process wrote.
ALTER TABLE run_points ADD COLUMN at TEXT;

-- What a training in epochs set out to do, so that what is left can be told.
CREATE TABLE run_epochs (
  run_id TEXT PRIMARY KEY REFERENCES runs (id),
  total INTEGER NOT NULL CHECK (total >= 1), -- at most this many
  resumed_after INTEGER NOT NULL DEFAULT 0 CHECK (resumed_after >= 0), -- epochs that another process had done
  may_stop INTEGER NOT NULL CHECK (may_stop IN (0, 1)), -- early
  started_at TEXT NOT NULL, -- when this process began its first epoch
  ended_at TEXT -- NULL: it goes on
) STRICT;
