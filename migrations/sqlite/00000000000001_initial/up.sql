-- Timestamps are UTC microseconds. Money is micro-USD. Enumerations are TEXT with CHECK.

CREATE TABLE projects (
  id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  name        TEXT    NOT NULL UNIQUE,
  prefix      TEXT    NOT NULL,
  next_number BIGINT  NOT NULL DEFAULT 1,
  created_at  BIGINT  NOT NULL
);

CREATE TABLE tasks (
  id                INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  project_id        BIGINT  NOT NULL REFERENCES projects (id),
  work_item_id      TEXT    NOT NULL,
  tracker           TEXT    NOT NULL CHECK (tracker IN ('local', 'plane')),
  external_id       TEXT    NOT NULL,
  title             TEXT    NOT NULL,
  description       TEXT    NOT NULL,
  branch            TEXT    NOT NULL,
  stage             TEXT    NOT NULL,
  status            TEXT    NOT NULL CHECK (status IN ('active', 'waiting_human', 'needs_input', 'blocked', 'cancelled', 'done')),
  -- Grows with every change of stage or status; a job stores the version it was made for.
  version           BIGINT  NOT NULL DEFAULT 1,
  -- Grows each time a stage is entered; approvals and attempts count per visit.
  visit             BIGINT  NOT NULL DEFAULT 1,
  stage_entered_at  BIGINT  NOT NULL,
  developer_retries INTEGER NOT NULL DEFAULT 0,
  -- Why the task waits or is blocked; the question where it needs input.
  reason            TEXT,
  -- Branch head offered for the next stage, and its tree without docs/work-items.
  candidate         TEXT,
  code_tree         TEXT,
  -- JSON evidence packet for the next developer job.
  evidence          TEXT,
  priority          INTEGER NOT NULL DEFAULT 0,
  executor          TEXT,
  -- JSON array of path prefixes.
  modifies          TEXT    NOT NULL DEFAULT '[]',
  tracker_state     TEXT,
  created_at        BIGINT  NOT NULL,
  updated_at        BIGINT  NOT NULL,
  finished_at       BIGINT,
  UNIQUE (project_id, work_item_id),
  UNIQUE (tracker, external_id)
);
CREATE INDEX tasks_open ON tasks (stage_entered_at, id) WHERE status IN ('active', 'waiting_human');
CREATE INDEX tasks_by_name ON tasks (work_item_id);
CREATE INDEX tasks_unfinished ON tasks (id) WHERE status IN ('active', 'waiting_human', 'needs_input', 'blocked');

CREATE TABLE task_dependencies (
  task_id    BIGINT NOT NULL REFERENCES tasks (id),
  depends_on BIGINT NOT NULL REFERENCES tasks (id),
  PRIMARY KEY (task_id, depends_on)
);

CREATE TABLE jobs (
  id                     INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  task_id                BIGINT  NOT NULL REFERENCES tasks (id),
  project_id             BIGINT  NOT NULL REFERENCES projects (id),
  kind                   TEXT    NOT NULL CHECK (kind IN ('agent', 'gate-check', 'deploy-finalizer', 'post-deploy-monitor')),
  role                   TEXT,
  stage                  TEXT    NOT NULL,
  visit                  BIGINT  NOT NULL,
  task_version           BIGINT  NOT NULL,
  status                 TEXT    NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed', 'cancelled')),
  priority               INTEGER NOT NULL DEFAULT 0,
  available_at           BIGINT  NOT NULL,
  attempts               INTEGER NOT NULL DEFAULT 0,
  max_attempts           INTEGER NOT NULL,
  transient_attempts     INTEGER NOT NULL DEFAULT 0,
  max_transient_attempts INTEGER NOT NULL,
  claim_epoch            BIGINT  NOT NULL DEFAULT 0,
  node                   TEXT,
  instance               TEXT,
  claimed_at             BIGINT,
  finished_at            BIGINT,
  -- The last error text, and why a queued job waits.
  error                  TEXT,
  -- Text added to the next prompt: evidence packet, human comment, repair notes.
  notes                  TEXT,
  dead_looks             INTEGER NOT NULL DEFAULT 0,
  created_at             BIGINT  NOT NULL
);
CREATE UNIQUE INDEX jobs_one_live_per_task ON jobs (task_id) WHERE status IN ('queued', 'running');
CREATE INDEX jobs_claimable ON jobs (priority DESC, id) WHERE status = 'queued';
-- Reserved jobs are few among many: looking for one must not pass over every agent job. The IN keeps
-- SQLite from taking jobs_claimable for the same query.
CREATE INDEX jobs_reserved ON jobs (priority DESC, id) WHERE kind <> 'agent' AND status IN ('queued');
CREATE INDEX jobs_running ON jobs (id) WHERE status = 'running';
CREATE INDEX jobs_by_task ON jobs (task_id, id);
-- Counts of the last day, and pruning.
CREATE INDEX jobs_finished ON jobs (finished_at, status) WHERE finished_at IS NOT NULL;

CREATE TABLE runs (
  id             INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  job_id         BIGINT  NOT NULL REFERENCES jobs (id),
  task_id        BIGINT  NOT NULL REFERENCES tasks (id),
  claim_epoch    BIGINT  NOT NULL,
  monitor_epoch  BIGINT  NOT NULL DEFAULT 1,
  role           TEXT,
  agent          TEXT    NOT NULL,
  stage          TEXT    NOT NULL,
  visit          BIGINT  NOT NULL,
  node           TEXT    NOT NULL,
  instance       TEXT    NOT NULL,
  step           TEXT    NOT NULL CHECK (step IN ('claimed', 'prepared', 'running', 'exited', 'committed', 'pushed', 'pr_opened', 'evaluated', 'finalised', 'abandoned')),
  -- Branch head and code tree that the run was given, and those that it left.
  start_sha      TEXT,
  start_tree     TEXT,
  end_sha        TEXT,
  end_tree       TEXT,
  wip_ref        TEXT,
  -- JSON: process identity of the shim, exit record.
  shim           TEXT,
  exit           TEXT,
  error          TEXT,
  tokens_in      BIGINT,
  tokens_out     BIGINT,
  tokens_cached  BIGINT,
  cost_micro_usd BIGINT,
  provenance     TEXT CHECK (provenance IN ('reported', 'priced', 'unpriced')),
  started_at     BIGINT  NOT NULL,
  finished_at    BIGINT,
  UNIQUE (job_id, claim_epoch)
);
CREATE INDEX runs_by_task ON runs (task_id, id);
CREATE INDEX runs_open ON runs (id) WHERE step NOT IN ('finalised', 'abandoned');

-- What was proved about a candidate: verdicts, check runs, test evidence. Bound to what it was proved for.
CREATE TABLE evidence (
  id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  task_id     BIGINT  NOT NULL REFERENCES tasks (id),
  gate        TEXT    NOT NULL,
  -- Commit and code tree; for test evidence the base too, and the command that ran.
  candidate   TEXT    NOT NULL,
  code_tree   TEXT    NOT NULL,
  patch_id    TEXT,
  base        TEXT,
  command     TEXT,
  state       TEXT    NOT NULL CHECK (state IN ('green', 'red', 'pending', 'unknown')),
  reason      TEXT    NOT NULL,
  run_id      BIGINT,
  visit       BIGINT  NOT NULL,
  recorded_at BIGINT  NOT NULL
);
CREATE INDEX evidence_latest ON evidence (task_id, gate, id);

-- Every gesture of a person, and what it did.
CREATE TABLE gestures (
  id      INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  task_id BIGINT  NOT NULL REFERENCES tasks (id),
  gesture TEXT    NOT NULL,
  person  TEXT    NOT NULL,
  comment TEXT,
  stage   TEXT    NOT NULL,
  visit   BIGINT  NOT NULL,
  candidate TEXT,
  effect  TEXT    NOT NULL,
  at      BIGINT  NOT NULL
);
CREATE INDEX gestures_by_task ON gestures (task_id, visit);

-- Deeds on the outside: intended, then done, then recorded. The payload holds what is needed to
-- recognise afterwards whether the deed happened.
CREATE TABLE intents (
  id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  key         TEXT    NOT NULL UNIQUE,
  task_id     BIGINT  NOT NULL REFERENCES tasks (id),
  job_id      BIGINT,
  claim_epoch BIGINT,
  kind        TEXT    NOT NULL CHECK (kind IN ('push', 'rebase', 'merge', 'deploy', 'confirm')),
  payload     TEXT    NOT NULL,
  status      TEXT    NOT NULL CHECK (status IN ('intended', 'done', 'void')),
  outcome     TEXT,
  created_at  BIGINT  NOT NULL,
  finished_at BIGINT
);
CREATE INDEX intents_by_task ON intents (task_id, kind, id);

CREATE TABLE outbox (
  id           INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  task_id      BIGINT REFERENCES tasks (id),
  -- Names the cause; a second row for the same cause is not written.
  cause        TEXT    NOT NULL UNIQUE,
  kind         TEXT    NOT NULL CHECK (kind IN ('comment', 'state', 'notification')),
  payload      TEXT    NOT NULL,
  status       TEXT    NOT NULL CHECK (status IN ('pending', 'sent', 'dead')),
  attempts     INTEGER NOT NULL DEFAULT 0,
  available_at BIGINT  NOT NULL,
  error        TEXT,
  created_at   BIGINT  NOT NULL,
  sent_at      BIGINT
);
CREATE INDEX outbox_pending ON outbox (available_at, id) WHERE status = 'pending';
CREATE INDEX outbox_pending_by_task ON outbox (task_id, id) WHERE status = 'pending';
CREATE INDEX outbox_dead ON outbox (id) WHERE status = 'dead';

CREATE TABLE leases (
  repo        TEXT    PRIMARY KEY NOT NULL,
  -- No holder: free. The token outlives every holder.
  task_id     BIGINT,
  branch      TEXT,
  instance    TEXT,
  acquired_at BIGINT,
  expires_at  BIGINT,
  token       BIGINT  NOT NULL DEFAULT 0
);

CREATE TABLE instances (
  id           TEXT   PRIMARY KEY NOT NULL,
  node         TEXT   NOT NULL,
  -- JSON process identity.
  process      TEXT   NOT NULL,
  started_at   BIGINT NOT NULL,
  heartbeat_at BIGINT NOT NULL,
  stopped_at   BIGINT
);

CREATE TABLE healing_events (
  id         INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  at         BIGINT  NOT NULL,
  kind       TEXT    NOT NULL,
  subject    TEXT    NOT NULL,
  why        TEXT    NOT NULL,
  action     TEXT    NOT NULL,
  stuck_us   BIGINT,
  instance   TEXT    NOT NULL
);

-- The local forge's pull requests.
CREATE TABLE pull_requests (
  id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  project_id  BIGINT  NOT NULL REFERENCES projects (id),
  task_id     BIGINT  NOT NULL REFERENCES tasks (id),
  number      BIGINT  NOT NULL,
  head_branch TEXT    NOT NULL,
  base_branch TEXT    NOT NULL,
  title       TEXT    NOT NULL,
  state       TEXT    NOT NULL CHECK (state IN ('open', 'merged', 'closed')),
  head_sha    TEXT    NOT NULL,
  merged_sha  TEXT,
  created_at  BIGINT  NOT NULL,
  updated_at  BIGINT  NOT NULL,
  UNIQUE (project_id, number)
);
CREATE UNIQUE INDEX pull_requests_one_open ON pull_requests (project_id, head_branch) WHERE state = 'open';
CREATE INDEX pull_requests_by_branch ON pull_requests (project_id, head_branch, id);

-- The local tracker's comments.
CREATE TABLE comments (
  id          INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  task_id     BIGINT  NOT NULL REFERENCES tasks (id),
  external_id TEXT    NOT NULL UNIQUE,
  author      TEXT    NOT NULL,
  body        TEXT    NOT NULL,
  created_at  BIGINT  NOT NULL
);
CREATE INDEX comments_by_task ON comments (task_id, id);

-- What happened to a task, for people: one line each.
CREATE TABLE events (
  id      INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
  at      BIGINT  NOT NULL,
  task_id BIGINT  NOT NULL REFERENCES tasks (id),
  kind    TEXT    NOT NULL,
  stage   TEXT    NOT NULL,
  text    TEXT    NOT NULL
);
CREATE INDEX events_by_task ON events (task_id, id);

CREATE TABLE settings_state (
  key   TEXT PRIMARY KEY NOT NULL,
  value TEXT NOT NULL
);
