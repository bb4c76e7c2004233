-- Feature views, every version that was ever registered side by side; one digest, one meaning. A model version pins
-- the digests it was trained on in its lineage: {"features": {view: digest}}.
CREATE TABLE feature_definitions (
  digest TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version >= 1),
  project TEXT NOT NULL,
  definition TEXT NOT NULL CHECK (json_valid(definition)),
  created_at TEXT NOT NULL,
  created_by TEXT NOT NULL,
  UNIQUE (name, version)
) STRICT;
