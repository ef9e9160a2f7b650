//! `orch task add`: from flags, or several from a file. Reads the whole file before it adds the first.

use std::path::PathBuf;

use awc::http::Method;
use clap::Args;
use serde::Deserialize;

use crate::cli::Global;
use crate::cli::client::{Answer, Client, converse};
use crate::cli::exit::{Exit, Failure};
use crate::cli::given::{at_line, named, source, stdin, usable};
use crate::cli::text;
use crate::engine::views::{AddTask, TaskView};

pub(super) const EXAMPLES: &str = "\
Examples:
  orch task add \"Fix the login page\"
  orch task add \"Add search\" --description - < request.md
  orch task add \"Step two\" --depends-on ORCH-001 --modifies src/search --priority 5
  orch task add --file tasks.toml

A file holds several, in the order in which they are added:
  [[task]]
  title = \"Add an index\"
  id = \"SEARCH-1\"
  [[task]]
  title = \"Add search\"
  description = \"…\"
  depends_on = [\"SEARCH-1\"]
  modifies = [\"src/search\"]
JSON is read too: {\"task\": [{\"title\": …}]} or the list alone.
With --json a file's answers are one array.";

/// What `task add` takes.
#[derive(Args, Debug)]
pub struct AddArgs {
    /// What is to be done, in one line.
    #[arg(value_name = "TITLE", required_unless_present_any = ["title_flag", "file"], conflicts_with = "file")]
    title: Option<String>,
    /// The same as an option.
    #[arg(
        id = "title_flag",
        long = "title",
        value_name = "TITLE",
        conflicts_with_all = ["title", "file"],
        allow_hyphen_values = true
    )]
    title_flag: Option<String>,
    /// What is wanted, at length; `-` reads it from stdin.
    #[arg(long, short, conflicts_with = "file", allow_hyphen_values = true)]
    description: Option<String>,
    /// Its project; may be left out when there is only one. With --file: for tasks that name none.
    #[arg(long, short)]
    project: Option<String>,
    /// A name of your own instead of the next number.
    #[arg(long, conflicts_with = "file", allow_hyphen_values = true)]
    id: Option<String>,
    /// Tasks that must be done first.
    #[arg(
        long,
        value_name = "TASK",
        value_delimiter = ',',
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    depends_on: Vec<String>,
    /// Paths it changes: tasks that touch the same paths do not run at the same time.
    #[arg(
        long,
        value_name = "PATH",
        value_delimiter = ',',
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    modifies: Vec<String>,
    /// Agent preset instead of the roles' own.
    #[arg(long, value_name = "PRESET", conflicts_with = "file")]
    executor: Option<String>,
    /// Higher goes first.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        allow_negative_numbers = true,
        conflicts_with = "file"
    )]
    priority: i32,
    /// Only create it; `orch task start` starts it.
    #[arg(long, conflicts_with = "file")]
    hold: bool,
    /// A key of your own: the same key twice adds one task.
    #[arg(long, value_name = "KEY", conflicts_with = "file", allow_hyphen_values = true)]
    external_id: Option<String>,
    /// Add the tasks of this TOML or JSON file; `-` reads stdin.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
}

pub(super) fn run(args: AddArgs, global: &Global) -> Result<Exit, Failure> {
    match &args.file {
        Some(path) => {
            let mut tasks = tasks_in(&source(path)?).map_err(|why| named(path, &why))?;
            tasks
                .iter()
                .try_for_each(usable)
                .map_err(|why| named(path, &why))?;
            for task in &mut tasks {
                task.project = task.project.take().or_else(|| args.project.clone());
            }
            add_all(&tasks, global)
        }
        None => {
            let task = task_of(args)?;
            let client = global.client()?;
            let answer = converse(add(&client, &task))?;
            if global.json {
                return global.screen().json(&answer);
            }
            said(&answer, global)
        }
    }
}

fn task_of(args: AddArgs) -> Result<AddTask, Failure> {
    let description = match args.description.as_deref() {
        Some("-") => stdin()?,
        Some(text) => text.to_owned(),
        None => String::new(),
    };
    Ok(AddTask {
        project: args.project,
        title: args.title.or(args.title_flag).unwrap_or_default(),
        description,
        id: args.id,
        depends_on: args.depends_on,
        modifies: args.modifies,
        executor: args.executor,
        priority: args.priority,
        hold: args.hold,
        external_id: args.external_id,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskFile {
    #[serde(default)]
    task: Vec<AddTask>,
}

/// JSON begins with a bracket that no TOML key does; a TOML table header is followed by a name.
fn tasks_in(text: &str) -> Result<Vec<AddTask>, String> {
    let start = text.trim_start();
    let tasks = if start.starts_with('{') {
        serde_json::from_str::<TaskFile>(text)
            .map_err(|e| e.to_string())?
            .task
    } else if start.starts_with('[') && !start.starts_with("[[") {
        serde_json::from_str(text).map_err(|e| e.to_string())?
    } else {
        toml::from_str::<TaskFile>(text)
            .map_err(|e| at_line(text, &e))?
            .task
    };
    if tasks.is_empty() {
        return Err("holds no [[task]]".to_owned());
    }
    Ok(tasks)
}

async fn add(client: &Client, task: &AddTask) -> Result<Answer, Failure> {
    client.send(Method::POST, "/api/v1/tasks", Some(task)).await
}

fn add_all(tasks: &[AddTask], global: &Global) -> Result<Exit, Failure> {
    let client = global.client()?;
    let mut added = Vec::new();
    for task in tasks {
        match converse(add(&client, task)) {
            Ok(answer) if global.json => added.push(answer.view()?),
            Ok(answer) => {
                said(&answer, global)?;
            }
            Err(failure) => {
                finish(added, global)?;
                return Err(at_title(failure, &task.title));
            }
        }
    }
    finish(added, global)
}

/// What was added is told even when a later one was refused.
fn finish(added: Vec<TaskView>, global: &Global) -> Result<Exit, Failure> {
    if global.json {
        let json = serde_json::to_string(&added).map_err(|e| Failure::Internal(e.to_string()))?;
        global.screen().line(&json)?;
    }
    Ok(Exit::Ok)
}

fn at_title(failure: Failure, of: &str) -> Failure {
    match failure {
        Failure::Api {
            status,
            title,
            detail,
        } => Failure::Api {
            status,
            title,
            detail: format!("{of:?} was refused, and the tasks after it were not added: {detail}"),
        },
        other => other,
    }
}

fn said(answer: &Answer, global: &Global) -> Result<Exit, Failure> {
    let task: TaskView = answer.view()?;
    let what = if answer.created() {
        "added"
    } else {
        "was there already"
    };
    let screen = global.screen();
    screen.line(&format!(
        "{} {what}: {}",
        screen.bold(&text::line(&task.id)),
        text::line(&task.title)
    ))?;
    Ok(Exit::Ok)
}

#[cfg(test)]
#[expect(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_same_tasks_are_read_from_toml_and_json() {
        let toml =
            tasks_in("# two\n[[task]]\ntitle = \"a\"\n[[task]]\ntitle = \"b\"\ndepends_on = [\"X-1\"]")
                .expect("TOML");
        let json =
            tasks_in(r#" {"task": [{"title": "a"}, {"title": "b", "depends_on": ["X-1"]}]}"#).expect("JSON");
        let list = tasks_in(r#"[{"title": "a"}, {"title": "b", "depends_on": ["X-1"]}]"#).expect("a list");
        assert_eq!(toml, json);
        assert_eq!(toml, list);
        assert_eq!(toml[1].depends_on, ["X-1"]);
    }

    #[test]
    fn a_mistake_in_a_file_is_named() {
        let why = |text| tasks_in(text).expect_err("a wrong file was accepted");
        assert!(why("[[task]]\ntitel = \"a\"").contains("unknown field `titel`"));
        assert!(why("[[tasks]]\ntitle = \"a\"").contains("unknown field `tasks`"));
        assert!(why("").contains("no [[task]]"));
        assert!(why(r#"[{"title": 1}]"#).contains("invalid type"));
    }
}
