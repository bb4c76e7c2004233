CREATE TABLE migrations (
  number INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at TEXT NOT NULL
) STRICT;

-- Hash-chained record of every act: hash = SHA-256(prev || canonical JSON of the other columns).
CREATE TABLE ledger (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  actor TEXT NOT NULL,
  act TEXT NOT NULL,
  subject TEXT NOT NULL,
  facts TEXT NOT NULL,
  prev TEXT NOT NULL,
  hash TEXT NOT NULL UNIQUE
) STRICT;
CREATE INDEX ledger_subject ON ledger (subject, seq);

CREATE TABLE objects (
  digest TEXT PRIMARY KEY,
  size_bytes INTEGER NOT NULL,
  kind TEXT NOT NULL,
  created_at TEXT NOT NULL
) STRICT;

-- Projects this box knows, so that the scheduler and the server find their declaration without the user's folder.
CREATE TABLE projects (
  name TEXT PRIMARY KEY,
  folder TEXT NOT NULL,
  model TEXT NOT NULL,
  digest TEXT NOT NULL,
  declaration TEXT NOT NULL,
  registered_at TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL,
  kind TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running','completed','failed','refused','rejected','crashed','cancelled')),
  trigger TEXT NOT NULL,
  idempotency_key TEXT UNIQUE,
  started_at TEXT NOT NULL,
  ended_at TEXT,
  pid INTEGER NOT NULL,
  pid_started REAL NOT NULL,
  boot_id TEXT NOT NULL,
  fence INTEGER NOT NULL,
  flow_run_id TEXT,
  params TEXT NOT NULL DEFAULT '{}',
  result TEXT,
  error TEXT
) STRICT;
CREATE INDEX runs_started ON runs (started_at);
CREATE INDEX runs_project ON runs (project, kind, started_at);

CREATE TABLE run_steps (
  run_id TEXT NOT NULL REFERENCES runs (id),
  seq INTEGER NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('running','completed','failed')),
  started_at TEXT NOT NULL,
  ended_at TEXT,
  detail TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (run_id, seq)
) STRICT;

-- Values over the life of a run: loss by epoch and the like.
CREATE TABLE run_points (
  run_id TEXT NOT NULL REFERENCES runs (id),
  name TEXT NOT NULL,
  step INTEGER NOT NULL,
  value REAL,
  PRIMARY KEY (run_id, name, step)
) STRICT;

CREATE TABLE snapshots (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL,
  rows INTEGER NOT NULL,
  rows_in INTEGER NOT NULL,
  rows_quarantined INTEGER NOT NULL,
  rows_rejected INTEGER NOT NULL,
  schema TEXT NOT NULL,
  time_column TEXT,
  time_min TEXT,
  time_max TEXT,
  verdict TEXT NOT NULL,
  lineage TEXT NOT NULL,
  quarantine_digest TEXT,
  rejects_digest TEXT,
  created_at TEXT NOT NULL
) STRICT;
CREATE INDEX snapshots_project ON snapshots (project, created_at);

-- Batches that the contract refused: evidence without data.
CREATE TABLE refusals (
  id TEXT PRIMARY KEY,
  project TEXT NOT NULL,
  door TEXT NOT NULL,
  at TEXT NOT NULL,
  verdict TEXT NOT NULL,
  lineage TEXT NOT NULL
) STRICT;

CREATE TABLE versions (
  model TEXT NOT NULL,
  number INTEGER NOT NULL,
  project TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('accepted','rejected')),
  task TEXT NOT NULL,
  digest TEXT NOT NULL,
  manifest TEXT NOT NULL,
  signature TEXT NOT NULL,
  metrics TEXT NOT NULL,
  gates TEXT NOT NULL,
  lineage TEXT NOT NULL,
  snapshot_id TEXT NOT NULL,
  run_id TEXT UNIQUE,
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL,
  PRIMARY KEY (model, number)
) STRICT;

CREATE TABLE aliases (
  model TEXT NOT NULL,
  alias TEXT NOT NULL,
  number INTEGER NOT NULL,
  since TEXT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (model, alias),
  FOREIGN KEY (model, number) REFERENCES versions (model, number)
) STRICT;

-- Prediction log: one append-only file per server process and period. open -> closed -> sealed (Parquet in objects).
CREATE TABLE segments (
  id TEXT PRIMARY KEY,
  path TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open','closed','sealed')),
  rotate INTEGER NOT NULL DEFAULT 0,
  pid INTEGER NOT NULL,
  pid_started REAL NOT NULL,
  boot_id TEXT NOT NULL,
  opened_at TEXT NOT NULL,
  closed_at TEXT,
  sealed_at TEXT,
  note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX segments_state ON segments (state);

-- Sealed Parquet files by model and kind of record, with the event-time range they cover.
CREATE TABLE sealed (
  segment_id TEXT NOT NULL REFERENCES segments (id),
  model TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('prediction','truth')),
  digest TEXT NOT NULL,
  rows INTEGER NOT NULL,
  time_min TEXT NOT NULL,
  time_max TEXT NOT NULL,
  monitored_at TEXT, -- when its rows were last taken into windows; NULL: not yet
  PRIMARY KEY (segment_id, model, kind)
) STRICT;
CREATE INDEX sealed_model ON sealed (model, kind, time_max);

-- One monitored window of one model version.
CREATE TABLE windows (
  model TEXT NOT NULL,
  number INTEGER NOT NULL,
  starts_at TEXT NOT NULL,
  ends_at TEXT NOT NULL,
  rows INTEGER NOT NULL,
  rows_with_truth INTEGER NOT NULL,
  profile_digest TEXT,
  summary TEXT NOT NULL,
  finding TEXT NOT NULL,
  computed_at TEXT NOT NULL,
  PRIMARY KEY (model, number, starts_at)
) STRICT;

CREATE TABLE alerts (
  id TEXT PRIMARY KEY,
  dedupe TEXT NOT NULL,
  project TEXT NOT NULL,
  model TEXT NOT NULL,
  number INTEGER,
  kind TEXT NOT NULL,
  severity TEXT NOT NULL CHECK (severity IN ('info','warning','error')),
  state TEXT NOT NULL CHECK (state IN ('open','acknowledged','resolved')),
  title TEXT NOT NULL,
  finding TEXT NOT NULL,
  count INTEGER NOT NULL,
  opened_at TEXT NOT NULL,
  updated_at TEXT NOT NULL,
  resolved_at TEXT,
  note TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE UNIQUE INDEX alerts_unresolved ON alerts (dedupe) WHERE state <> 'resolved';
CREATE INDEX alerts_state ON alerts (state, updated_at);

-- What the policy decided, written before it acts.
CREATE TABLE decisions (
  id TEXT PRIMARY KEY,
  idempotency_key TEXT NOT NULL UNIQUE,
  project TEXT NOT NULL,
  model TEXT NOT NULL,
  alert_id TEXT REFERENCES alerts (id),
  trigger TEXT NOT NULL,
  mode TEXT NOT NULL CHECK (mode IN ('off','suggest','auto')),
  act TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('withheld','suggested','pending','issued','done','failed')),
  reason TEXT NOT NULL,
  facts TEXT NOT NULL,
  run_id TEXT,
  decided_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX decisions_state ON decisions (state, decided_at);
