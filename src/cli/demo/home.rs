//! The demo's temporary home: sample repository, agent, configuration, data. Gone when dropped, unless kept.
//! Never writes outside its own folder.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::Context;

use crate::actors::fault::DEMO_MARK;
use crate::domain::id::{BranchName, Sha};
use crate::domain::pipeline::Role;
use crate::git;
use crate::store::scratch::Scratch;

use super::sample;

/// Variables of the caller's environment that the service is given. Above all none of `ORCH_*`: a person's own
/// installation must not show through.
const PASSED_ON: [&str; 5] = ["PATH", "TMPDIR", "LANG", "LC_ALL", "TZ"];
/// How often removing is tried: something that is just ending may still write.
const REMOVALS: u32 = 20;

/// The folder and what stands in it.
#[derive(Debug)]
pub struct Home {
    root: PathBuf,
    keep: bool,
    /// Where the service will answer: "127.0.0.1:40123".
    pub address: String,
    /// The sample repository's `main` before the task.
    pub base: Sha,
    /// Instead of a SQLite file in the folder.
    database: Option<Scratch>,
}

impl Home {
    /// Makes the folder below `TMPDIR` and fills it.
    ///
    /// # Errors
    /// Something cannot be written, git is missing, or no port is free.
    pub fn create(keep: bool, server: Option<&str>) -> anyhow::Result<Self> {
        let mut name = format!("orch-demo-{}", uuid::Uuid::new_v4().simple());
        // Short, because a person may have to type it; making the folder fails if it exists.
        name.truncate("orch-demo-".len() + 8);
        let root = std::env::temp_dir().join(&name);
        fs::DirBuilder::new().mode(0o700).create(&root).with_context(|| {
            format!(
                "cannot make the demo's folder {}; point TMPDIR at a writable folder",
                root.display()
            )
        })?;
        // From here on the folder is removed whatever happens.
        let mut home = Self {
            root,
            keep: false,
            address: free_address()?,
            base: Sha::trusted(""),
            database: None,
        };
        if let Some(server) = server {
            home.database = Some(Scratch::make(server, &name.replace('-', "_"))?);
        }
        home.base = git::sample::create(
            &home.repository(),
            &BranchName::trusted(sample::MAIN),
            &sample::HISTORY,
        )
        .context("cannot write the sample repository")?;
        home.write("agent.sh", sample::AGENT)?;
        home.write("orch.toml", &home.settings()?)?;
        home.write("data/projects/tally.toml", &home.project()?)?;
        home.keep = keep;
        Ok(home)
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
    /// The sample repository.
    pub fn repository(&self) -> PathBuf {
        self.root.join(sample::PROJECT)
    }
    /// The service's settings.
    pub fn config(&self) -> PathBuf {
        self.root.join("orch.toml")
    }
    /// What the service prints.
    pub fn service_log(&self) -> PathBuf {
        self.root.join("service.log")
    }
    /// The token that the service writes for its own command line.
    pub fn token(&self) -> PathBuf {
        self.root.join("data/api-token")
    }

    /// The service's whole environment. Its home is the demo's, so no git configuration of a person applies.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let passed = PASSED_ON
            .into_iter()
            .filter_map(|name| std::env::var_os(name).map(|value| (name.into(), value)));
        let own = [
            ("HOME", self.root.clone().into_os_string()),
            ("GIT_CONFIG_NOSYSTEM", "1".into()),
            ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
        ];
        passed
            .chain(own.map(|(name, value)| (OsString::from(name), value)))
            .collect()
    }

    /// From now on agents of this role wait at their work.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn hold(&self, role: Role) -> anyhow::Result<()> {
        self.write(&format!("hold-{role}"), "")
    }

    /// The process of the agent of this role that waits, once one does.
    pub fn held(&self, role: Role) -> Option<i32> {
        let by = fs::read_to_string(self.root.join(format!("hold-{role}.by"))).ok()?;
        by.trim().parse().ok()
    }

    /// Lets agents of this role work.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn release(&self, role: Role) -> anyhow::Result<()> {
        let path = self.root.join(format!("hold-{role}"));
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))
    }

    /// Lets a service here be asked for faults.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn allow_faults(&self) -> anyhow::Result<()> {
        self.write(&format!("data/{DEMO_MARK}"), "")
    }

    fn write(&self, name: &str, content: &str) -> anyhow::Result<()> {
        let path = self.root.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))
    }

    fn settings(&self) -> anyhow::Result<String> {
        #[derive(serde::Serialize)]
        struct Settings {
            data_dir: PathBuf,
            shutdown: &'static str,
            server: Server,
            queue: Queue,
            repair: Repair,
            #[serde(skip_serializing_if = "Option::is_none")]
            database: Option<Database>,
        }
        #[derive(serde::Serialize)]
        struct Database {
            url: String,
        }
        #[derive(serde::Serialize)]
        struct Server {
            listen: String,
        }
        #[derive(serde::Serialize)]
        struct Repair {
            node_cool_s: u64,
        }
        #[derive(serde::Serialize)]
        struct Queue {
            retry_delay_s: u64,
        }
        let settings = Settings {
            data_dir: self.root.join("data"),
            // Nothing of the demo outlives its service.
            shutdown: "stop",
            server: Server {
                listen: self.address.clone(),
            },
            queue: Queue { retry_delay_s: 0 },
            // An agent that is killed looks like one that ran out of memory.
            repair: Repair { node_cool_s: 1 },
            database: self.database.as_ref().map(|d| Database {
                url: d.url().to_owned(),
            }),
        };
        Ok(toml::to_string(&settings)?)
    }

    fn project(&self) -> anyhow::Result<String> {
        #[derive(serde::Serialize)]
        struct Project {
            name: &'static str,
            prefix: &'static str,
            repo: PathBuf,
            main: &'static str,
            test_command: &'static str,
            agent: Agent,
            deploy: Deploy,
        }
        #[derive(serde::Serialize)]
        struct Agent {
            command: [PathBuf; 2],
            prompt: &'static str,
        }
        #[derive(serde::Serialize)]
        struct Deploy {
            by: &'static str,
        }
        let project = Project {
            name: sample::PROJECT,
            prefix: sample::PREFIX,
            repo: self.repository(),
            main: sample::MAIN,
            test_command: sample::TESTS,
            agent: Agent {
                command: ["sh".into(), self.root.join("agent.sh")],
                prompt: "file",
            },
            deploy: Deploy { by: "agent" },
        };
        Ok(toml::to_string(&project)?)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Some(database) = &self.database {
            // A server that has gone away took it along; nobody is left to be told of anything else.
            drop(database.drop_database());
        }
        for _ in 0..REMOVALS {
            if fs::remove_dir_all(&self.root).is_ok() || !self.root.exists() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("no port is free on 127.0.0.1")?;
    Ok(listener.local_addr()?.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_home_is_gone_when_it_is_dropped_and_stays_when_it_is_kept() {
        let home = Home::create(false, None).unwrap();
        let root = home.root().to_owned();
        assert!(home.repository().join(".git").exists());
        assert!(root.join("data/projects/tally.toml").exists());
        drop(home);
        assert!(!root.exists());

        let kept = Home::create(true, None).unwrap();
        let root = kept.root().to_owned();
        drop(kept);
        assert!(root.exists());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn the_settings_of_a_person_do_not_reach_the_service() {
        let home = Home::create(false, None).unwrap();
        let names: Vec<_> = home.environment().into_iter().map(|(name, _)| name).collect();
        assert!(names.iter().all(|n| !n.to_string_lossy().starts_with("ORCH_")));
        assert!(names.contains(&"HOME".into()));
    }
}
