//! A deploy hook on a machine that ssh reaches: begun there once, followed over as many connections as it takes. Never
//! decides what its end means.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::Duration;

use super::super::files::{failed, private};
use super::super::ssh::{BROKEN, SshTarget, quoted};
use super::super::{LaunchSpec, ProcessError};
use super::scripts;
use crate::domain::run::{ExitRecord, StopCause};

/// The hook as a script, within the run's own directory.
const SCRIPT: &str = "hook.sh";
/// Longer than the hook's own limit: what its machine needs to end it.
const MARGIN: Duration = Duration::from_secs(60);
/// What is printed there as soon as the hook is followed.
const FOLLOWED: &str = "orch: the hook is followed";

/// A hook there.
#[derive(Clone, Debug)]
pub struct FarHook {
    /// The machine.
    pub target: SshTarget,
    /// Its folder there, absolute or from the login's home: the same folder is begun once.
    pub folder: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables of its environment, beside those of the login.
    pub env: BTreeMap<String, String>,
    /// How long it may run.
    pub limit: Duration,
}

impl FarHook {
    /// What a shim here is to run: begin it there if it was not, and follow it. What it is told goes over standard input.
    ///
    /// # Errors
    /// The run directory's.
    pub fn launch_spec(
        &self,
        run_dir: &Path,
        env: Vec<(String, String)>,
    ) -> Result<LaunchSpec, ProcessError> {
        let mut folder = fs::DirBuilder::new();
        let made = folder.recursive(true).mode(0o700).create(run_dir);
        made.map_err(failed("create", run_dir))?;
        let script = run_dir.join(SCRIPT);
        let text = self.script();
        let written = private()
            .open(&script)
            .and_then(|mut f| f.write_all(text.as_bytes()));
        written.map_err(failed("write", &script))?;
        let [limit, most] = [self.limit, longest(self.limit)].map(|time| time.as_secs().to_string());
        let words = [&self.folder, &limit, &most, &text.len().to_string()];
        let (program, args) = self.target.argv(scripts::HOOK, &words.map(String::as_str));
        Ok(LaunchSpec {
            program,
            args,
            env,
            cwd: run_dir.to_owned(),
            stdin: Some(script),
            log_cap_bytes: 1 << 20,
            timeout: Some(longest(self.limit) + MARGIN),
            stall: None,
            startup: None,
            kill_grace: Duration::from_secs(5),
            lease: None,
            once: false,
        })
    }

    fn script(&self) -> String {
        // It holds the environment: nobody needs it once it is read.
        let mut script = "rm -f -- \"$0\"\n".to_owned();
        for (name, value) in &self.env {
            script.push_str(&format!("export {name}={}\n", quoted(value)));
        }
        script.push_str("exec");
        for word in &self.argv {
            script.push(' ');
            script.push_str(&quoted(word));
        }
        script.push('\n');
        script
    }
}

/// After so long a hook of this limit is over on its machine. Its seconds are counted one by one there, which takes longer.
pub fn longest(limit: Duration) -> Duration {
    limit + limit / 10 + MARGIN
}

/// The connection broke or hung, or there was none: the hook may be at work there all the same.
pub fn is_cut(exit: &ExitRecord) -> bool {
    match &exit.cause {
        None => exit.code == Some(BROKEN) || exit.code.is_none(),
        Some(StopCause::Timeout { .. }) => true,
        Some(
            StopCause::Stall { .. }
            | StopCause::Startup { .. }
            | StopCause::Stopped
            | StopCause::LeaseExpired { .. }
            | StopCause::NotStarted { .. },
        ) => false,
    }
}

/// A connection that printed this reached the machine, and the hook had begun there.
pub fn reached(output: &str) -> bool {
    output.lines().any(|line| line == FOLLOWED)
}

/// What the hook itself printed.
pub fn printed(output: &str) -> String {
    let lines = output.split_inclusive('\n');
    lines.filter(|line| line.trim_end() != FOLLOWED).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::process::{Command, Output, Stdio};

    use super::*;

    /// What sshd would run of a hook of these words, with the first bytes of its standard input.
    fn call(room: &Path, argv: &[&str], bytes: Option<usize>) -> Output {
        let target = SshTarget {
            host: "far".to_owned(),
            port: None,
            identity_file: None,
            known_hosts_file: None,
        };
        let hook = FarHook {
            target,
            folder: room.join("deploys/1").display().to_string(),
            argv: argv.iter().map(|word| (*word).to_owned()).collect(),
            env: [("WORD".to_owned(), "it's".to_owned())].into(),
            limit: Duration::from_secs(20),
        };
        let spec = hook.launch_spec(&room.join("record"), Vec::new()).unwrap();
        let mut text = fs::read(spec.stdin.unwrap()).unwrap();
        text.truncate(bytes.unwrap_or(text.len()));
        let mut far = Command::new("sh");
        let far = far.arg("-c").arg(spec.args.last().unwrap());
        let piped = far.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut far = piped.stderr(Stdio::piped()).spawn().unwrap();
        far.stdin.take().unwrap().write_all(&text).unwrap();
        far.wait_with_output().unwrap()
    }

    #[test]
    fn a_hook_that_came_in_part_is_not_begun_and_the_whole_one_is_once() {
        let room = tempfile::tempdir().unwrap();
        let called = room.path().join("called");
        let script = format!("echo \"$WORD\" >>{}; echo said; exit 3", called.display());
        let argv = ["sh", "-c", &script];
        for bytes in [0, 1, 30, 80] {
            let torn = call(room.path(), &argv, Some(bytes));
            assert_eq!(torn.status.code(), Some(BROKEN), "{torn:?}");
            assert!(!reached(&String::from_utf8(torn.stdout).unwrap()));
            let left = fs::read_dir(room.path().join("deploys")).unwrap();
            assert_eq!(left.count(), 0, "nothing is left of it");
        }
        for _ in 0..2 {
            let whole = call(room.path(), &argv, None);
            assert_eq!(whole.status.code(), Some(3), "{whole:?}");
            let output = String::from_utf8(whole.stdout).unwrap();
            assert!(reached(&output), "{output}");
            assert_eq!(printed(&output), "said\n");
        }
        assert_eq!(fs::read_to_string(called).unwrap(), "it's\n");
        assert!(!room.path().join("deploys/1/hook.sh").exists());
    }
}
