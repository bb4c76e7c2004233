-- What is looked at is found without reading all of a table: a snapshot's versions, an alert's and a run's decisions, a
-- model's alerts, and a model's windows by time, whichever version they are of.
CREATE INDEX versions_snapshot ON versions (snapshot_id);
CREATE INDEX decisions_alert ON decisions (alert_id, decided_at);
CREATE INDEX decisions_run ON decisions (run_id);
CREATE INDEX alerts_model ON alerts (model, updated_at);
CREATE INDEX windows_model ON windows (model, starts_at);
