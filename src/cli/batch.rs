//! `orch batch`: tasks that are submitted together, and whose failures are counted together.

use std::path::PathBuf;

use awc::http::Method;
use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Global;
use super::client::{Answer, converse};
use super::exit::{Exit, Failure};
use super::given::{at_line, named, source, usable};
use super::screen::{plain, state};
use super::text;
use crate::domain::id::BatchId;
use crate::engine::views::{BatchChange, BatchDetail, SubmitBatch};

const SUBMIT: &str = "\
Either all tasks of the file are added and started, or none. The same file again changes nothing; the same name with
other content is refused.

A file, TOML or JSON; each [[task]] has what `orch task add --file` takes:
  name = \"spring-cleaning\"
  project = \"shop\"
  mode = \"sequential\"
  [[task]]
  title = \"Remove the old importer\"
  [[task]]
  title = \"Rename the tables\"

sequential: each task waits until the one before it is done, so a blocked one holds those after it.
parallel:   they are worked side by side, as slots allow.
Failures count for the batch alone: five in a row stop it, and not the project's other tasks.

Examples:
  orch batch submit spring.toml
  generate-tasks | orch batch submit -";

const RESUME: &str = "\
Closes the breaker of the batch and unblocks its blocked tasks, each with its own retries reset; those that wait for an
answer (needs-input) go on waiting for it. The retries that the batch has used stay used: when they are spent, a task
that fails again is blocked at once.

Example:
  orch batch resume spring-cleaning";

const CANCEL: &str = "\
Cancels every task of the batch that is not finished, as `orch task cancel` does: agents are stopped, merge leases are
released, work is kept. What is being merged at that moment is left alone and named.

Example:
  orch batch cancel spring-cleaning";

/// Commands about batches.
#[derive(Debug, Subcommand)]
pub enum BatchCommand {
    /// Add and start the tasks of a file together: all or none.
    #[command(after_help = SUBMIT)]
    Submit {
        /// A TOML or JSON file; `-` reads stdin.
        file: PathBuf,
    },
    /// Show a batch: its tasks, its breaker, the retries that it used.
    #[command(after_help = "Example:\n  orch batch show spring-cleaning")]
    Show {
        /// The batch.
        #[arg(value_parser = NonEmptyStringValueParser::new())]
        name: String,
    },
    /// Close its breaker and unblock its blocked tasks.
    #[command(after_help = RESUME)]
    Resume(ChangeArgs),
    /// Cancel its tasks that are not finished.
    #[command(after_help = CANCEL)]
    Cancel(ChangeArgs),
}

/// What resuming and cancelling take.
#[derive(Args, Debug)]
pub struct ChangeArgs {
    /// The batch.
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    name: String,
    /// In whose name.
    #[arg(long, value_name = "NAME", env = "USER", hide_env_values = true)]
    person: Option<String>,
}

pub(super) fn run(command: &BatchCommand, global: &Global) -> Result<Exit, Failure> {
    match command {
        BatchCommand::Submit { file } => {
            let batch = read(&source(file)?).map_err(|why| named(file, &why))?;
            let client = global.client()?;
            let answer = converse(client.send(Method::POST, "/api/v1/batches", Some(&batch)))?;
            let what = if answer.created() {
                "submitted"
            } else {
                "was there already"
            };
            said(&answer, what, global)
        }
        BatchCommand::Show { name } => {
            let client = global.client()?;
            let path = format!("/api/v1/batches/{}", text::segment(name));
            let answer = converse(client.get(&path))?;
            said(&answer, "stands like this", global)
        }
        BatchCommand::Resume(args) => change("resume", args, global),
        BatchCommand::Cancel(args) => change("cancel", args, global),
    }
}

/// JSON begins with a brace, which no TOML key does.
fn read(text: &str) -> Result<SubmitBatch, String> {
    let batch: SubmitBatch = if text.trim_start().starts_with('{') {
        serde_json::from_str(text).map_err(|e| e.to_string())?
    } else {
        toml::from_str(text).map_err(|e| at_line(text, &e))?
    };
    BatchId::parse(&batch.name).map_err(|e| e.to_string())?;
    batch.tasks.iter().try_for_each(usable)?;
    Ok(batch)
}

fn change(what: &str, args: &ChangeArgs, global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let path = format!("/api/v1/batches/{}/{what}", text::segment(&args.name));
    let body = json!({ "person": args.person.as_deref().filter(|p| !p.is_empty()) });
    let answer = converse(client.send(Method::POST, &path, Some(&body)))?;
    let change: BatchChange = answer.view()?;
    let exit = if change.unchanged.is_empty() {
        Exit::Ok
    } else {
        Exit::Refused
    };
    let screen = global.screen();
    if global.json {
        screen.json(&answer)?;
        return Ok(exit);
    }
    for id in &change.changed {
        screen.line(&format!("{}: {what}", text::line(id)))?;
    }
    for left in &change.unchanged {
        screen.line(&format!(
            "{} was left: {}",
            text::line(&left.id),
            text::line(&left.why)
        ))?;
    }
    if change.changed.is_empty() && change.unchanged.is_empty() {
        screen.line("No task of it had to be changed.")?;
    }
    Ok(exit)
}

fn said(answer: &Answer, what: &str, global: &Global) -> Result<Exit, Failure> {
    let screen = global.screen();
    if global.json {
        return screen.json(answer);
    }
    let batch: BatchDetail = answer.view()?;
    screen.line(&format!(
        "{} {what}: {} tasks, {}, project {}",
        screen.bold(&text::line(&batch.name)),
        batch.tasks.len(),
        batch.mode.as_str(),
        text::line(&batch.project)
    ))?;
    let until = batch.until.map(|at| format!(" until {at}")).unwrap_or_default();
    screen.line(&format!(
        "Breaker {}{until}; retries used: {} of {}",
        batch.breaker, batch.retries, batch.max_retries
    ))?;
    let row = |t: crate::engine::views::BatchMember| {
        let why = t.reason.map(|r| format!(": {r}")).unwrap_or_default();
        vec![
            plain(t.id),
            plain(t.stage),
            state(&t.status),
            plain(format!("{}{why}", t.title)),
        ]
    };
    let header = ["TASK", "STAGE", "STATUS", "TITLE"];
    screen.line(&screen.table(&header, batch.tasks.into_iter().map(row).collect()))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_same_batch_is_read_from_toml_and_json() {
        let toml = read("name = \"b\"\nmode = \"parallel\"\n[[task]]\ntitle = \"a\"\n").expect("TOML");
        let json = read(r#" {"name": "b", "mode": "parallel", "tasks": [{"title": "a"}]}"#).expect("JSON");
        assert_eq!(toml, json);
    }

    #[test]
    fn a_mistake_in_a_file_is_named() {
        let why = |text| read(text).expect_err("a wrong file was accepted");
        assert!(why("name = \"b\"\n[[task]]\ntitle = \"a\"").contains("missing field `mode`"));
        assert!(why("name = \"b\"\nmode = \"some\"\n").contains("line 2: unknown variant `some`"));
        assert!(
            why("name = \"../b\"\nmode = \"parallel\"\ntask = []").contains("batch \"../b\" is not usable")
        );
        assert!(why("name = \"b\"\nmode = \"parallel\"\n[[task]]\ntitel = \"a\"").contains("titel"));
    }
}
