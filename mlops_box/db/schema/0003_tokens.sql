-- Who may call the inference server from elsewhere. The secret itself is shown once and never stored.
CREATE TABLE tokens (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  digest TEXT NOT NULL UNIQUE, -- SHA-256 of the secret's 32 random bytes
  scopes TEXT NOT NULL, -- JSON list
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL,
  expires_at TEXT, -- NULL: never
  revoked_at TEXT
) STRICT;
CREATE UNIQUE INDEX tokens_name ON tokens (name) WHERE revoked_at IS NULL;
