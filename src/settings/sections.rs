//! The shapes of the settings, section by section. Never read, never judge: `build` fills them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::{Secret, mask_url};
use crate::domain::id::ProjectName;
use crate::domain::pipeline::Role;

/// `server.*`
#[derive(Clone, Debug)]
pub struct Server {
    /// Where the service listens.
    pub listen: SocketAddr,
    /// Largest request body, bytes.
    pub body_limit_bytes: usize,
}

/// `database.*`
#[derive(Clone)]
pub struct Database {
    /// `sqlite:<absolute path>` or `postgres://…`. May carry a password: never print it.
    pub url: String,
}

impl Database {
    /// Whether other services may work on the same database.
    pub fn is_shared(&self) -> bool {
        !self.url.starts_with("sqlite:")
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database")
            .field("url", &mask_url(&self.url))
            .finish()
    }
}

/// `queue.*`
#[derive(Clone, Debug)]
pub struct Queue {
    /// Slow tick; new work wakes the queue at once.
    pub tick: Duration,
    /// Attempts that a job may cost.
    pub max_attempts: i32,
    /// Further attempts for failures that pass by themselves.
    pub max_transient_attempts: i32,
    /// Agents at the same time in one project; 0: no limit of its own.
    pub project_concurrency: usize,
    /// Pause before a failed job is tried again.
    pub retry_delay: Duration,
    /// Keep one worktree per project ready.
    pub spare_worktrees: bool,
}

/// `instance.*`: how instances that share a PostgreSQL database know of each other.
#[derive(Clone, Debug)]
pub struct Instance {
    /// How often each says that it lives.
    pub heartbeat: Duration,
    /// Silence after which others take its jobs.
    pub ttl: Duration,
}

impl Instance {
    /// How long before others take a job its run has ended, at most; half of the TTL where that is less.
    const MARGIN: Duration = Duration::from_secs(30);

    /// Time between the end of a silent instance's runs and the moment at which others take their jobs.
    pub fn margin(&self) -> Duration {
        Self::MARGIN.min(self.ttl / 2)
    }

    /// Silence after which an instance's own runs end.
    pub fn run_ttl(&self) -> Duration {
        self.ttl - self.margin()
    }
}

/// `agent.*`
#[derive(Clone, Debug)]
pub struct Agent {
    /// Time that a run may take.
    pub timeout: Duration,
    /// Upper bound of every timeout.
    pub timeout_cap: Duration,
    /// Timeouts of single roles; none is above the cap.
    pub timeout_overrides: BTreeMap<Role, Duration>,
    /// Silence after which an agent is stopped.
    pub stall: Duration,
    /// Silence after its start after which an agent is stopped.
    pub startup: Duration,
    /// Time between TERM and KILL.
    pub kill_grace: Duration,
    /// Size to which a run's log may grow, bytes.
    pub log_cap_bytes: u64,
    /// Variables of the service's environment that an agent sees.
    pub env_allow: Vec<String>,
    /// Time that a test command or a command gate may take.
    pub check_timeout: Duration,
    /// Laid over the built-in presets; absolute.
    pub presets_file: Option<PathBuf>,
}

impl Agent {
    /// Time that a run of this role may take, where its project says nothing.
    pub fn timeout_of(&self, role: Role) -> Duration {
        self.timeout_overrides.get(&role).copied().unwrap_or(self.timeout)
    }
}

/// `reaper.*`
#[derive(Clone, Debug)]
pub struct Reaper {
    /// Kill switch.
    pub enabled: bool,
    /// How often it looks.
    pub interval: Duration,
    /// Consecutive looks that must find a process dead.
    pub dead_ticks: u32,
    /// Time after which a running job is ended.
    pub max_running: Duration,
    /// Age of a recorded exit after which a job that still runs is settled.
    pub finalize_grace: Duration,
    /// Time that a healer (the reaper, the reconciler, the keeper of leases) waits for what it does about one thing.
    pub step_limit: Duration,
}

/// `reconcile.*`
#[derive(Clone, Debug)]
pub struct Reconcile {
    /// Kill switch.
    pub enabled: bool,
    /// Kill switch of the tracker side.
    pub plane_enabled: bool,
    /// How often it looks.
    pub interval: Duration,
    /// Time for which a task is left alone in its stage.
    pub grace_default: Duration,
    /// The same for single stages, by their name.
    pub grace_overrides: BTreeMap<String, Duration>,
    /// Notify of each task that was unblocked.
    pub notify_unblock: bool,
    /// Pass over tasks that are blocked or need input.
    pub skip_blocked_enabled: bool,
}

impl Reconcile {
    /// Time for which a task is left alone in this stage.
    pub fn grace_of(&self, stage: &str) -> Duration {
        self.grace_overrides
            .get(stage)
            .copied()
            .unwrap_or(self.grace_default)
    }
}

/// `lease_reclaim.*`
#[derive(Clone, Debug)]
pub struct LeaseReclaim {
    /// Kill switch of the proactive reclaim.
    pub enabled: bool,
}

/// `merge.*`
#[derive(Clone, Debug)]
pub struct Merge {
    /// Time after which a lease expires unless renewed.
    pub lock_timeout: Duration,
    /// Repositories with merge gate and lease reclaim; empty: all.
    pub gate_repos: Vec<String>,
    /// The merge gate's default for projects.
    pub gate_enabled: bool,
}

impl Merge {
    /// True when `merge.gate_repos` includes the repository: by the project's name, by the whole path or URL,
    /// by its last part, or by its last two ("owner/repo").
    pub fn covers(&self, project: &ProjectName, repo: &str) -> bool {
        let repo = repo.trim_end_matches('/');
        let repo = repo.strip_suffix(".git").unwrap_or(repo);
        let ends_with = |entry: &str| {
            repo.strip_suffix(entry)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with(['/', ':']))
        };
        self.gate_repos.is_empty()
            || self.gate_repos.iter().any(|entry| {
                let entry = entry.strip_suffix(".git").unwrap_or(entry);
                entry == project.as_str() || (!entry.is_empty() && ends_with(entry))
            })
    }
}

/// `gitea.*`
#[derive(Clone, Debug)]
pub struct Gitea {
    /// Address, without a slash at its end.
    pub url: Option<String>,
    /// Access token.
    pub token: Option<Secret>,
    /// Organisation or user that owns the repositories.
    pub owner: Option<String>,
    /// Signs webhooks; without one they are refused.
    pub webhook_secret: Option<Secret>,
}

/// `plane.*`
#[derive(Clone, Debug)]
pub struct Plane {
    /// Address, without a slash at its end.
    pub url: Option<String>,
    /// API token.
    pub api_token: Option<Secret>,
    /// API tokens of roles that comment under a name of their own: `plane.token_developer` …
    pub role_tokens: BTreeMap<Role, Secret>,
    /// Slug of the workspace.
    pub workspace: Option<String>,
    /// Requests that Plane lets one token make in a minute.
    pub requests_per_minute: usize,
    /// Signs webhooks; without one they are refused.
    pub webhook_secret: Option<Secret>,
}

/// `telegram.*`
#[derive(Clone, Debug)]
pub struct Telegram {
    /// The bot's token; none: no messages.
    pub bot_token: Option<Secret>,
    /// Chat that receives them.
    pub chat_id: Option<String>,
    /// Address of the Bot API, without a slash at its end.
    pub base_url: String,
}

/// `notify.*`
#[derive(Clone, Debug)]
pub struct Notify {
    /// Kill switch: off, nothing is delivered, and what is to be told waits.
    pub enabled: bool,
    /// Receives each notification as JSON.
    pub webhook_url: Option<String>,
    /// Signs what the webhook receives.
    pub webhook_secret: Option<Secret>,
    /// Age at which an undelivered notice is given up.
    pub give_up_after: Duration,
}

/// `staging.*`
#[derive(Clone, Debug)]
pub struct Staging {
    /// Staging may pass when only allow-listed infrastructure checks failed.
    pub infra_tolerance_enabled: bool,
}

/// `deploy.*`
#[derive(Clone, Debug)]
pub struct Deploy {
    /// Wait for Confirm Deploy; the default for projects.
    pub require_manual_approve: bool,
}

/// `post_deploy.*`
#[derive(Clone, Debug)]
pub struct PostDeploy {
    /// Kill switch: off, production is neither looked at nor rolled back, and the jobs wait.
    pub enabled: bool,
    /// Roll back by itself when production degrades.
    pub auto_rollback: bool,
    /// Address that is probed, without a slash at its end.
    pub base_url: Option<String>,
}

/// `supervisor.*`
#[derive(Clone, Debug)]
pub struct Supervisor {
    /// Restarts of one actor within the window.
    pub restarts: u32,
    /// The window.
    pub window: Duration,
    /// Silence after which an actor counts as dead.
    pub ping: Duration,
}

/// What happens to running agents when the service stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownMode {
    /// They go on under their shims; the next start adopts them.
    Leave,
    /// Wait for them, up to a deadline.
    Drain,
    /// Stop them; their work is kept.
    Stop,
}

/// `log.*`
#[derive(Clone, Debug)]
pub struct Log {
    /// Least level that is logged.
    pub level: LogLevel,
    /// How a line looks.
    pub format: LogFormat,
}

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// Something is odd.
    Warn,
    /// What happens.
    Info,
    /// Why it happens.
    Debug,
    /// Everything.
    Trace,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Text.
    Text,
    /// One JSON object per line.
    Json,
}
