-- Deliveries of webhooks, kept before they are answered.
CREATE TABLE inbox (
  id           INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  source       TEXT    NOT NULL CHECK (source IN ('plane', 'forge')),
  -- As the sender names it; the digest where it does not.
  delivery     TEXT    NOT NULL,
  -- SHA-256 of the raw body, in hex: a delivery that is repeated may have another name.
  digest       TEXT    NOT NULL,
  event        TEXT    NOT NULL,
  event_type   TEXT    NOT NULL,
  body         TEXT    NOT NULL,
  status       TEXT    NOT NULL CHECK (status IN ('pending', 'applied', 'ignored', 'parked')),
  -- What was done, why nothing was, or why it cannot be applied.
  outcome      TEXT,
  attempts     INTEGER NOT NULL DEFAULT 0,
  available_at BIGINT  NOT NULL,
  received_at  BIGINT  NOT NULL,
  settled_at   BIGINT,
  UNIQUE (source, delivery),
  UNIQUE (source, digest)
);
CREATE INDEX inbox_pending ON inbox (id) WHERE status = 'pending';
CREATE INDEX inbox_parked ON inbox (id) WHERE status = 'parked';
CREATE INDEX inbox_settled ON inbox (settled_at, id) WHERE status IN ('applied', 'ignored');

-- The state that Orch wrote to the tracker and has not seen back yet: its echo.
ALTER TABLE tasks ADD COLUMN tracker_unseen TEXT;
-- When the issue was changed last, of what was applied: what is older comes too late.
ALTER TABLE tasks ADD COLUMN tracker_at BIGINT;
