-- Devices in the field, each known by the key it made for itself; what they report of themselves is as they last said it.
CREATE TABLE devices (
  name TEXT PRIMARY KEY,
  key_id TEXT NOT NULL UNIQUE,
  public_key TEXT NOT NULL, -- 64 hex digits
  added_at TEXT NOT NULL,
  added_by TEXT NOT NULL,
  revoked_at TEXT,
  last_seen TEXT, -- by this box's clock; NULL: never
  way TEXT CHECK (way IN ('push','pull','file')), -- how it was seen last
  starts INTEGER NOT NULL DEFAULT 0, -- (starts, mono_us) orders its reports, whatever its clock says
  mono_us INTEGER NOT NULL DEFAULT 0,
  clock_offset_us INTEGER, -- this box's clock less the device's; NULL: never compared
  backlog INTEGER NOT NULL DEFAULT 0, -- records that it still holds
  dropped INTEGER NOT NULL DEFAULT 0, -- records that its full log let go, ever
  dropped_lately INTEGER NOT NULL DEFAULT 0, -- of these, between its last two reports
  health TEXT NOT NULL DEFAULT '{}'
) STRICT;

-- Every batch that brought something.
CREATE TABLE device_batches (
  device TEXT NOT NULL REFERENCES devices (name),
  boot TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  digest TEXT NOT NULL, -- SHA-256 of the signed bytes
  segment_id TEXT REFERENCES segments (id), -- NULL: no predictions or truth in it
  records INTEGER NOT NULL,
  fresh INTEGER NOT NULL, -- of these, not here already
  aside_digest TEXT, -- object with the records that could not be used; NULL: none
  way TEXT NOT NULL CHECK (way IN ('push','pull','file')),
  received_at TEXT NOT NULL,
  PRIMARY KEY (device, boot, first_seq, last_seq, digest)
) STRICT;

CREATE INDEX device_batches_segment ON device_batches (segment_id);

-- Which records are here: ranges of sequence numbers of one boot, merged, never overlapping.
CREATE TABLE device_ranges (
  device TEXT NOT NULL REFERENCES devices (name),
  boot TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  PRIMARY KEY (device, boot, first_seq)
) STRICT;

-- This box's time when a machine's monotonic clock stood at zero.
CREATE TABLE device_clocks (
  device TEXT NOT NULL REFERENCES devices (name),
  machine_boot TEXT NOT NULL,
  zero_us INTEGER NOT NULL,
  PRIMARY KEY (device, machine_boot)
) STRICT;

-- Prediction ids are made by the device: which sealed segments hold those that begin alike.
CREATE TABLE device_ids (
  prefix TEXT NOT NULL,
  segment_id TEXT NOT NULL REFERENCES segments (id),
  device TEXT NOT NULL REFERENCES devices (name),
  first_id TEXT NOT NULL,
  last_id TEXT NOT NULL,
  PRIMARY KEY (prefix, segment_id)
) STRICT;

-- What a device counted of one window. Its rows may come too, or may have been dropped there.
CREATE TABLE device_counts (
  device TEXT NOT NULL REFERENCES devices (name),
  boot TEXT NOT NULL,
  seq INTEGER NOT NULL,
  model TEXT NOT NULL,
  number INTEGER NOT NULL,
  filed_by TEXT NOT NULL CHECK (filed_by IN ('event','clock')), -- event times, or the device's clock, which may be wrong
  starts_at TEXT NOT NULL, -- by what it was filed by, as ends_at
  ends_at TEXT NOT NULL,
  falls_at TEXT NOT NULL, -- beginning and end by this box's clock
  falls_until TEXT NOT NULL,
  rows INTEGER NOT NULL,
  counts_digest TEXT NOT NULL,
  monitored_at TEXT, -- when drift windows last took it into account; NULL: not yet
  PRIMARY KEY (device, boot, seq)
) STRICT;
CREATE INDEX device_counts_model ON device_counts (model, falls_at);
