-- Orch's own artifacts are brought to the repository by notices. SQLite changes no CHECK, so the table is made anew.
CREATE TABLE outbox_new (
  id           INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  task_id      BIGINT REFERENCES tasks (id),
  -- Names the cause; a second row for the same cause is not written.
  cause        TEXT    NOT NULL UNIQUE,
  kind         TEXT    NOT NULL CHECK (kind IN ('comment', 'state', 'notification', 'pull_request', 'artifact')),
  payload      TEXT    NOT NULL,
  status       TEXT    NOT NULL CHECK (status IN ('pending', 'sent', 'dead')),
  attempts     INTEGER NOT NULL DEFAULT 0,
  available_at BIGINT  NOT NULL,
  error        TEXT,
  created_at   BIGINT  NOT NULL,
  sent_at      BIGINT,
  channel      TEXT    NOT NULL DEFAULT 'tracker'
    CHECK (channel IN ('tracker', 'forge', 'people', 'log', 'webhook', 'telegram', 'records')),
  -- Deliveries that were sent and not answered.
  unanswered   INTEGER NOT NULL DEFAULT 0
);
INSERT INTO outbox_new (id, task_id, cause, kind, payload, status, attempts, available_at, error, created_at, sent_at, channel, unanswered)
  SELECT id, task_id, cause, kind, payload, status, attempts, available_at, error, created_at, sent_at, channel, unanswered FROM outbox;
-- No number is given twice.
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'outbox') WHERE name = 'outbox_new';
INSERT INTO sqlite_sequence (name, seq)
  SELECT 'outbox_new', seq FROM sqlite_sequence
  WHERE name = 'outbox' AND NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'outbox_new');
DROP TABLE outbox;
ALTER TABLE outbox_new RENAME TO outbox;
CREATE INDEX outbox_pending ON outbox (available_at, id) WHERE status = 'pending';
CREATE INDEX outbox_pending_by_task ON outbox (task_id, channel, id) WHERE status = 'pending';
CREATE INDEX outbox_dead ON outbox (id) WHERE status = 'dead';
CREATE INDEX outbox_sent ON outbox (sent_at, id) WHERE status = 'sent';
