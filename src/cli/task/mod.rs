//! `orch task`: add tasks, look at them, decide about them.

mod add;
mod show;

use awc::http::Method;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};

use super::Global;
use super::client::converse;
use super::exit::{Exit, Failure};
use super::screen::{Tone, plain, state};
use super::text;
use crate::domain::task::Gesture;
use crate::engine::views::{GestureView, MakeGesture, TaskView};

/// Commands about tasks.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Add a task, or several from a file.
    #[command(after_help = add::EXAMPLES)]
    Add(add::AddArgs),
    /// List the tasks that are not finished, newest first.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Show a task: where it stands, its gates and why, its jobs and runs.
    #[command(after_help = "Example:\n  orch task show ORCH-001")]
    Show {
        /// The task.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        id: String,
    },
    /// Approve the analysis. It never deploys.
    #[command(after_help = "Example:\n  orch task approve ORCH-001")]
    Approve(GestureArgs),
    /// Send the task back; say why, the next agent reads it.
    #[command(
        after_help = "Example:\n  orch task reject ORCH-001 --comment \"the login page is out of scope\""
    )]
    Reject(GestureArgs),
    /// Deploy the candidate that waits for confirmation: that very commit, once.
    #[command(
        after_help = "Examples:\n  orch task confirm-deploy ORCH-001\n  orch task confirm-deploy ORCH-001 --candidate 4f2a9c1e"
    )]
    ConfirmDeploy(ConfirmArgs),
    /// End the task: its agent is stopped, its work kept.
    #[command(after_help = "Example:\n  orch task cancel ORCH-001 --comment \"no longer wanted\"")]
    Cancel(GestureArgs),
    /// Let a blocked or asking task go on, with its retries reset.
    #[command(after_help = "Example:\n  orch task unblock ORCH-001 --comment \"use port 8600\"")]
    Unblock(GestureArgs),
    /// Start a task that was added with --hold.
    #[command(after_help = "Example:\n  orch task start ORCH-001")]
    Start(GestureArgs),
    /// Park the task: it needs an answer.
    #[command(after_help = "Example:\n  orch task needs-input ORCH-001 --comment \"which database?\"")]
    NeedsInput(GestureArgs),
    /// Park the task: something is in its way.
    #[command(after_help = "Example:\n  orch task block ORCH-001 --comment \"waits for the new server\"")]
    Block(GestureArgs),
}

const LIST_EXAMPLES: &str = "\
Examples:
  orch task list
  orch task list --all --project shop
  orch task list --json | jq -r '.[] | select(.status == \"blocked\") | .id'";

/// What `task list` takes.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Finished tasks too.
    #[arg(long, short)]
    all: bool,
    /// Only tasks of this project.
    #[arg(long)]
    project: Option<String>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(i64).range(1..=1000))]
    limit: i64,
    /// Only tasks older than this one: the next page.
    #[arg(long, value_name = "TASK", allow_hyphen_values = true)]
    before: Option<String>,
}

/// What a gesture takes.
#[derive(Args, Debug)]
pub struct GestureArgs {
    /// The task.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    id: String,
    /// Why.
    #[arg(long, short = 'm', allow_hyphen_values = true)]
    comment: Option<String>,
    /// In whose name.
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    person: Option<String>,
}

/// What confirming takes.
#[derive(Args, Debug)]
pub struct ConfirmArgs {
    #[command(flatten)]
    gesture: GestureArgs,
    /// The commit that is meant, or its first digits: nothing is deployed when the candidate is another by now.
    #[arg(long, value_name = "COMMIT")]
    candidate: Option<String>,
}

pub(super) fn run(command: TaskCommand, global: &Global) -> Result<Exit, Failure> {
    match command {
        TaskCommand::Add(args) => add::run(args, global),
        TaskCommand::List(args) => list(&args, global),
        TaskCommand::Show { id } => show::run(&id, global),
        TaskCommand::Approve(args) => gesture(Gesture::Approved, args, None, global),
        TaskCommand::Reject(args) => gesture(Gesture::Rejected, args, None, global),
        TaskCommand::ConfirmDeploy(args) => {
            gesture(Gesture::ConfirmDeploy, args.gesture, args.candidate, global)
        }
        TaskCommand::Cancel(args) => gesture(Gesture::Cancelled, args, None, global),
        TaskCommand::Unblock(args) | TaskCommand::Start(args) => {
            gesture(Gesture::InProgress, args, None, global)
        }
        TaskCommand::NeedsInput(args) => gesture(Gesture::NeedsInput, args, None, global),
        TaskCommand::Block(args) => gesture(Gesture::Blocked, args, None, global),
    }
}

fn list(args: &ListArgs, global: &Global) -> Result<Exit, Failure> {
    let project = args.project.as_deref().map(text::segment);
    let project = project.map(|p| format!("&project={p}")).unwrap_or_default();
    let before = args.before.as_deref().map(text::segment);
    let before = before.map(|id| format!("&before={id}")).unwrap_or_default();
    let path = format!(
        "/api/v1/tasks?all={}&limit={}{project}{before}",
        args.all, args.limit
    );
    let client = global.client()?;
    let answer = converse(client.get(&path))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let tasks: Vec<TaskView> = answer.view()?;
    if tasks.is_empty() {
        let finished = if args.all {
            ""
        } else {
            " unfinished (--all shows the others)"
        };
        screen.line(&format!("No task{finished}. Add one with `orch task add \"…\"`."))?;
        return Ok(Exit::Ok);
    }
    let now = text::now();
    let rows = tasks.iter().map(|t| {
        let why = t.reason.as_deref().map(|r| format!(": {r}")).unwrap_or_default();
        vec![
            plain(t.id.as_str()),
            plain(t.project.as_str()),
            plain(t.stage.as_str()),
            state(&t.status),
            plain(text::ago(&t.stage_entered_at, now)),
            (Tone::Plain, format!("{}{why}", t.title)),
        ]
    });
    let header = ["TASK", "PROJECT", "STAGE", "STATUS", "IN STAGE SINCE", "TITLE"];
    screen.line(&screen.table(&header, rows.collect()))?;
    Ok(Exit::Ok)
}

/// Exit code 1 when it was without effect: a script that deploys wants to know.
fn gesture(
    gesture: Gesture,
    args: GestureArgs,
    candidate: Option<String>,
    global: &Global,
) -> Result<Exit, Failure> {
    let body = MakeGesture {
        gesture: gesture.as_str().to_owned(),
        person: args.person.filter(|p| !p.is_empty()),
        comment: args.comment,
        candidate,
    };
    let path = format!("/api/v1/tasks/{}/gestures", text::segment(&args.id));
    let client = global.client()?;
    let answer = converse(client.send(Method::POST, &path, Some(&body)))?;
    let done: GestureView = answer.view()?;
    let screen = global.screen();
    if global.json {
        screen.json(&answer)?;
    } else {
        let task = &done.task;
        let (status, effect) = (
            screen.tone(Tone::of(&task.status), &task.status),
            text::line(&done.effect),
        );
        screen.line(&format!(
            "{}: {effect} ({}, {status})",
            text::line(&task.id),
            text::line(&task.stage)
        ))?;
    }
    Ok(if done.applied { Exit::Ok } else { Exit::Refused })
}
