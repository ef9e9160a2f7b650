//! Settings: layered, typed, validated once. Everything above reads fields and never validates again.
//! Never reads the process's environment or a clock: the caller hands in what there is.

mod budget;
mod build;
mod check;
pub mod data_dir;
mod document;
mod failures;
mod keys;
mod layers;
mod nodes;
mod problem;
pub mod project;
mod secret;
mod sections;
pub mod token;
mod upkeep;
mod values;

use std::borrow::Cow;
use std::path::{Path, PathBuf};

pub use budget::Budget;
pub use failures::Repair;
pub use keys::{DEFAULT_TOML, KEYS, Key, Kind};
pub use nodes::{Nodes, SshNode};
pub use problem::{Problem, SettingsError, Warning};
pub use project::Project;
pub use secret::Secret;
pub use sections::{
    Agent, Database, Deploy, Gitea, Instance, LeaseReclaim, Log, LogFormat, LogLevel, Merge, Notify, Plane,
    PostDeploy, Queue, Reaper, Reconcile, Server, ShutdownMode, Staging, Supervisor, Telegram,
};
pub use upkeep::{Host, Pruning};

use crate::domain::id::NodeName;
use crate::domain::retry::Limits;
use layers::{Findings, Layer};
use values::Values;

/// Where settings come from.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// The file given by `--config`; without it, the one that `ORCH_CONFIG` names.
    pub config_file: Option<PathBuf>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// Folder in which relative paths begin.
    pub cwd: PathBuf,
}

/// All settings of the service.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `server.*`
    pub server: Server,
    /// `api_token`: bearer token of the admin routes.
    pub api_token: Option<Secret>,
    /// `data_dir`, absolute: database, run directories, logs.
    pub data_dir: PathBuf,
    /// `repos_dir`, absolute: Orch's clones and worktrees.
    pub repos_dir: PathBuf,
    /// `projects_dir`, absolute: one TOML file per project.
    pub projects_dir: PathBuf,
    /// `database.*`
    pub database: Database,
    /// `node`: name of this machine.
    pub node: NodeName,
    /// `node_slots`, `node_labels`, `nodes.*`
    pub nodes: Nodes,
    /// `max_concurrency`: agents at the same time.
    pub max_concurrency: usize,
    /// `queue.*`
    pub queue: Queue,
    /// `instance.*`
    pub instance: Instance,
    /// `agent.*`
    pub agent: Agent,
    /// `max_developer_retries`: the default for projects.
    pub max_developer_retries: i32,
    /// `gate_alert_s`: a gate that waits longer is reported once.
    pub gate_alert: std::time::Duration,
    /// `reaper.*`
    pub reaper: Reaper,
    /// `reconcile.*`
    pub reconcile: Reconcile,
    /// `lease_reclaim.*`
    pub lease_reclaim: LeaseReclaim,
    /// `merge.*`
    pub merge: Merge,
    /// `gitea.*`
    pub gitea: Gitea,
    /// `plane.*`
    pub plane: Plane,
    /// `telegram.*`
    pub telegram: Telegram,
    /// `inbox.enabled`: deliveries of webhooks are applied.
    pub inbox_enabled: bool,
    /// `notify.*`
    pub notify: Notify,
    /// `staging.*`
    pub staging: Staging,
    /// `deploy.*`
    pub deploy: Deploy,
    /// `post_deploy.*`
    pub post_deploy: PostDeploy,
    /// `repair.*`
    pub repair: Repair,
    /// `retry.*` and `breaker.*`
    pub retry: Limits,
    /// `budget.*`
    pub budget: Budget,
    /// `host.*`
    pub host: Host,
    /// `retention.*`
    pub retention: Pruning,
    /// `supervisor.*`
    pub supervisor: Supervisor,
    /// `shutdown`
    pub shutdown: ShutdownMode,
    /// `log.*`
    pub log: Log,
    described: Vec<Described>,
}

/// A key as `orch config show` prints it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Described {
    /// The key; of a node its section.
    pub key: Cow<'static, str>,
    /// Its effective value; a secret is `***`.
    pub value: String,
    /// Where it was given: `default`, `file /etc/orch.toml:3`, `env ORCH_MAX_CONCURRENCY`,
    /// `file named by ORCH_PLANE_API_TOKEN_FILE`.
    pub source: String,
    /// What it does.
    pub doc: &'static str,
}

impl Settings {
    /// Reads all layers: built-in defaults, the configuration file, the environment.
    ///
    /// # Errors
    /// Everything that is wrong with them, one problem per line.
    pub fn load(options: LoadOptions) -> Result<(Self, Vec<Warning>), SettingsError> {
        let mut found = Findings::default();
        let (file, ssh) = file_layer(&options, &mut found);
        let env = Layer::from_env(&options.env, &mut found);
        let merged = layers::merge(vec![file, env]).map_err(|p| SettingsError { problems: vec![p] })?;
        let values = Values::judge(&merged, &options.cwd, found);
        let settings = build::settings(&values, &options.cwd).map(|mut settings| {
            for node in ssh.iter().filter(|node| node.name == settings.node) {
                let why = format!(
                    "{}: nodes.{} is called like the service's own node: give it another name",
                    node.source, node.name
                );
                values.problem(Problem::Combination(why));
            }
            let outlives = |node: &&SshNode| settings.database.is_shared() && node.orch.is_none();
            for node in ssh.iter().filter(outlives) {
                let why = format!(
                    "{}: nodes.{}.orch is missing: where several services share a database, an agent has to end when its \
                     service is silent; install this program there and set orch",
                    node.source, node.name
                );
                values.problem(Problem::Combination(why));
            }
            settings.described.extend(ssh.iter().map(SshNode::described));
            settings.nodes.ssh = ssh;
            settings
        });
        let found = values.into_findings();
        match settings {
            Some(settings) if found.problems.is_empty() => Ok((settings, found.warnings)),
            Some(_) | None => Err(SettingsError {
                problems: found.problems,
            }),
        }
    }

    /// Every key with its effective value and source, in the order of the table.
    pub fn describe(&self) -> Vec<Described> {
        self.described.clone()
    }

    /// A text from outside without the secrets that are set.
    pub fn without_secrets(&self, text: &str) -> String {
        let known = self.secrets().into_iter().map(Secret::expose);
        // A short one would hide half of every text.
        known
            .filter(|secret| secret.len() >= 6)
            .fold(text.to_owned(), |text, secret| text.replace(secret, secret::MASK))
    }

    /// Every secret that is set, for masking texts that come from outside.
    pub fn secrets(&self) -> Vec<&Secret> {
        [
            &self.api_token,
            &self.gitea.token,
            &self.gitea.webhook_secret,
            &self.plane.api_token,
            &self.plane.webhook_secret,
            &self.telegram.bot_token,
            &self.notify.webhook_secret,
        ]
        .into_iter()
        .flatten()
        .chain(self.plane.role_tokens.values())
        .collect()
    }
}

fn file_layer(options: &LoadOptions, found: &mut Findings) -> (Layer, Vec<SshNode>) {
    let by_env = || {
        let named = options.env.iter().rev().find(|(name, _)| name == "ORCH_CONFIG");
        named.map(|(_, path)| path).filter(|path| !path.is_empty())
    };
    let (origin, path) = match (&options.config_file, by_env()) {
        (Some(path), _) => ("--config", path.clone()),
        (None, Some(path)) => ("env ORCH_CONFIG", PathBuf::from(path)),
        (None, None) => return Default::default(),
    };
    let path = absolute(&options.cwd, &path);
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let layer = Layer::from_file(&path, &text, found);
            (layer, nodes::ssh(&path, &text, &options.cwd, found))
        }
        Err(why) => {
            found.problems.push(Problem::Unreadable {
                origin: origin.to_owned(),
                path,
                why: why.to_string(),
            });
            Default::default()
        }
    }
}

/// `path` seen from `cwd`, without `.` parts.
fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    cwd.join(path).components().collect()
}
