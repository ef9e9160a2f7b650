//! A run whose agent works on a machine that is reached by ssh: its folders there, and what is asked of that machine.
//! Never decides what becomes of the run, and never moves commits: that is git's.
//!
//! Under the node's root there are `repos/<project>.git`, and for each run `worktrees/<job>-<epoch>` and
//! `runs/<job>-<epoch>`. Whatever a run starts there carries the run's folder in its environment: so it is found.

mod drive;
mod hook;
mod scripts;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use drive::main;
pub use hook::{FarHook, is_cut, longest, printed, reached};

use super::files;
use super::ssh::{Said, SshTarget, quoted};
use super::{LaunchSpec, ProcessError, RunLease};

/// The file of a run's own directory that says where its agent works.
const RECORD: &str = "far.json";
/// Scripts that look, move or remove a few files.
const QUICK: Duration = Duration::from_secs(60);
/// Scripts that read or write a whole tree.
const WHOLE: Duration = Duration::from_secs(600);
/// The time that a machine is given to answer where an agent's end is waited for.
const STOPPING: Duration = Duration::from_secs(15);

/// A run there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FarRun {
    /// The node's name.
    pub node: String,
    /// The machine.
    pub target: SshTarget,
    /// Its folder for Orch; absolute once [`FarRun::greet`] was answered.
    pub root: String,
    /// The project, which names the repository there.
    pub project: String,
    /// `<job>-<epoch>`.
    pub name: String,
    /// The database that gives out these names.
    pub owner: String,
    /// This program there, if it is.
    pub orch: Option<String>,
    /// Time between TERM and KILL, seconds.
    pub grace_s: u64,
    /// Silence of the machine after which the run is given up, seconds.
    pub offline_after_s: u64,
    /// After that the run is ended there whoever is connected, seconds.
    pub limit_s: u64,
}

/// What a machine says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// The folder for Orch, absolute.
    pub root: String,
    /// The environment of the login.
    pub env: Vec<(String, String)>,
}

/// The commits that hold what an agent left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collected {
    /// What it had checked out.
    pub head: String,
    /// The same with everything uncommitted.
    pub work: String,
}

impl FarRun {
    /// The record of a run directory, if its agent was to work elsewhere.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(run_dir: &Path) -> Result<Option<Self>, ProcessError> {
        files::read_json(&run_dir.join(RECORD))
    }

    /// Whether the agent of this run directory was to work elsewhere.
    pub fn is_in(run_dir: &Path) -> bool {
        run_dir.join(RECORD).exists()
    }

    /// Writes the record, durably: nothing else knows where the work is.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, run_dir: &Path) -> Result<(), ProcessError> {
        let path = run_dir.join(RECORD);
        let bytes = serde_json::to_vec(self).map_err(|source| ProcessError::Damaged {
            path: path.clone(),
            source,
        })?;
        files::write_durably(&path, &bytes)
    }

    /// The run's folder there.
    pub fn run_dir(&self) -> String {
        format!("{}/runs/{}", self.root, self.name)
    }

    /// The worktree there.
    pub fn worktree(&self) -> String {
        format!("{}/worktrees/{}", self.root, self.name)
    }

    /// The prompt there.
    pub fn prompt(&self) -> String {
        format!("{}/prompt.md", self.run_dir())
    }

    /// The repository there, as git is given it.
    pub fn repository(&self) -> String {
        let path = format!("{}/repos/{}.git", self.root, self.project);
        self.target.address(&path)
    }

    /// Refs of this run there: `start`, `prepared`, `head`, `work`.
    pub fn reference(&self, what: &str) -> String {
        format!("refs/orch/runs/{}/{what}", self.name)
    }

    /// What the run's shim there looks at: renewed by whoever follows it.
    pub fn lease(&self) -> RunLease {
        RunLease {
            file: format!("{}/lease.json", self.run_dir()).into(),
            ttl: Duration::from_secs(self.offline_after_s),
        }
    }

    fn ask(
        &self,
        what: &'static str,
        script: &str,
        words: &[&str],
        input: &[u8],
        within: Duration,
    ) -> Result<Said, ProcessError> {
        let said = self.target.call(script, words, input, within)?;
        match said.code {
            0 => Ok(said),
            code => Err(ProcessError::Far {
                node: self.node.clone(),
                what,
                code,
                why: said.complaint,
            }),
        }
    }

    fn place(&self) -> [&str; 4] {
        [&self.root, &self.project, &self.name, &self.owner]
    }

    /// Makes the folders and the repository there. From then on nobody but `carrier` checks out there.
    ///
    /// # Errors
    /// The machine's.
    pub fn greet(&self, sha256: bool, carrier: &str) -> Result<Greeting, ProcessError> {
        let [root, project, name, owner] = self.place();
        let format = if sha256 { "sha256" } else { "sha1" };
        let said = self.ask(
            "making room",
            scripts::GREET,
            &[root, project, name, owner, format, carrier],
            &[],
            QUICK,
        )?;
        let text = String::from_utf8_lossy(&said.stdout);
        let mut lines = text.lines();
        let root = lines.next().unwrap_or_default().to_owned();
        let pair = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        Ok(Greeting {
            root,
            env: lines.filter_map(pair).collect(),
        })
    }

    /// Checks out what was pushed there: HEAD at `start`, the files of `prepared`, the difference uncommitted. Refused
    /// where an agent was started already, or somebody else carries by now.
    ///
    /// # Errors
    /// The machine's.
    pub fn check_out(
        &self,
        [start, prepared]: [&str; 2],
        prompt: &[u8],
        carrier: &str,
    ) -> Result<(), ProcessError> {
        let [root, project, name, _] = self.place();
        let words = [root, project, name, start, prepared, carrier];
        self.ask("the checkout", scripts::CHECK_OUT, &words, prompt, WHOLE)
            .map(drop)
    }

    /// Writes down there what is to be started.
    ///
    /// # Errors
    /// The machine's.
    pub fn put(&self, spec: &LaunchSpec) -> Result<(), ProcessError> {
        let path = |name: &str| format!("{}/{name}", self.run_dir());
        let (path, text) = match &self.orch {
            Some(_) => {
                let damaged = |source| ProcessError::Damaged {
                    path: path(files::LAUNCH).into(),
                    source,
                };
                (path(files::LAUNCH), serde_json::to_vec(spec).map_err(damaged)?)
            }
            None => (path("start.sh"), self.start_script(spec).into_bytes()),
        };
        self.ask("writing a file", scripts::PUT, &[&path], &text, QUICK)
            .map(drop)
    }

    /// The program in its folder, with this environment and nothing else.
    fn start_script(&self, spec: &LaunchSpec) -> String {
        let mut script = scripts::CLEAR_ENVIRONMENT.to_owned();
        let is_name = |name: &str| {
            let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        for (name, value) in spec.env.iter().filter(|(name, _)| is_name(name)) {
            script.push_str(&format!("export {name}={}\n", quoted(value)));
        }
        let words: Vec<_> = [&spec.program]
            .into_iter()
            .chain(&spec.args)
            .map(|w| quoted(w))
            .collect();
        let stdin = spec
            .stdin
            .as_ref()
            .map_or("/dev/null".into(), |path| path.display().to_string());
        script.push_str(&format!(
            "export ORCH_RUN_DIR={}\ncd {} || exit 126\nexec {} <{}\n",
            quoted(&self.run_dir()),
            quoted(&spec.cwd.display().to_string()),
            words.join(" "),
            quoted(&stdin)
        ));
        script
    }

    /// Ends all that the run started there, and returns when nothing of it is left.
    ///
    /// # Errors
    /// The machine's.
    pub fn end(&self) -> Result<(), ProcessError> {
        let grace = self.grace_s.to_string();
        let within = STOPPING + Duration::from_secs(2 * self.grace_s);
        let words = [&self.run_dir(), grace.as_str(), &self.owner];
        self.ask("ending the agent", scripts::END, &words, &[], within)
            .map(drop)
    }

    /// Ends what lives of the run there, and commits everything in its worktree beside the agent's own branch. None when
    /// there is no worktree.
    ///
    /// # Errors
    /// The machine's.
    pub fn collect(&self) -> Result<Option<Collected>, ProcessError> {
        self.end()?;
        let said = self.ask("the look for work", scripts::COLLECT, &self.place(), &[], WHOLE)?;
        let text = String::from_utf8_lossy(&said.stdout);
        let mut words = text.split_whitespace();
        Ok(match (words.next(), words.next()) {
            (Some(head), Some(work)) => Some(Collected {
                head: head.to_owned(),
                work: work.to_owned(),
            }),
            (_, _) => None,
        })
    }

    /// Removes all of the run there. Only after its work was taken.
    ///
    /// # Errors
    /// The machine's.
    pub fn forget(&self) -> Result<(), ProcessError> {
        self.ask("tidying up", scripts::FORGET, &self.place(), &[], WHOLE)
            .map(drop)
    }
}

/// Notes something in a run's folder, durably.
///
/// # Errors
/// The disk's.
pub fn note(path: &Path, text: &str) -> Result<(), ProcessError> {
    files::write_durably(path, text.as_bytes())
}

/// What is on a node, as it says itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Examined {
    /// The version of git.
    pub git: String,
    /// That of this program, where `orch` names it.
    pub orch: Option<String>,
    /// The installation whose the root is, once one has used it.
    pub owner: Option<String>,
}

/// Asks a node for what it has to have.
///
/// # Errors
/// `Offline`, or `Far` with what is missing.
pub fn examine(
    node: &str,
    target: &SshTarget,
    root: &str,
    orch: Option<&str>,
) -> Result<Examined, ProcessError> {
    let said = target.call(scripts::EXAMINE, &[root, orch.unwrap_or_default()], &[], QUICK)?;
    if said.code != 0 {
        return Err(ProcessError::Far {
            node: node.to_owned(),
            what: "the check",
            code: said.code,
            why: said.complaint,
        });
    }
    let text = String::from_utf8_lossy(&said.stdout);
    let mut examined = Examined::default();
    for (n, line) in text.lines().enumerate() {
        match line.strip_prefix("owner ") {
            Some(owner) => examined.owner = Some(owner.to_owned()),
            None if n == 0 => line.clone_into(&mut examined.git),
            None => examined.orch = Some(line.to_owned()),
        }
    }
    Ok(examined)
}
