//! `orch run rescue`: what agents left unfinished, and how a person gets at it.

use awc::http::Method;
use clap::Args;

use crate::cli::Global;
use crate::cli::client::{Client, converse};
use crate::cli::exit::{Exit, Failure};
use crate::cli::screen::{Screen, Tone, maybe, plain};
use crate::cli::text;
use crate::engine::views::{KeptDetail, KeptView, RescueView, RescueWork};

pub(super) const EXAMPLES: &str = "\
Work that a failed, cancelled or killed run had not delivered is kept in Orch's own clone.
Restoring pushes it as a new branch into the project's repository; main, the task's branch and
your files stay as they are.

Examples:
  orch run rescue                             what is kept, newest first
  orch run rescue --task ORCH-001
  orch run rescue 17 --show                   look at it: message, files, patch
  orch run rescue 17                          restore it as branch rescue/ORCH-001-17
  orch run rescue 17 --branch fix-login       … or as another one

Asking twice does no harm. A branch of that name with other commits is left alone.";

/// What to do about kept work.
#[derive(Debug, Args)]
pub struct RescueArgs {
    /// The run whose work is restored; without one, what is kept is listed.
    #[arg(value_name = "RUN")]
    run: Option<i64>,
    /// The branch to make of it [default: rescue/<task>-<run>].
    #[arg(long, value_name = "NAME", requires = "run", conflicts_with = "show")]
    branch: Option<String>,
    /// Print what is kept instead of restoring it.
    #[arg(long, requires = "run")]
    show: bool,
    /// List only what is kept of this task.
    #[arg(long, value_name = "TASK", conflicts_with = "run")]
    task: Option<String>,
    /// List at most so many.
    #[arg(long, value_name = "N", conflicts_with = "run", default_value_t = 50,
          value_parser = clap::value_parser!(u8).range(1..=200))]
    limit: u8,
    /// List only what is kept of runs before this one.
    #[arg(long, value_name = "RUN", conflicts_with = "run")]
    before: Option<i64>,
}

pub(super) fn run(client: &Client, global: &Global, args: &RescueArgs) -> Result<Exit, Failure> {
    match args.run {
        None => list(client, global, args),
        Some(run) if args.show => show(client, global, run),
        Some(run) => restore(client, global, run, args.branch.clone()),
    }
}

fn list(client: &Client, global: &Global, args: &RescueArgs) -> Result<Exit, Failure> {
    let mut path = format!("/api/v1/wip?limit={}", args.limit);
    if let Some(task) = &args.task {
        path += &format!("&task={}", text::segment(task));
    }
    if let Some(before) = args.before {
        path += &format!("&before={before}");
    }
    let answer = converse(client.get(&path))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let kept: Vec<KeptView> = answer.view()?;
    let Some(last) = kept.last() else {
        screen.line("Nothing is kept: every run delivered what it did.")?;
        return Ok(Exit::Ok);
    };
    let mut page = screen.table(&HEADER, kept.iter().map(row).collect());
    for (view, trouble) in kept.iter().filter_map(|k| Some((k, k.trouble.as_ref()?))) {
        page += &format!(
            "\n{} run {}: {}",
            screen.tone(Tone::Bad, "gone:"),
            view.run,
            text::line(trouble)
        );
    }
    if kept.len() == usize::from(args.limit) {
        page += &format!("\nMore, perhaps: orch run rescue --before {}", last.run);
    }
    page += "\n\nLook at one: orch run rescue RUN --show; restore it as a branch: orch run rescue RUN";
    screen.line(&page)?;
    Ok(Exit::Ok)
}

const HEADER: [&str; 7] = [
    "RUN",
    "TASK",
    "STAGE / ROLE",
    "COMMIT",
    "FILES",
    "RESTORED AS",
    "WHEN / WHY",
];

fn row(kept: &KeptView) -> Vec<(Tone, String)> {
    let role = kept
        .role
        .as_deref()
        .map(|role| format!(" / {role}"))
        .unwrap_or_default();
    let commit = match &kept.commit {
        Some(commit) => plain(short(commit)),
        None => (Tone::Bad, "gone".to_owned()),
    };
    vec![
        plain(kept.run.to_string()),
        plain(kept.task.as_str()),
        plain(format!("{}{role}", kept.stage)),
        commit,
        plain(kept.files.map_or_else(|| "-".to_owned(), |n| n.to_string())),
        maybe(kept.branch.as_deref()),
        plain(format!("{}; {}", text::ago(&kept.at, text::now()), kept.why)),
    ]
}

fn short(commit: &str) -> &str {
    commit.get(..10).unwrap_or(commit)
}

fn show(client: &Client, global: &Global, run: i64) -> Result<Exit, Failure> {
    let answer = converse(client.get(&format!("/api/v1/runs/{run}/wip")))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    let detail: KeptDetail = answer.view()?;
    let shown = match screen.is_terminal() {
        true => text::clean(&detail.text),
        false => detail.text.as_str().into(),
    };
    screen.line(&shown)?;
    if detail.cut {
        let more = format!("\n… and more, which is not shown: restore it with `orch run rescue {run}`");
        screen.line(&more)?;
    }
    Ok(Exit::Ok)
}

fn restore(client: &Client, global: &Global, run: i64, branch: Option<String>) -> Result<Exit, Failure> {
    let path = format!("/api/v1/runs/{run}/rescue");
    let answer = converse(client.send(Method::POST, &path, Some(&RescueWork { branch })))?;
    let screen = global.screen();
    if global.json {
        return screen.json(&answer);
    }
    screen.line(&restored(screen, &answer.view()?))?;
    Ok(Exit::Ok)
}

fn restored(screen: Screen, done: &RescueView) -> String {
    let (branch, repository) = (text::line(&done.branch), text::line(&done.repository));
    let did = if done.created { "is now" } else { "was already" };
    let commit = short(&done.commit);
    let head = screen.bold(&format!("Run {}'s work {did} on branch {branch}", done.run));
    // `.git` of a repository in which somebody works: the branch is there, without fetching.
    let next = match repository.strip_suffix("/.git") {
        Some(home) => format!("In {home}:\n  git switch {branch}"),
        None => format!("In your clone of {repository}:\n  git fetch origin {branch}\n  git switch {branch}"),
    };
    format!("{head} (commit {commit}).\n\n{next}")
}
