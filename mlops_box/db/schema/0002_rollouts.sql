-- A new version's way to champion. step counts the canary percentages of the plan; every change of state, step or pause
-- adds one to revision, so that of two processes that decide the same, one changes nothing.
CREATE TABLE rollouts (
  id TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  number INTEGER NOT NULL,
  base INTEGER NOT NULL, -- the champion it is compared with,
  base_since TEXT NOT NULL, -- champion since then: one that came back later is another story
  project TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('proposed','shadow','canary','champion','rejected','rolled_back')),
  step INTEGER NOT NULL,
  revision INTEGER NOT NULL,
  plan TEXT NOT NULL,
  yardstick TEXT NOT NULL,
  reason TEXT NOT NULL,
  proposed_at TEXT NOT NULL,
  started_at TEXT,
  stage_at TEXT NOT NULL,
  paused_at TEXT,
  ended_at TEXT,
  FOREIGN KEY (model, number) REFERENCES versions (model, number),
  FOREIGN KEY (model, base) REFERENCES versions (model, number)
) STRICT;
CREATE UNIQUE INDEX rollouts_live ON rollouts (model) WHERE state IN ('shadow','canary');
CREATE UNIQUE INDEX rollouts_waiting ON rollouts (model) WHERE state = 'proposed';
CREATE INDEX rollouts_model ON rollouts (model, proposed_at);

-- Counts of one stage, variant and server process; they add up.
CREATE TABLE rollout_evidence (
  rollout_id TEXT NOT NULL REFERENCES rollouts (id),
  state TEXT NOT NULL CHECK (state IN ('shadow','canary')),
  step INTEGER NOT NULL,
  variant TEXT NOT NULL CHECK (variant IN ('champion','candidate')),
  process TEXT NOT NULL,
  counts TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  PRIMARY KEY (rollout_id, state, step, variant, process)
) STRICT;
