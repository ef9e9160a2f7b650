-- Failures answered by what they are: incidents and what came of them.
CREATE TABLE incidents (
  id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  at          BIGINT  NOT NULL,
  task_id     BIGINT  NOT NULL REFERENCES tasks (id),
  job_id      BIGINT  NOT NULL,
  run_id      BIGINT  NOT NULL,
  stage       TEXT    NOT NULL,
  role        TEXT,
  node        TEXT    NOT NULL,
  strategy    TEXT    NOT NULL,
  fix         TEXT    NOT NULL CHECK (fix IN ('increase_timeout', 'reduce_slots', 'blacklist_node', 'cooldown', 'enrich_prompt', 'manual', 'retry')),
  diagnosis   TEXT    NOT NULL,
  class       TEXT    NOT NULL,
  -- Rule and normalised error, and the commit it was seen at: the same thrice stops the task.
  fingerprint TEXT    NOT NULL,
  head        TEXT    NOT NULL,
  error       TEXT    NOT NULL,
  -- Whether it was tried again, and why (or why not).
  decision    TEXT    NOT NULL CHECK (decision IN ('consent_not_given', 'global_retry_limit_reached', 'circuit_breaker_open', 'permanent_failure', 'max_retries_reached', 'under_retry_limit')),
  -- What came of the next attempt.
  outcome     TEXT    CHECK (outcome IN ('helped', 'failed')),
  outcome_at  BIGINT
);
CREATE INDEX incidents_open ON incidents (task_id) WHERE outcome IS NULL;
CREATE INDEX incidents_alike ON incidents (task_id, fingerprint, head);
CREATE INDEX incidents_by_age ON incidents (at, id);

-- What repair took from a node. Without a row a node is as its settings say.
CREATE TABLE node_states (
  node      TEXT   PRIMARY KEY NOT NULL,
  off_how   TEXT   NOT NULL CHECK (off_how IN ('blacklisted', 'cooled')),
  off_until BIGINT NOT NULL,
  reason    TEXT   NOT NULL,
  since     BIGINT NOT NULL
);
-- One slot fewer each, for a while.
CREATE TABLE node_cuts (
  id     INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  node   TEXT   NOT NULL,
  until  BIGINT NOT NULL,
  reason TEXT   NOT NULL
);
CREATE INDEX node_cuts_by_node ON node_cuts (node, until);

-- Circuit breakers, by scope: project:<id> or batch:<id>. No row: closed, no failure.
CREATE TABLE retry_scopes (
  scope     TEXT    PRIMARY KEY NOT NULL,
  failures  INTEGER NOT NULL DEFAULT 0,
  opened_at BIGINT,
  -- The claim that was let through while it was half open.
  trial_job   BIGINT,
  trial_epoch BIGINT
);
CREATE INDEX retry_scopes_open ON retry_scopes (scope) WHERE opened_at IS NOT NULL;

-- Every attempt that failed, every opening and reset.
CREATE TABLE retry_audit (
  id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  at          BIGINT  NOT NULL,
  event       TEXT    NOT NULL CHECK (event IN ('retry', 'refused', 'transient', 'opened', 'reopened', 'closed', 'reset')),
  scope       TEXT    NOT NULL,
  task_id     BIGINT,
  visit       BIGINT,
  reason      TEXT,
  retry_count INTEGER NOT NULL DEFAULT 0,
  total       INTEGER NOT NULL DEFAULT 0,
  error       TEXT
);
-- Retries that count, of a scope and of a task's visit.
CREATE INDEX retry_audit_of_scope ON retry_audit (scope, at) WHERE event = 'retry';
CREATE INDEX retry_audit_of_visit ON retry_audit (task_id, visit) WHERE event = 'retry';
CREATE INDEX retry_audit_by_age ON retry_audit (at, id);

-- Tasks that were submitted together.
CREATE TABLE batches (
  id         TEXT    PRIMARY KEY NOT NULL,
  project_id BIGINT  NOT NULL REFERENCES projects (id),
  mode       TEXT    NOT NULL CHECK (mode IN ('sequential', 'parallel')),
  -- A digest of what was submitted: the same name with other content is refused.
  content    TEXT    NOT NULL,
  created_at BIGINT  NOT NULL
);
ALTER TABLE tasks ADD COLUMN batch TEXT;
CREATE INDEX tasks_of_batch ON tasks (batch, id) WHERE batch IS NOT NULL;

-- Limits of the next attempt, in percent of the settings.
ALTER TABLE jobs ADD COLUMN timeout_percent INTEGER NOT NULL DEFAULT 100;
