//! What came of it: the table, the checks, and what a failure looked like. Never asks anybody; it is told.

use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::engine::views::TaskDetail;

use super::timeline::StageTime;

/// How many of the service's last lines a failure shows.
pub const LOG_LINES: usize = 20;

/// One thing that must hold at the end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What must hold.
    pub name: &'static str,
    /// Whether it does.
    pub holds: bool,
    /// What was found.
    pub found: String,
}

/// Why the demo failed, and what there is to go by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What stopped it.
    pub what: String,
    /// The stage in which the task stands.
    pub stage: Option<String>,
    /// Gates that are not green, and errors of jobs and runs.
    pub reasons: Vec<String>,
    /// The end of the service's log.
    pub log_tail: String,
}

/// The whole result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Always "summary".
    pub r#type: &'static str,
    /// True when everything holds.
    pub ok: bool,
    /// The task's name.
    pub task: Option<String>,
    /// What each stage took.
    pub stages: Vec<StageRow>,
    /// What was done to it and how it was healed; empty without `--faults`.
    pub healed: Vec<Healed>,
    /// What had to hold.
    pub checks: Vec<Check>,
    /// What stopped it, if something did.
    pub failure: Option<Failure>,
    /// Milliseconds from start to end.
    pub total_ms: u128,
    /// What was kept for a look around.
    pub kept: Option<Kept>,
}

/// A stage in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageRow {
    /// Its name.
    pub stage: String,
    /// Runs made for it.
    pub runs: usize,
    /// Milliseconds that the task stood in it.
    pub time_ms: u128,
}

/// A fault and its healing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Healed {
    /// What was done.
    pub fault: String,
    /// How the service noticed.
    pub noticed: String,
    /// What it did.
    pub done: String,
    /// Milliseconds from the fault to the work going on: as the service says it where it lived, else on the demo's clock.
    pub took_ms: u128,
}

/// What `--keep` leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// The folder with everything in it.
    pub home: String,
    /// The sample repository.
    pub repository: String,
    /// Where the service answers; none when it does not run.
    pub service: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// How the command line reaches it.
    pub command: String,
}

impl From<StageTime> for StageRow {
    fn from(s: StageTime) -> Self {
        Self {
            stage: s.stage,
            runs: s.runs,
            time_ms: s.time.as_millis(),
        }
    }
}

impl Failure {
    /// What can be said about a task that did not come to its end.
    pub fn of(what: String, task: Option<&TaskDetail>, log_tail: String) -> Self {
        Self {
            what,
            stage: task.map(|t| t.task.stage.clone()),
            reasons: task.map(reasons).unwrap_or_default(),
            log_tail,
        }
    }
}

fn reasons(task: &TaskDetail) -> Vec<String> {
    let said = task.task.reason.iter().map(|r| format!("task: {r}"));
    let gates = task.gates.iter().filter(|g| g.state != "green");
    let gates = gates.map(|g| format!("gate {} is {}: {}", g.gate, g.state, g.reason));
    let jobs = task
        .jobs
        .iter()
        .filter_map(|j| Some((j, j.error.as_ref()?)))
        .take(3)
        .map(|(j, error)| format!("job {} ({}, {}): {error}", j.id, j.stage, j.status));
    let runs = task
        .runs
        .iter()
        .filter_map(|r| Some((r, r.error.as_ref()?)))
        .take(3)
        .map(|(r, error)| format!("run {} ({}, {}): {error}", r.id, r.stage, r.step));
    said.chain(gates).chain(jobs).chain(runs).collect()
}

impl Summary {
    /// For people.
    pub fn text(&self, color: bool) -> String {
        let mut text = String::new();
        if let Some(failure) = &self.failure {
            text += &failure.text(color);
        }
        if !self.stages.is_empty() {
            text += &format!("\n{}\n\n", self.table());
        }
        if !self.healed.is_empty() {
            text += &format!("{}\n\n", self.healings());
        }
        for check in &self.checks {
            let (mark, style) = match check.holds {
                true => ("✓", painted(AnsiColor::Green, color)),
                false => ("✗", painted(AnsiColor::Red, color)),
            };
            text += &format!("{style}{mark}{style:#} {}: {}\n", check.name, check.found);
        }
        let verdict = if self.ok {
            "All of it held"
        } else {
            "It did not work"
        };
        text += &format!("{verdict}; {} in all.", seconds(self.total_ms));
        if let Some(kept) = &self.kept {
            text += &kept.text();
        }
        text
    }

    fn healings(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_header(["fault", "noticed", "done", "took"]);
        for h in &self.healed {
            let took = milliseconds(h.took_ms);
            table.add_row([&h.fault, &h.noticed, &h.done, &took]);
        }
        for column in table.column_iter_mut().skip(3) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(["stage", "runs", "time"]);
        for row in &self.stages {
            table.add_row([row.stage.clone(), row.runs.to_string(), seconds(row.time_ms)]);
        }
        let runs: usize = self.stages.iter().map(|r| r.runs).sum();
        let time: u128 = self.stages.iter().map(|r| r.time_ms).sum();
        table.add_row(["all".to_owned(), runs.to_string(), seconds(time)]);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

impl Failure {
    fn text(&self, color: bool) -> String {
        let red = painted(AnsiColor::Red, color);
        let stage = self
            .stage
            .as_ref()
            .map(|s| format!(" (in {s})"))
            .unwrap_or_default();
        let mut text = format!("\n{red}{}{red:#}{stage}\n", self.what);
        for reason in &self.reasons {
            text += &format!("  {reason}\n");
        }
        if !self.log_tail.is_empty() {
            text += "The service's last lines:\n";
            for line in self.log_tail.lines() {
                text += &format!("  {line}\n");
            }
        }
        text
    }
}

impl Kept {
    fn text(&self) -> String {
        let mut text = format!("\n\nKept for a look around: {}\n", self.home);
        if let Some(service) = &self.service {
            text += &format!("  the service answers at {service}\n");
            text += &format!("  {} task list --all\n", self.command);
        }
        text += &format!("  git -C {} log --graph --oneline --all\n", self.repository);
        text += "When you have seen enough:\n";
        if let Some(pid) = self.pid {
            text += &format!("  kill {pid}\n");
        }
        text += &format!("  rm -rf {}", self.home);
        text
    }
}

fn painted(with: AnsiColor, color: bool) -> Style {
    if color {
        with.on_default().bold()
    } else {
        Style::new()
    }
}

/// "340 ms"; what is done at once has no figure.
pub fn milliseconds(ms: u128) -> String {
    match ms {
        0 => "< 1 ms".to_owned(),
        ms => format!("{ms} ms"),
    }
}

/// "1.2 s".
fn seconds(ms: u128) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary() -> Summary {
        let row = |stage: &str, runs, time_ms| StageRow {
            stage: stage.into(),
            runs,
            time_ms,
        };
        Summary {
            r#type: "summary",
            ok: true,
            task: Some("DEMO-001".into()),
            stages: vec![row("development", 2, 1_240), row("review", 2, 860)],
            healed: Vec::new(),
            checks: vec![Check {
                name: "the task is done",
                holds: true,
                found: "DEMO-001 is done".into(),
            }],
            failure: None,
            total_ms: 4_321,
            kept: None,
        }
    }

    #[test]
    fn a_good_end_is_a_table_and_its_checks() {
        insta::assert_snapshot!(summary().text(false), @r"

        ┌─────────────┬──────┬───────┐
        │ stage       ┆ runs ┆  time │
        ╞═════════════╪══════╪═══════╡
        │ development ┆    2 ┆ 1.2 s │
        │ review      ┆    2 ┆ 0.8 s │
        │ all         ┆    4 ┆ 2.1 s │
        └─────────────┴──────┴───────┘

        ✓ the task is done: DEMO-001 is done
        All of it held; 4.3 s in all.
        ");
    }

    #[test]
    fn a_bad_end_says_where_and_why_and_what_the_service_said_last() {
        let failure = Failure {
            what: "the task was not done within 60 s".into(),
            stage: Some("development".into()),
            reasons: vec!["gate tests_local is red: exit code 1".into()],
            log_tail: "WARN first\nWARN second".into(),
        };
        let check = Check {
            name: "the task is done",
            holds: false,
            found: "DEMO-001 is active in development".into(),
        };
        let kept = Kept {
            home: "/tmp/orch-demo-1".into(),
            repository: "/tmp/orch-demo-1/tally".into(),
            service: Some("http://127.0.0.1:40123".into()),
            pid: Some(4_711),
            command: "orch --config /tmp/orch-demo-1/orch.toml".into(),
        };
        let bad = Summary {
            ok: false,
            stages: Vec::new(),
            checks: vec![check],
            failure: Some(failure),
            kept: Some(kept),
            ..summary()
        };
        insta::assert_snapshot!(bad.text(false), @r"

        the task was not done within 60 s (in development)
          gate tests_local is red: exit code 1
        The service's last lines:
          WARN first
          WARN second
        ✗ the task is done: DEMO-001 is active in development
        It did not work; 4.3 s in all.

        Kept for a look around: /tmp/orch-demo-1
          the service answers at http://127.0.0.1:40123
          orch --config /tmp/orch-demo-1/orch.toml task list --all
          git -C /tmp/orch-demo-1/tally log --graph --oneline --all
        When you have seen enough:
          kill 4711
          rm -rf /tmp/orch-demo-1
        ");
    }
}
