//! `orch events`: what happened, and what happens.

use std::time::Duration;

use clap::Args;

use super::Global;
use super::client::{Client, converse};
use super::exit::{Exit, Failure};
use super::screen::Screen;
use super::text;
use crate::engine::views::EventView;

/// How long one request of a followed log waits for the next event.
const FOLLOW_S: u64 = 30;

const EXAMPLES: &str = "\
Examples:
  orch events --last 20            the latest twenty
  orch events -f                   the latest ten, then each as it happens
  orch events -f --task ORCH-001
  orch events --after 1200         what came after event 1200

With --json: one array; with --json -f one event per line.";

/// What `events` takes.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct EventsArgs {
    /// Go on with each event as it happens.
    #[arg(short, long)]
    follow: bool,
    /// Only what came after this event.
    #[arg(long, value_name = "N")]
    after: Option<i64>,
    /// Only the latest N of them.
    #[arg(short = 'n', long, value_name = "N")]
    last: Option<usize>,
    /// Only events of this task.
    #[arg(long)]
    task: Option<String>,
}

pub(super) fn run(args: &EventsArgs, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    converse(show(&client, args, global))
}

async fn show(client: &Client, args: &EventsArgs, global: &Global) -> Result<Exit, Failure> {
    let (screen, json) = (global.screen(), global.json);
    let mut after = args.after.unwrap_or(0);
    let mut past = Vec::new();
    loop {
        let page = page(client, after, 0).await?;
        let Some(last) = page.last() else { break };
        after = last.id;
        past.extend(page.into_iter().filter(|e| args.wants(e)));
    }
    let most = args.last.or((args.follow && args.after.is_none()).then_some(10));
    let past = past.split_off(past.len().saturating_sub(most.unwrap_or(usize::MAX)));
    if json && !args.follow {
        screen.line(&to_json(past.as_slice())?)?;
        return Ok(Exit::Ok);
    }
    print(screen, json, &past)?;
    if !args.follow {
        return Ok(Exit::Ok);
    }
    loop {
        let page = page(client, after, FOLLOW_S).await?;
        after = page.last().map_or(after, |e| e.id);
        let wanted: Vec<_> = page.into_iter().filter(|e| args.wants(e)).collect();
        print(screen, json, &wanted)?;
    }
}

impl EventsArgs {
    fn wants(&self, event: &EventView) -> bool {
        self.task.as_ref().is_none_or(|task| *task == event.task)
    }
}

async fn page(client: &Client, after: i64, wait_s: u64) -> Result<Vec<EventView>, Failure> {
    let path = format!("/api/v1/events?after={after}&wait_s={wait_s}");
    client.wait(&path, Duration::from_secs(wait_s)).await?.view()
}

fn print(screen: Screen, json: bool, events: &[EventView]) -> Result<(), Failure> {
    let mut lines = String::new();
    for event in events {
        if json {
            lines += &to_json(event)?;
        } else {
            lines += &event_line(event, true);
        }
        lines.push('\n');
    }
    screen.write(lines.as_bytes())
}

fn to_json(events: &(impl serde::Serialize + ?Sized)) -> Result<String, Failure> {
    serde_json::to_string(events).map_err(|e| Failure::Internal(e.to_string()))
}

/// An event on one line; the task's name may be left out where it is known.
pub(super) fn event_line(event: &EventView, with_task: bool) -> String {
    let at = text::line(&event.at);
    let task = if with_task {
        format!("{}  ", text::line(&event.task))
    } else {
        String::new()
    };
    format!(
        "{at}  {task}{}: {}",
        text::line(&event.kind),
        text::line(&event.text)
    )
}
