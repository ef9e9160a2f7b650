//! `node_slots`, `node_labels` and `[nodes.<name>]`: the machines on which agents run. Never asks whether one answers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::document::Document;
use super::layers::Findings;
use super::problem::Problem;
use super::project::table::{At, Notes, Table};
use super::values::Values;
use super::{Described, absolute};
use crate::domain::id::NodeName;

/// Where agents run.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    /// `node_slots`: agents on the service's own machine at once.
    pub own_slots: usize,
    /// `node_labels`: what that machine is.
    pub own_labels: BTreeSet<String>,
    /// `[nodes.<name>]`, by name.
    pub ssh: Vec<SshNode>,
}

/// `[nodes.<name>]`: a machine that is reached by the system's ssh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshNode {
    /// Its name.
    pub name: NodeName,
    /// What ssh is given: a name of its configuration, a host, or `user@host`.
    pub host: String,
    /// Port; none: what ssh takes by itself.
    pub port: Option<u16>,
    /// Key, absolute; none: what ssh takes by itself.
    pub identity_file: Option<PathBuf>,
    /// Known hosts, absolute; none: what ssh takes by itself.
    pub known_hosts_file: Option<PathBuf>,
    /// Agents there at once.
    pub slots: usize,
    /// What it is.
    pub labels: BTreeSet<String>,
    /// Folder there: absolute, or from the login's home.
    pub root: String,
    /// Silence after which a run there is given up, on both sides.
    pub offline: Duration,
    /// This program there; none: it has none.
    pub orch: Option<String>,
    /// File and line.
    pub source: String,
}

impl Nodes {
    /// The ssh node of that name.
    pub fn find(&self, name: &NodeName) -> Option<&SshNode> {
        self.ssh.iter().find(|node| node.name == *name)
    }
}

impl SshNode {
    /// As `orch config show` prints it.
    pub(super) fn described(&self) -> Described {
        let mut value = format!("host = {:?}", self.host);
        if let Some(port) = self.port {
            value.push_str(&format!(", port = {port}"));
        }
        let files = [
            ("identity_file", &self.identity_file),
            ("known_hosts_file", &self.known_hosts_file),
        ];
        for (key, path) in files {
            if let Some(path) = path {
                value.push_str(&format!(", {key} = {:?}", path.display().to_string()));
            }
        }
        value.push_str(&format!(
            ", slots = {}, labels = {:?}, root = {:?}, offline_s = {}",
            self.slots,
            self.labels,
            self.root,
            self.offline.as_secs()
        ));
        if let Some(orch) = &self.orch {
            value.push_str(&format!(", orch = {orch:?}"));
        }
        Described {
            key: format!("nodes.{}", self.name).into(),
            value,
            source: self.source.clone(),
            doc: "A machine on which agents run, reached by ssh.",
        }
    }
}

/// What the keys say of the service's own node.
pub(super) fn own(v: &Values) -> Nodes {
    let labels = v.list("node_labels");
    for label in &labels {
        if let Err(why) = label_rule(label) {
            v.refuse("node_labels", why);
        }
    }
    Nodes {
        own_slots: v.whole("node_slots"),
        own_labels: labels.into_iter().collect(),
        ssh: Vec::new(),
    }
}

/// The ssh nodes of a configuration file. What is wrong with them is noted.
pub(super) fn ssh(path: &Path, text: &str, cwd: &Path, found: &mut Findings) -> Vec<SshNode> {
    let document = Document::parse(text);
    // Told by whoever reads the keys.
    if !document.syntax.is_empty() {
        return Vec::new();
    }
    let notes = Notes::default();
    let source = |line: usize| format!("file {}:{line}", path.display());
    let top = Table::top(&document, &notes);
    let mut nodes = Vec::new();
    if let Some(section) = top.table("nodes") {
        for (name, table) in section.sections() {
            nodes.extend(node(&name, &table, source(table.line), cwd));
        }
    }
    nodes.sort_by(|a, b| a.name.cmp(&b.name));
    for (line, problem) in notes.into_sorted() {
        let problem = format!("{}: {problem}", source(line));
        found.problems.push(Problem::Combination(problem));
    }
    nodes
}

fn node(name: &str, table: &Table<'_>, source: String, cwd: &Path) -> Option<SshNode> {
    let named =
        NodeName::parse(name).map_err(|e| table.note(table.line, format!("nodes.{name}: {}", e.rule)));
    let file = |key| table.text(key).map(|at| absolute(cwd, Path::new(&at.value)));
    let wanted = "give what ssh is to be given: a host, or user@host";
    let host = table.require("host", wanted, table.parsed("host", host));
    let port = table.whole("port", 1).and_then(|At { value, line }| {
        let port = u16::try_from(value).ok();
        if port.is_none() {
            table.note(
                line,
                format!("nodes.{name}.port = {value}: give a port, at most 65535"),
            );
        }
        port
    });
    let offline = table
        .whole("offline_s", 5)
        .map_or(300, |at| at.value.unsigned_abs());
    let slots = table.whole("slots", 0).map_or(1, |at| at.value);
    let node = SshNode {
        name: named.ok()?,
        host: host.map(|at| at.value).unwrap_or_default(),
        port,
        identity_file: file("identity_file"),
        known_hosts_file: file("known_hosts_file"),
        slots: usize::try_from(slots).unwrap_or_default(),
        labels: labels(table, "labels").unwrap_or_default(),
        root: table
            .parsed("root", folder)
            .map_or_else(|| ".orch-node".to_owned(), |at| at.value),
        offline: Duration::from_secs(offline.into()),
        orch: table.parsed("orch", program).map(|at| at.value),
        source,
    };
    table.finish();
    Some(node)
}

/// A list of labels. A wrong one is noted.
pub(super) fn labels(table: &Table<'_>, key: &'static str) -> Option<BTreeSet<String>> {
    let At { value, line } = table.texts(key)?;
    for label in &value {
        if let Err(why) = label_rule(label) {
            table.note(line, format!("{key}: {why}"));
        }
    }
    Some(value.into_iter().collect())
}

fn label_rule(label: &str) -> Result<(), String> {
    NodeName::parse(label)
        .map(drop)
        .map_err(|e| format!("{label:?} is no label: {}", e.rule))
}

/// What ssh would take for a host and never for an option, and what no shell and no terminal reads otherwise.
pub(super) fn host(text: &str) -> Result<String, String> {
    let odd = |c: char| c.is_whitespace() || c.is_control() || "'\"\\`$;&|<>(){}*?!#".contains(c);
    match text.starts_with('-') || text.contains("@-") || text.contains(odd) || text.contains('/') {
        true => Err("give a host or user@host, without spaces and not beginning with '-'".to_owned()),
        false => Ok(text.to_owned()),
    }
}

fn folder(text: &str) -> Result<String, String> {
    let up = text.split('/').any(|part| part == "..");
    match text.starts_with(['-', '~']) || text.contains(char::is_control) || up || text == "/" {
        true => Err("give a folder, absolute or from the login's home, without '~' and '..'".to_owned()),
        false => Ok(text.trim_end_matches('/').to_owned()),
    }
}

fn program(text: &str) -> Result<String, String> {
    match text.starts_with('/') && !text.contains(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err("give the absolute path of the program there".to_owned()),
    }
}
