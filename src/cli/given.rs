//! What people hand to a command in a file or on stdin.

use std::io::{self, IsTerminal, Read};
use std::path::Path;

use super::exit::Failure;
use crate::domain::id::WorkItemId;
use crate::engine::views::AddTask;

/// The text of a file; `-` is stdin.
pub(super) fn source(path: &Path) -> Result<String, Failure> {
    if path == Path::new("-") {
        return stdin();
    }
    std::fs::read_to_string(path).map_err(|e| Failure::Usage(format!("cannot read {}: {e}", path.display())))
}

/// All of stdin.
pub(super) fn stdin() -> Result<String, Failure> {
    let mut text = String::new();
    let mut input = io::stdin();
    if input.is_terminal() {
        return Err(Failure::Usage(
            "`-` reads stdin: pipe something into it, or redirect a file".to_owned(),
        ));
    }
    input
        .read_to_string(&mut text)
        .map_err(|e| Failure::Usage(format!("cannot read stdin: {e}")))?;
    Ok(text)
}

/// Says in which file something is wrong.
pub(super) fn named(path: &Path, why: &str) -> Failure {
    Failure::Usage(format!("{}: {why}", path.display()))
}

/// The parser's own text has several lines.
pub(super) fn at_line(text: &str, e: &toml::de::Error) -> String {
    let before = e.span().and_then(|span| text.get(..span.start)).unwrap_or("");
    let line = 1 + before.matches('\n').count();
    format!("line {line}: {}", e.message().replace('\n', ", "))
}

/// The service looks again; here a file is refused before the first of it is added.
pub(super) fn usable(task: &AddTask) -> Result<(), String> {
    let mut names = task.id.iter().chain(&task.depends_on);
    names
        .try_for_each(|name| WorkItemId::parse(name).map(drop))
        .map_err(|e| format!("task {:?}: {e}", task.title))
}
