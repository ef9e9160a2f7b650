//! What the shim is told: one value, written once, complete. Never changed after the launch.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::lease::RunLease;

/// A program to run, and its limits. The shim enforces them, so they hold while the service is dead.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchSpec {
    /// Program: a path, or a name that is looked up in the `PATH` of `env`.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment: nothing is added but `ORCH_RUN_DIR`, by which what outlives a killed shim is found.
    pub env: Vec<(String, String)>,
    /// Where it runs.
    pub cwd: PathBuf,
    /// File given as its standard input; `/dev/null` when absent.
    pub stdin: Option<PathBuf>,
    /// Size the log may reach; beginning and end are kept. At least 4 KiB is granted.
    pub log_cap_bytes: u64,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// How long it may print nothing, once it has printed something.
    pub stall: Option<Duration>,
    /// How long it may print nothing at first. Without it, `stall` counts from the start.
    pub startup: Option<Duration>,
    /// Time between TERM and KILL.
    pub kill_grace: Duration,
    /// Ends it when its service is not heard any more; none where nobody else could take it over.
    #[serde(default)]
    pub lease: Option<RunLease>,
    /// A deploy hook. It must not be begun twice, even where the machine goes down in the moment of its start: that it begins is
    /// on the disk before it does. And what it has started is production: it is let alone when the hook ends by itself.
    #[serde(default)]
    pub once: bool,
}

impl fmt::Debug for LaunchSpec {
    /// Without the values of the environment: they hold keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("LaunchSpec")
            .field("program", &self.program)
            .field("args", &self.args)
            .field("env", &names)
            .field("cwd", &self.cwd)
            .field("stdin", &self.stdin)
            .field("log_cap_bytes", &self.log_cap_bytes)
            .field("timeout", &self.timeout)
            .field("stall", &self.stall)
            .field("startup", &self.startup)
            .field("kill_grace", &self.kill_grace)
            .field("lease", &self.lease)
            .field("once", &self.once)
            .finish()
    }
}
