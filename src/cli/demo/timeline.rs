//! Turns what happened into lines for people and into time per stage. Never prints, never reads a clock.

use std::time::Duration;

use anstyle::{AnsiColor, Style};

use crate::engine::views::{EventView, RunView};

/// Width of the stage column: "deploy-staging".
const STAGE_WIDTH: usize = 14;
/// Width of the column that says what kind of thing happened: "rollback".
const KIND_WIDTH: usize = 8;

/// One line of the timeline: "+  0.8s  analysis        run       analyst started".
pub fn line(elapsed: Duration, event: &EventView, color: bool) -> String {
    row(
        elapsed,
        &event.stage,
        &event.kind,
        &first_line(&event.text),
        color,
    )
}

/// The first line of a text, without what could move a terminal's cursor: agents have a say in it.
pub fn first_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).collect()
}

/// A line about something that is no event of a task.
pub fn note(elapsed: Duration, text: &str, color: bool) -> String {
    row(elapsed, "", "demo", text, color)
}

fn row(elapsed: Duration, stage: &str, kind: &str, text: &str, color: bool) -> String {
    let style = if color { style_of(kind) } else { Style::new() };
    format!(
        "{:>8}  {stage:STAGE_WIDTH$}  {style}{kind:KIND_WIDTH$}{style:#}  {text}",
        since(elapsed)
    )
}

/// "+0.8s".
pub fn since(elapsed: Duration) -> String {
    format!("+{:.1}s", elapsed.as_secs_f64())
}

fn style_of(kind: &str) -> Style {
    let color = |c: AnsiColor| c.on_default();
    match kind {
        "rollback" => color(AnsiColor::Yellow).bold(),
        "parked" | "blocked" | "failed" => color(AnsiColor::Red).bold(),
        "done" | "merge" => color(AnsiColor::Green).bold(),
        "gesture" => color(AnsiColor::Cyan).bold(),
        "stage" => Style::new().bold(),
        // Whatever else happens is shown plainly; the engine may name new kinds.
        _ => Style::new().dimmed(),
    }
}

/// What one stage took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageTime {
    /// Its name.
    pub stage: String,
    /// How many runs were made for it.
    pub runs: usize,
    /// How long the task stood in it, all visits together.
    pub time: Duration,
}

/// Adds up the time per stage while events come in.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    rows: Vec<StageTime>,
    last: Option<(usize, Duration)>,
}

impl Stages {
    /// Counts the time since the last event for the stage of that event.
    pub fn see(&mut self, elapsed: Duration, event: &EventView) {
        self.close(elapsed);
        let at = match self.rows.iter().position(|r| r.stage == event.stage) {
            Some(at) => at,
            None => {
                self.rows.push(StageTime {
                    stage: event.stage.clone(),
                    runs: 0,
                    time: Duration::ZERO,
                });
                self.rows.len() - 1
            }
        };
        self.last = Some((at, elapsed));
    }

    fn close(&mut self, elapsed: Duration) {
        if let Some((at, since)) = self.last
            && let Some(row) = self.rows.get_mut(at)
        {
            row.time += elapsed.saturating_sub(since);
        }
    }

    /// The stages seen so far, each once.
    pub fn names(&self) -> Vec<String> {
        self.rows.iter().map(|r| r.stage.clone()).collect()
    }

    /// The stages in the order in which they were first entered. Those in which nobody works and no time was
    /// spent are left out.
    pub fn table(&self, runs: &[RunView]) -> Vec<StageTime> {
        let counted = |row: &StageTime| StageTime {
            runs: runs.iter().filter(|r| r.stage == row.stage).count(),
            ..row.clone()
        };
        let worth_a_row = |row: &StageTime| row.runs > 0 || row.time >= Duration::from_millis(50);
        self.rows.iter().map(counted).filter(worth_a_row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(stage: &str, kind: &str, text: &str) -> EventView {
        EventView {
            id: 1,
            at: "2026-01-01T00:00:00Z".into(),
            task: "DEMO-001".into(),
            stage: stage.into(),
            kind: kind.into(),
            text: text.into(),
        }
    }

    fn run(stage: &str) -> RunView {
        RunView {
            id: 1,
            job: 1,
            task: "DEMO-001".into(),
            role: None,
            agent: "demo".into(),
            stage: stage.into(),
            step: "finalised".into(),
            exit: None,
            error: None,
            remarks: Vec::new(),
            wip_ref: None,
            tokens_in: None,
            tokens_out: None,
            cost_micro_usd: None,
            provenance: None,
            started_at: String::new(),
            finished_at: None,
            duration_ms: 0,
        }
    }

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn a_timeline_lines_up_and_keeps_to_one_line_per_event() {
        let lines = [
            note(ms(40), "service ready at http://127.0.0.1:40123", false),
            line(ms(800), &event("analysis", "run", "analyst started"), false),
            line(
                ms(12_345),
                &event(
                    "review",
                    "rollback",
                    "REQUEST_CHANGES: back to development\nF1: …",
                ),
                false,
            ),
            line(
                ms(100_000),
                &event("deploy-staging", "gate", "branch_mergeable is green"),
                false,
            ),
        ];
        insta::assert_snapshot!(lines.join("\n"), @r"
          +0.0s                  demo      service ready at http://127.0.0.1:40123
          +0.8s  analysis        run       analyst started
         +12.3s  review          rollback  REQUEST_CHANGES: back to development
        +100.0s  deploy-staging  gate      branch_mergeable is green
        ");
    }

    #[test]
    fn colour_changes_no_column() {
        let colored = line(ms(800), &event("review", "rollback", "back"), true);
        let plain = line(ms(800), &event("review", "rollback", "back"), false);
        assert_ne!(colored, plain);
        assert_eq!(anstream::adapter::strip_str(&colored).to_string(), plain);
    }

    #[test]
    fn time_is_counted_for_the_stage_in_which_it_passed_over_all_its_visits() {
        let mut stages = Stages::default();
        let steps = [
            (0, "created"),
            (10, "development"),
            (1_010, "review"),
            (1_510, "development"),
            (1_710, "review"),
            (2_010, "done"),
        ];
        for (at, stage) in steps {
            stages.see(ms(at), &event(stage, "stage", ""));
        }
        let table = stages.table(&[run("development"), run("review"), run("development")]);
        let rows: Vec<_> = table
            .iter()
            .map(|r| (r.stage.as_str(), r.runs, r.time.as_millis()))
            .collect();
        assert_eq!(rows, [("development", 2, 1_200), ("review", 1, 800)]);
    }
}
