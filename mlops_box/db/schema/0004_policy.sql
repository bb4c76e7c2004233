-- Until then an alert notifies nobody and is not counted as open.
ALTER TABLE alerts ADD COLUMN snoozed_until TEXT;

-- What was sent, or waits to be: one row per ledger entry worth telling and target. The target is named by its place in
-- [notify] targets, never by its URL, which may hold a secret.
CREATE TABLE notifications (
  seq INTEGER NOT NULL REFERENCES ledger (seq),
  project TEXT NOT NULL,
  target INTEGER NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('queued','sent','dropped')),
  severity TEXT NOT NULL,
  text TEXT NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  error TEXT,
  queued_at TEXT NOT NULL,
  settled_at TEXT,
  PRIMARY KEY (seq, project, target)
) STRICT;
CREATE INDEX notifications_state ON notifications (state, project, target);

-- Up to which ledger entry a project's notifications were made.
CREATE TABLE notify_cursors (
  project TEXT PRIMARY KEY,
  seq INTEGER NOT NULL
) STRICT;

-- Somebody said yes to a version, bound to its digest and to the report of its gates.
CREATE TABLE approvals (
  id TEXT PRIMARY KEY,
  model TEXT NOT NULL,
  number INTEGER NOT NULL,
  digest TEXT NOT NULL,
  gates_digest TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('approved','break_glass')),
  reason TEXT NOT NULL,
  approved_by TEXT NOT NULL,
  approved_at TEXT NOT NULL,
  expires_at TEXT NOT NULL,
  FOREIGN KEY (model, number) REFERENCES versions (model, number)
) STRICT;
CREATE INDEX approvals_version ON approvals (model, number, approved_at);
