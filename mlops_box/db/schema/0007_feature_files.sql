-- What was materialised: Parquet objects, in order, of pushed events (by source) and of observations (by a definition's
-- digest). Of two observations of one entity, time and knowledge, the one in the later file counts. last_event: the
-- greatest number of an event in the file; 0 for observations.
CREATE TABLE feature_files (
  kind TEXT NOT NULL CHECK (kind IN ('events','observations')),
  subject TEXT NOT NULL,
  number INTEGER NOT NULL CHECK (number >= 1),
  digest TEXT NOT NULL,
  rows INTEGER NOT NULL,
  last_event INTEGER NOT NULL DEFAULT 0,
  created_at TEXT NOT NULL,
  PRIMARY KEY (kind, subject, number)
) STRICT;

-- How far: everything that had happened and was known until then, and the pushed events up to a number.
-- behind: how many of the source files' events lie before the mark; another number means that files changed behind it.
CREATE TABLE feature_marks (
  definition TEXT PRIMARY KEY REFERENCES feature_definitions (digest),
  until_us INTEGER NOT NULL,
  event_number INTEGER NOT NULL,
  behind INTEGER NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;
