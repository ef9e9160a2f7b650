//! The one table of keys. Defaults and documentation stand in `config/default.toml`, built in, and nowhere else.
//! Never reads a file or the environment.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::document::Document;
use super::layers::{Layer, ORIGIN_DEFAULT};

/// `config/default.toml`: the default and the documentation of every key.
pub const DEFAULT_TOML: &str = include_str!("../../config/default.toml");

/// What a key's value looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// A whole number within these bounds.
    Whole(i64, i64),
    /// Seconds, at least this many; at most a year.
    Seconds(i64),
    /// Any text; empty means not set.
    Text,
    /// A text or a whole number, kept as text.
    TextOrNumber,
    /// A file or folder.
    Path,
    /// A text that is never shown; can be given as `<key>_file`.
    Secret,
    /// An `http://` or `https://` address.
    Url,
    /// `sqlite:` or `postgres://`; carries a password, so it can be given as `<key>_file`.
    DatabaseUrl,
    /// Texts; separated by commas in the environment.
    List,
    /// A JSON object in a text. A broken one is ignored with a warning.
    Json,
    /// USD as a decimal number in a text, or a whole number.
    Usd,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// IP address and port.
    Address,
}

/// A key that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name: `section.key`, or `key` at the top.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
}

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

const COUNT: Kind = Kind::Whole(1, 1_000_000);
const COUNT_OR_NONE: Kind = Kind::Whole(0, 1_000_000);
const PERCENT: Kind = Kind::Whole(1, 100);
const DAYS_OR_NEVER: Kind = Kind::Whole(0, 36_500);

/// All keys.
pub const KEYS: &[Key] = &[
    key("api_token", Kind::Secret),
    key("data_dir", Kind::Path),
    key("repos_dir", Kind::Path),
    key("projects_dir", Kind::Path),
    key("db_path", Kind::Path),
    key("node", Kind::Text),
    key("node_slots", COUNT_OR_NONE),
    key("node_labels", Kind::List),
    key("max_concurrency", COUNT),
    key("max_developer_retries", COUNT_OR_NONE),
    key("gate_alert_s", Kind::Seconds(1)),
    key("shutdown", Kind::OneOf(&["leave", "drain", "stop"])),
    key("server.listen", Kind::Address),
    key("server.body_limit_bytes", Kind::Whole(1024, 1 << 30)),
    key("database.url", Kind::DatabaseUrl),
    key("queue.tick_s", Kind::Seconds(1)),
    key("queue.max_attempts", COUNT),
    key("queue.max_transient_attempts", COUNT_OR_NONE),
    key("queue.project_concurrency", COUNT_OR_NONE),
    key("queue.retry_delay_s", Kind::Seconds(0)),
    key("queue.spare_worktrees", Kind::Switch),
    key("instance.heartbeat_s", Kind::Seconds(1)),
    key("instance.ttl_s", Kind::Seconds(2)),
    key("agent.timeout_s", Kind::Seconds(1)),
    key("agent.timeout_cap_s", Kind::Seconds(1)),
    key("agent.timeout_overrides_json", Kind::Json),
    key("agent.stall_s", Kind::Seconds(1)),
    key("agent.startup_s", Kind::Seconds(1)),
    key("agent.kill_grace_s", Kind::Seconds(1)),
    key("agent.log_cap_mib", Kind::Whole(1, 1_048_576)),
    key("agent.env_allow", Kind::List),
    key("agent.check_timeout_s", Kind::Seconds(1)),
    key("agent.presets_file", Kind::Path),
    key("reaper.enabled", Kind::Switch),
    key("reaper.interval_s", Kind::Seconds(1)),
    key("reaper.dead_ticks", COUNT),
    key("reaper.max_running_s", Kind::Seconds(1)),
    key("reaper.finalize_grace_s", Kind::Seconds(0)),
    key("reaper.step_limit_s", Kind::Seconds(1)),
    key("reconcile.enabled", Kind::Switch),
    key("reconcile.plane_enabled", Kind::Switch),
    key("reconcile.interval_s", Kind::Seconds(1)),
    key("reconcile.grace_default_s", Kind::Seconds(0)),
    key("reconcile.grace_overrides_json", Kind::Json),
    key("reconcile.notify_unblock", Kind::Switch),
    key("reconcile.skip_blocked_enabled", Kind::Switch),
    key("lease_reclaim.enabled", Kind::Switch),
    key("merge.lock_timeout_s", Kind::Seconds(1)),
    key("merge.gate_repos", Kind::List),
    key("merge.gate_enabled", Kind::Switch),
    key("gitea.url", Kind::Url),
    key("gitea.token", Kind::Secret),
    key("gitea.owner", Kind::Text),
    key("gitea.webhook_secret", Kind::Secret),
    key("plane.url", Kind::Url),
    key("plane.api_token", Kind::Secret),
    key("plane.token_analyst", Kind::Secret),
    key("plane.token_architect", Kind::Secret),
    key("plane.token_developer", Kind::Secret),
    key("plane.token_reviewer", Kind::Secret),
    key("plane.token_tester", Kind::Secret),
    key("plane.token_deployer", Kind::Secret),
    key("plane.workspace", Kind::Text),
    key("plane.requests_per_minute", Kind::Whole(1, 1_000_000)),
    key("plane.webhook_secret", Kind::Secret),
    key("telegram.bot_token", Kind::Secret),
    key("telegram.chat_id", Kind::TextOrNumber),
    key("telegram.base_url", Kind::Url),
    key("inbox.enabled", Kind::Switch),
    key("notify.enabled", Kind::Switch),
    key("notify.webhook_url", Kind::Url),
    key("notify.webhook_secret", Kind::Secret),
    key("notify.give_up_after_days", Kind::Whole(1, 365)),
    key("staging.infra_tolerance_enabled", Kind::Switch),
    key("deploy.require_manual_approve", Kind::Switch),
    key("post_deploy.enabled", Kind::Switch),
    key("post_deploy.auto_rollback", Kind::Switch),
    key("post_deploy.base_url", Kind::Url),
    key("repair.enabled", Kind::Switch),
    key("repair.rules_file", Kind::Path),
    key("repair.reload_s", Kind::Seconds(1)),
    key("repair.node_off_s", Kind::Seconds(1)),
    key("repair.node_cool_s", Kind::Seconds(1)),
    key("repair.cooldown_s", Kind::Seconds(0)),
    key("retry.enabled", Kind::Switch),
    key("retry.scope_limit", COUNT_OR_NONE),
    key("retry.task_limit", COUNT_OR_NONE),
    key("breaker.failures", COUNT),
    key("breaker.half_open_s", Kind::Seconds(1)),
    key("budget.task_usd", Kind::Usd),
    key("budget.project_day_usd", Kind::Usd),
    key("budget.reserve_usd", Kind::Usd),
    key("budget.prices_file", Kind::Path),
    key("host.watch_enabled", Kind::Switch),
    key("host.interval_s", Kind::Seconds(1)),
    key("host.disk_alert_percent", PERCENT),
    key("host.disk_stop_percent", PERCENT),
    key("retention.enabled", Kind::Switch),
    key("retention.jobs_days", DAYS_OR_NEVER),
    key("retention.logs_days", DAYS_OR_NEVER),
    key("retention.wip_days", DAYS_OR_NEVER),
    key("retention.outbox_days", DAYS_OR_NEVER),
    key("retention.inbox_days", DAYS_OR_NEVER),
    key("retention.healing_days", DAYS_OR_NEVER),
    key("supervisor.restarts", COUNT_OR_NONE),
    key("supervisor.window_s", Kind::Seconds(1)),
    key("supervisor.ping_s", Kind::Seconds(1)),
    key(
        "log.level",
        Kind::OneOf(&["error", "warn", "info", "debug", "trace"]),
    ),
    key("log.format", Kind::OneOf(&["auto", "text", "json"])),
];

/// Names that begin like a key's environment name and are read elsewhere.
pub const OTHER_ENV_NAMES: [&str; 4] = [
    "ORCH_CONFIG",
    "ORCH_API_URL",
    "ORCH_LOG",
    "ORCH_FAULT_MONITOR_PANIC",
];

impl Key {
    /// The key of that name.
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|k| k.name == name)
    }

    /// `a.b_c` ⇔ `ORCH_A_B_C`.
    pub fn env_name(&self) -> String {
        format!("ORCH_{}", self.name.replace('.', "_").to_ascii_uppercase())
    }

    /// True when the value can be given as `<key>_file`.
    pub fn may_stand_in_a_file(&self) -> bool {
        matches!(self.kind, Kind::Secret | Kind::DatabaseUrl)
    }

    /// What the key does, as `config/default.toml` says it.
    pub fn doc(&self) -> &'static str {
        DEFAULTS.docs.get(self.name).map_or("", String::as_str)
    }
}

/// What `config/default.toml` says.
pub(super) struct Defaults {
    /// The lowest layer.
    pub(super) layer: Layer,
    docs: BTreeMap<String, String>,
}

/// `config/default.toml`, read once.
pub(super) static DEFAULTS: LazyLock<Defaults> = LazyLock::new(|| {
    let document = Document::parse(DEFAULT_TOML);
    let docs = document
        .leaves()
        .into_iter()
        .map(|leaf| (leaf.key, document.comment_above(leaf.line)))
        .collect();
    let layer = Layer::from_document(&document, |_| ORIGIN_DEFAULT.to_owned());
    Defaults { layer, docs }
});
