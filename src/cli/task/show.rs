//! `orch task show`: all that is known of a task, on one page, with what a person can do next.

use crate::cli::Global;
use crate::cli::client::converse;
use crate::cli::events::event_line;
use crate::cli::exit::{Exit, Failure};
use crate::cli::queue::{JOB_HEADER, job_row};
use crate::cli::run::{RUN_HEADER, run_row};
use crate::cli::screen::{Screen, Tone, plain, state};
use crate::cli::text;
use crate::domain::task::TaskStatus;
use crate::engine::views::{GateView, TaskDetail, TaskView};

/// Events on the page; `orch events --task` has them all.
const EVENTS: usize = 15;

pub(super) fn run(id: &str, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let answer = converse(client.get(&format!("/api/v1/tasks/{}", text::segment(id))))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    screen.line(&page(screen, &answer.view()?))?;
    Ok(Exit::Ok)
}

fn page(screen: Screen, detail: &TaskDetail) -> String {
    let mut sections = vec![head(screen, detail)];
    let mut section = |title: &str, body: String| {
        if !body.trim().is_empty() {
            sections.push(format!("{}\n{body}", screen.bold(title)));
        }
    };
    section("Description", indented(&detail.description));
    section("Gates", gates(screen, &detail.gates));
    section(
        "Jobs",
        table(screen, &JOB_HEADER, detail.jobs.iter().map(job_row).collect()),
    );
    section(
        "Runs",
        table(screen, &RUN_HEADER, detail.runs.iter().map(run_row).collect()),
    );
    section("Comments", comments(detail));
    section("What happened", events(detail));
    section("What you can do", next(detail));
    let sections: Vec<_> = sections.iter().map(|s| s.trim_end()).collect();
    sections.join("\n\n")
}

fn head(screen: Screen, detail: &TaskDetail) -> String {
    let task = &detail.task;
    let now = text::now();
    let why = task
        .reason
        .as_deref()
        .map(|r| format!(": {r}"))
        .unwrap_or_default();
    let candidate = task
        .candidate
        .as_deref()
        .map(|c| c.get(..10).unwrap_or(c).to_owned());
    let list = |items: &[String]| (!items.is_empty()).then(|| items.join(", "));
    let facts = [
        ("project", Some(task.project.clone())),
        (
            "stage",
            Some(format!(
                "{}, entered {}",
                task.stage,
                text::ago(&task.stage_entered_at, now)
            )),
        ),
        ("branch", Some(task.branch.clone())),
        ("candidate", candidate),
        ("pull request", detail.pull_request.clone()),
        (
            "rollbacks",
            (task.developer_retries > 0).then(|| task.developer_retries.to_string()),
        ),
        (
            "priority",
            (task.priority != 0).then(|| task.priority.to_string()),
        ),
        ("depends on", list(&detail.depends_on)),
        ("modifies", list(&detail.modifies)),
        ("created", Some(text::ago(&task.created_at, now))),
        (
            "finished",
            task.finished_at.as_deref().map(|at| text::ago(at, now)),
        ),
    ];
    let mut head = format!(
        "{}  {}\n",
        screen.bold(&text::line(&task.id)),
        text::line(&task.title)
    );
    let status = screen.tone(Tone::of(&task.status), &text::line(&task.status));
    head += &format!("  {:<13}{status}{}\n", "status", text::line(&why));
    for (name, fact) in facts {
        if let Some(fact) = fact {
            head += &format!("  {name:<13}{}\n", text::line(&fact));
        }
    }
    head
}

fn indented(text: &str) -> String {
    text::clean(text).lines().map(|l| format!("  {l}\n")).collect()
}

fn gates(screen: Screen, gates: &[GateView]) -> String {
    let now = text::now();
    let rows = gates.iter().map(|g| {
        let candidate = g.candidate.get(..10).unwrap_or(&g.candidate);
        vec![
            state(&g.state),
            plain(g.gate.as_str()),
            plain(candidate),
            plain(text::ago(&g.at, now)),
            plain(g.reason.as_str()),
        ]
    });
    table(
        screen,
        &["STATE", "GATE", "CANDIDATE", "ASKED", "REASON"],
        rows.collect(),
    )
}

fn table(screen: Screen, header: &[&str], rows: Vec<Vec<(Tone, String)>>) -> String {
    if rows.is_empty() {
        String::new()
    } else {
        screen.table(header, rows)
    }
}

fn comments(detail: &TaskDetail) -> String {
    let now = text::now();
    let comments = detail.comments.iter();
    comments
        .map(|c| {
            let (author, at) = (text::line(&c.author), text::ago(&c.at, now));
            format!("  {author}, {at}:\n{}", indented(&c.body).replace("  ", "    "))
        })
        .collect()
}

fn events(detail: &TaskDetail) -> String {
    let earlier = detail.events.len().saturating_sub(EVENTS);
    let mut lines = String::new();
    if earlier > 0 {
        lines += &format!(
            "  … {earlier} before: orch events --task {}\n",
            text::line(&detail.task.id)
        );
    }
    for event in detail.events.iter().skip(earlier) {
        lines += &format!("  {}\n", event_line(event, false));
    }
    lines
}

/// The gestures that can have an effect now.
fn next(detail: &TaskDetail) -> String {
    let task = &detail.task;
    let runs_now = detail.runs.iter().any(|r| r.finished_at.is_none());
    let mut commands = verbs(task, detail);
    if runs_now {
        commands.push(("run logs -f", "watch the agent"));
    }
    let id = text::line(&task.id);
    commands
        .iter()
        .map(|(verb, what)| format!("  {:<40} {what}\n", format!("orch {verb} {id}")))
        .collect()
}

fn verbs(task: &TaskView, detail: &TaskDetail) -> Vec<(&'static str, &'static str)> {
    const REJECT: (&str, &str) = ("task reject", "send it back, with --comment");
    const CANCEL: (&str, &str) = ("task cancel", "end it; its work is kept");
    let analysis = detail
        .gates
        .iter()
        .any(|g| g.gate == "analysis_approved" && g.state == "pending");
    match TaskStatus::parse(&task.status) {
        Some(TaskStatus::WaitingHuman) if analysis => vec![("task approve", "let it go on"), REJECT, CANCEL],
        Some(TaskStatus::WaitingHuman) => {
            vec![
                ("task confirm-deploy", "deploy this candidate, once"),
                REJECT,
                CANCEL,
            ]
        }
        Some(TaskStatus::NeedsInput) => vec![
            ("task unblock", "answer with --comment, and let it go on"),
            CANCEL,
        ],
        Some(TaskStatus::Blocked) => vec![("task unblock", "let it go on, with its retries reset"), CANCEL],
        Some(TaskStatus::Active) if task.stage == "created" => vec![("task start", "start it"), CANCEL],
        Some(TaskStatus::Active | TaskStatus::Cancelled | TaskStatus::Done) | None => Vec::new(),
    }
}
