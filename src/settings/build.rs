//! From judged values to typed settings, and the rules that join several keys.
//! Never reads a file; knows no layer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::keys::KEYS;
use super::sections::{
    Agent, Database, Deploy, Gitea, Instance, LeaseReclaim, Log, LogFormat, LogLevel, Merge, Notify, Plane,
    PostDeploy, Queue, Reaper, Reconcile, Server, ShutdownMode, Staging, Supervisor, Telegram,
};
use super::values::Values;
use super::{Described, Settings, absolute, budget, failures, nodes, upkeep};
use crate::domain::id::{NodeName, StageName};
use crate::domain::pipeline::Role;

/// What a key's effective value is when it is made from others.
type Derived = BTreeMap<&'static str, String>;

/// The settings; none when a value has no usable form. Problems are noted in `v`.
pub(super) fn settings(v: &Values, cwd: &Path) -> Option<Settings> {
    let mut derived = Derived::new();
    let data_dir = absolute(cwd, Path::new(&v.required("data_dir")));
    derived.insert("data_dir", show(&data_dir));
    let mut below = |name: &'static str, folder: &str| {
        let path = v
            .text(name)
            .map_or_else(|| data_dir.join(folder), |p| absolute(cwd, Path::new(&p)));
        derived.insert(name, show(&path));
        path
    };
    let repos_dir = below("repos_dir", "repos");
    let projects_dir = below("projects_dir", "projects");
    let database = database(v, cwd, &data_dir, &mut derived);
    let node = v.required("node");
    // That it is empty was said already.
    let node = NodeName::parse(&node)
        .map_err(|e| (!node.is_empty()).then(|| v.refuse("node", e.rule)))
        .ok();
    let server = server(v);
    let agent = agent(v, cwd);
    let reaper = reaper(v);
    check_times(v, &agent, &reaper);
    let instance = Instance {
        heartbeat: v.seconds("instance.heartbeat_s"),
        ttl: v.seconds("instance.ttl_s"),
    };
    if database.is_shared() {
        check_silence(v, &agent, &instance);
    }
    Some(Settings {
        server: server?,
        api_token: v.secret("api_token"),
        data_dir,
        repos_dir,
        projects_dir,
        database,
        node: node?,
        nodes: nodes::own(v),
        max_concurrency: v.whole("max_concurrency"),
        queue: queue(v),
        instance,
        agent,
        max_developer_retries: v.whole("max_developer_retries"),
        gate_alert: v.seconds("gate_alert_s"),
        reaper,
        reconcile: reconcile(v),
        lease_reclaim: LeaseReclaim {
            enabled: v.switch("lease_reclaim.enabled"),
        },
        merge: Merge {
            lock_timeout: v.seconds("merge.lock_timeout_s"),
            gate_repos: v.list("merge.gate_repos"),
            gate_enabled: v.switch("merge.gate_enabled"),
        },
        gitea: gitea(v),
        plane: plane(v),
        telegram: telegram(v),
        inbox_enabled: v.switch("inbox.enabled"),
        notify: notify(v),
        staging: Staging {
            infra_tolerance_enabled: v.switch("staging.infra_tolerance_enabled"),
        },
        deploy: Deploy {
            require_manual_approve: v.switch("deploy.require_manual_approve"),
        },
        post_deploy: PostDeploy {
            enabled: v.switch("post_deploy.enabled"),
            auto_rollback: v.switch("post_deploy.auto_rollback"),
            base_url: v.text("post_deploy.base_url"),
        },
        repair: failures::repair(v, cwd),
        retry: failures::retry(v),
        budget: budget::budget(v, cwd),
        host: upkeep::host(v),
        retention: upkeep::pruning(v),
        supervisor: Supervisor {
            restarts: v.whole("supervisor.restarts"),
            window: v.seconds("supervisor.window_s"),
            ping: v.seconds("supervisor.ping_s"),
        },
        shutdown: shutdown(v),
        log: log(v),
        described: describe(v, &derived),
    })
}

fn show(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

fn describe(v: &Values, derived: &Derived) -> Vec<Described> {
    let describe = |key: &super::Key| Described {
        key: key.name.into(),
        value: derived
            .get(key.name)
            .cloned()
            .unwrap_or_else(|| v.shown(key.name)),
        source: v.origin(key.name),
        doc: key.doc(),
    };
    KEYS.iter().map(describe).collect()
}

fn database(v: &Values, cwd: &Path, data_dir: &Path, derived: &mut Derived) -> Database {
    let sqlite = |path: &Path| format!("sqlite:{}", path.display());
    let url = match (v.text("database.url"), v.text("db_path")) {
        (Some(_), Some(_)) => {
            v.refuse_together(
                &["database.url", "db_path"],
                "both name the database; keep one of them",
            );
            String::new()
        }
        (Some(url), None) => match url.strip_prefix("sqlite:") {
            Some(":memory:") => {
                v.refuse(
                    "database.url",
                    "name a file: what is kept in memory is lost at the next start",
                );
                String::new()
            }
            Some(file) => sqlite(&absolute(cwd, Path::new(file.strip_prefix("//").unwrap_or(file)))),
            None => url,
        },
        (None, Some(path)) => sqlite(&absolute(cwd, Path::new(&path))),
        (None, None) => sqlite(&data_dir.join("orch.db")),
    };
    derived.insert("database.url", format!("{:?}", super::secret::mask_url(&url)));
    Database { url }
}

fn server(v: &Values) -> Option<Server> {
    let listen = v.required("server.listen");
    let listen = listen
        .parse()
        .map_err(|_| v.refuse("server.listen", "give an IP address and a port"))
        .ok()?;
    warn_of_strangers(v, listen);
    Some(Server {
        listen,
        body_limit_bytes: v.whole("server.body_limit_bytes"),
    })
}

/// Nothing is open to others by mistake; but whoever wants to be reached should know what is missing.
fn warn_of_strangers(v: &Values, listen: SocketAddr) {
    if !listen.ip().to_canonical().is_loopback() && v.secret("api_token").is_none() {
        v.warn(
            "server.listen",
            format!(
                "server.listen = {:?} can be reached by other machines, but there is no api_token: they may change \
                 nothing; set ORCH_API_TOKEN, or listen on 127.0.0.1",
                listen.to_string()
            ),
        );
    }
}

fn queue(v: &Values) -> Queue {
    Queue {
        tick: v.seconds("queue.tick_s"),
        max_attempts: v.whole("queue.max_attempts"),
        max_transient_attempts: v.whole("queue.max_transient_attempts"),
        project_concurrency: v.whole("queue.project_concurrency"),
        retry_delay: v.seconds("queue.retry_delay_s"),
        spare_worktrees: v.switch("queue.spare_worktrees"),
    }
}

fn agent(v: &Values, cwd: &Path) -> Agent {
    let mut timeout_overrides = BTreeMap::new();
    for (name, timeout) in v.seconds_by_name("agent.timeout_overrides_json") {
        match Role::parse(&name) {
            Some(role) => {
                timeout_overrides.insert(role, timeout);
            }
            None => {
                let roles = Role::ALL.map(Role::as_str).join(", ");
                let key = "agent.timeout_overrides_json";
                v.warn(key, format!("{key}: {name:?} is ignored: the roles are {roles}"));
            }
        }
    }
    let log_cap_mib: u64 = v.whole("agent.log_cap_mib");
    Agent {
        timeout: v.seconds("agent.timeout_s"),
        timeout_cap: v.seconds("agent.timeout_cap_s"),
        timeout_overrides,
        stall: v.seconds("agent.stall_s"),
        startup: v.seconds("agent.startup_s"),
        kill_grace: v.seconds("agent.kill_grace_s"),
        log_cap_bytes: log_cap_mib * 1024 * 1024,
        env_allow: env_allow(v),
        check_timeout: v.seconds("agent.check_timeout_s"),
        presets_file: v.text("agent.presets_file").map(|p| absolute(cwd, Path::new(&p))),
    }
}

/// An agent never sees the service's own secrets, whatever the list says.
fn env_allow(v: &Values) -> Vec<String> {
    let names = v.list("agent.env_allow");
    for key in KEYS.iter().filter(|k| k.may_stand_in_a_file()) {
        let secret = key.env_name();
        if let Some(name) = names
            .iter()
            .find(|n| **n == secret || **n == format!("{secret}_FILE"))
        {
            v.refuse(
                "agent.env_allow",
                format!("{name} is a secret of the service: remove it"),
            );
        }
    }
    names
}

fn reaper(v: &Values) -> Reaper {
    Reaper {
        enabled: v.switch("reaper.enabled"),
        interval: v.seconds("reaper.interval_s"),
        dead_ticks: v.whole("reaper.dead_ticks"),
        max_running: v.seconds("reaper.max_running_s"),
        step_limit: v.seconds("reaper.step_limit_s"),
        finalize_grace: v.seconds("reaper.finalize_grace_s"),
    }
}

/// A run has to be over when others may take its job, and a heartbeat that is late once must not end it.
fn check_silence(v: &Values, agent: &Agent, instance: &Instance) {
    let (margin, run_ttl) = (instance.margin(), instance.run_ttl());
    if agent.kill_grace >= margin {
        let why = format!(
            "a run may take agent.kill_grace_s to end, and has {} s for it before others take its job; lower the one or raise the other",
            margin.as_secs_f32()
        );
        v.refuse_together(&["instance.ttl_s", "agent.kill_grace_s"], why);
    }
    if instance.heartbeat * 2 >= run_ttl {
        let why = format!(
            "one late heartbeat would end every run, which happens after {} s of silence; lower the one or raise the other",
            run_ttl.as_secs_f32()
        );
        v.refuse_together(&["instance.ttl_s", "instance.heartbeat_s"], why);
    }
}

/// A live agent within its timeout must never be old enough to be reaped, nor the check of its work that follows in the
/// same job.
fn check_times(v: &Values, agent: &Agent, reaper: &Reaper) {
    let cap = agent.timeout_cap;
    if agent.timeout > cap {
        v.refuse_together(
            &["agent.timeout_s", "agent.timeout_cap_s"],
            "the timeout is above its cap; lower it or raise the cap",
        );
    }
    for (role, timeout) in agent.timeout_overrides.iter().filter(|(_, t)| **t > cap) {
        let why = format!(
            "the {role}'s {} s are above the cap; lower them or raise the cap",
            timeout.as_secs()
        );
        v.refuse_together(&["agent.timeout_overrides_json", "agent.timeout_cap_s"], why);
    }
    let longest = cap + agent.kill_grace + agent.check_timeout + agent.kill_grace + reaper.finalize_grace;
    if longest >= reaper.max_running {
        let why = format!(
            "a run within its timeouts could be reaped; raise reaper.max_running_s above {}, the sum of the others (the grace twice)",
            longest.as_secs()
        );
        v.refuse_together(
            &[
                "reaper.max_running_s",
                "agent.timeout_cap_s",
                "agent.check_timeout_s",
                "agent.kill_grace_s",
                "reaper.finalize_grace_s",
            ],
            why,
        );
    }
}

fn reconcile(v: &Values) -> Reconcile {
    let mut grace_overrides = BTreeMap::new();
    for (name, grace) in v.seconds_by_name("reconcile.grace_overrides_json") {
        match StageName::parse(&name) {
            Ok(stage) => {
                grace_overrides.insert(stage.as_str().to_owned(), grace);
            }
            Err(why) => v.warn(
                "reconcile.grace_overrides_json",
                format!("reconcile.grace_overrides_json: {name:?} is ignored: {why}"),
            ),
        }
    }
    Reconcile {
        enabled: v.switch("reconcile.enabled"),
        plane_enabled: v.switch("reconcile.plane_enabled"),
        interval: v.seconds("reconcile.interval_s"),
        grace_default: v.seconds("reconcile.grace_default_s"),
        grace_overrides,
        notify_unblock: v.switch("reconcile.notify_unblock"),
        skip_blocked_enabled: v.switch("reconcile.skip_blocked_enabled"),
    }
}

fn gitea(v: &Values) -> Gitea {
    Gitea {
        url: v.text("gitea.url"),
        token: v.secret("gitea.token"),
        owner: v.text("gitea.owner"),
        webhook_secret: v.secret("gitea.webhook_secret"),
    }
}

fn plane(v: &Values) -> Plane {
    Plane {
        url: v.text("plane.url"),
        api_token: v.secret("plane.api_token"),
        role_tokens: Role::ALL
            .into_iter()
            .filter_map(|role| Some((role, v.secret(&format!("plane.token_{}", role.as_str()))?)))
            .collect(),
        workspace: v.text("plane.workspace"),
        requests_per_minute: v.whole("plane.requests_per_minute"),
        webhook_secret: v.secret("plane.webhook_secret"),
    }
}

fn telegram(v: &Values) -> Telegram {
    let telegram = Telegram {
        bot_token: v.secret("telegram.bot_token"),
        chat_id: v.text("telegram.chat_id"),
        base_url: v.required("telegram.base_url"),
    };
    if telegram.bot_token.is_some() && telegram.chat_id.is_none() {
        let message = "telegram.chat_id is not set: no messages are sent".to_owned();
        v.warn("telegram.bot_token", message);
    }
    telegram
}

fn notify(v: &Values) -> Notify {
    Notify {
        enabled: v.switch("notify.enabled"),
        webhook_url: v.text("notify.webhook_url"),
        webhook_secret: v.secret("notify.webhook_secret"),
        give_up_after: Duration::from_secs(86_400 * v.whole::<u64>("notify.give_up_after_days")),
    }
}

fn shutdown(v: &Values) -> ShutdownMode {
    match v.text("shutdown").as_deref() {
        Some("drain") => ShutdownMode::Drain,
        Some("stop") => ShutdownMode::Stop,
        Some(_) | None => ShutdownMode::Leave,
    }
}

fn log(v: &Values) -> Log {
    let level = match v.text("log.level").as_deref() {
        Some("error") => LogLevel::Error,
        Some("warn") => LogLevel::Warn,
        Some("debug") => LogLevel::Debug,
        Some("trace") => LogLevel::Trace,
        Some(_) | None => LogLevel::Info,
    };
    let format = match v.text("log.format").as_deref() {
        Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(_) | None => LogFormat::Auto,
    };
    Log { level, format }
}
