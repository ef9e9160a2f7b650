//! What a service is started with: settings, projects, agents.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::{Agent, Repo, TestService};

/// development → review → done, for [`Project::then`].
pub const THREE_STAGES: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

/// development → done: the shortest walk, for tests of something else.
pub const ONE_STAGE: &str = r#"
[[stage]]
name = "development"
role = "developer"
gates = ["branch_mergeable"]

[[stage]]
name = "done"
"#;

/// A service to be.
pub struct Setup {
    settings: BTreeMap<String, String>,
    projects: Vec<Project>,
    env: Vec<(String, String)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self::new()
    }
}

impl Setup {
    /// With one agent at once, no pause before retries (a second after what cools a node), and agents that end with the service.
    pub fn new() -> Self {
        let setup = Self {
            settings: BTreeMap::new(),
            projects: Vec::new(),
            env: Vec::new(),
        };
        setup
            .set("queue.retry_delay_s", 0)
            .set("repair.node_cool_s", 1)
            .set("agent.kill_grace_s", 1)
            .set("shutdown", "stop")
            .set("log.format", "json")
    }

    /// Sets a setting: `set("queue.max_attempts", 3)`.
    pub fn set(mut self, key: &str, value: impl Into<toml::Value>) -> Self {
        self.settings.insert(key.to_owned(), value.into().to_string());
        self
    }

    /// Sets a variable of the service's and the command line's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a project.
    pub fn project(mut self, project: Project) -> Self {
        self.projects.push(project);
        self
    }

    /// Leaves the projects to others.
    pub fn without_projects(mut self) -> Self {
        self.projects.clear();
        self
    }

    /// Writes it all into a temporary home without starting it.
    pub fn prepare(self) -> TestService {
        let service = TestService::new(self.env);
        let mut settings = format!("data_dir = '{}'\n", service.data().display());
        // Port 0: the system gives one that is free, which the log tells.
        if !self.settings.contains_key("server.listen") {
            writeln!(settings, "server.listen = '127.0.0.1:0'").unwrap();
        }
        for (key, value) in &self.settings {
            writeln!(settings, "{key} = {value}").unwrap();
        }
        fs::write(service.config(), settings).unwrap();
        for project in &self.projects {
            project.write(service.home(), &service.out());
        }
        service
    }

    /// Starts it and waits until it is ready.
    pub fn start(self) -> TestService {
        let mut service = self.prepare();
        service.start();
        service
    }
}

/// A project to be.
pub struct Project {
    name: String,
    repo: String,
    agent: Agent,
    top: String,
    rest: String,
}

impl Project {
    /// With `sh check.sh` as its test command and the default pipeline.
    pub fn new(name: &str, repo: &Repo) -> Self {
        Self::at(name, &repo.path).top("test_command = \"sh check.sh\"")
    }

    /// At any path, without a test command.
    pub fn at(name: &str, repo: &Path) -> Self {
        Self {
            name: name.to_owned(),
            repo: repo.display().to_string(),
            agent: Agent::diligent(),
            top: String::new(),
            rest: String::new(),
        }
    }

    /// Who works for it.
    pub fn agent(mut self, agent: &Agent) -> Self {
        self.agent = agent.clone();
        self
    }

    /// Its repository is there.
    pub fn repo(mut self, address: &str) -> Self {
        address.clone_into(&mut self.repo);
        self
    }

    /// A line at the top of its file: `top("max_concurrency = 2")`. A key that is there already is replaced.
    pub fn top(mut self, line: &str) -> Self {
        let key = line.split('=').next().unwrap_or_default().trim();
        let others = self
            .top
            .lines()
            .filter(|l| l.split('=').next().unwrap_or_default().trim() != key);
        self.top = others.map(|l| format!("{l}\n")).collect();
        writeln!(self.top, "{line}").unwrap();
        self
    }

    /// Sections for the end of its file: `[[stage]]`, `[deploy]`, `[merge]`.
    pub fn then(mut self, toml: &str) -> Self {
        writeln!(self.rest, "{toml}").unwrap();
        self
    }

    /// Writes its file and its agent's script into a service's home.
    pub fn write(&self, home: &Path, out: &Path) {
        let script = home.join(format!("{}.agent.sh", self.name));
        fs::write(&script, self.agent.script(out)).unwrap();
        let mut text = format!("name = '{}'\nrepo = '{}'\n{}", self.name, self.repo, self.top);
        if !self.rest.contains("[agent]") {
            write!(
                text,
                "\n[agent]\ncommand = ['sh', '{}']\nprompt = 'file'\n",
                script.display()
            )
            .unwrap();
        }
        text.push_str(&self.rest);
        let folder = home.join("data/projects");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{}.toml", self.name)), text).unwrap();
    }
}
