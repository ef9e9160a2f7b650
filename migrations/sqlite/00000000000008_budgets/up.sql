-- What runs cost, summed where it is spent, so that a look at a limit reads one row.
CREATE TABLE project_spend (
  project_id BIGINT NOT NULL REFERENCES projects (id),
  -- Days since 1970-01-01, UTC.
  day        BIGINT NOT NULL,
  micro_usd  BIGINT NOT NULL,
  PRIMARY KEY (project_id, day)
);
CREATE TABLE task_spend (
  task_id    BIGINT PRIMARY KEY NOT NULL REFERENCES tasks (id),
  micro_usd  BIGINT NOT NULL,
  -- What it had spent when a person last let it go on: its limit counts from there.
  let_go_at  BIGINT NOT NULL DEFAULT 0
);
-- What of a run is in these sums.
ALTER TABLE runs ADD COLUMN charged_micro_usd BIGINT NOT NULL DEFAULT 0;
