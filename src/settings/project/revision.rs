//! `revision_command` and `revision_url` of a section: who says which revision runs there. Never asks.

use super::table::{At, Table};

/// Who says which revision runs somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevisionSource {
    /// Run by `sh -c`; the last line that it prints counts, or a JSON object.
    Command(String),
    /// Asked by GET over http or https: plain text, or a JSON object with `revision`, `commit` or `sha`.
    Url(String),
}

/// Reads the two keys; one of them may be set.
pub(super) fn revision(section: &Table<'_>) -> Option<RevisionSource> {
    let command = section.text("revision_command");
    let url = http_url(section, "revision_url");
    match (command, url) {
        (Some(command), Some(url)) => {
            let line = command.line.max(url.line);
            section.note(line, "revision_command and revision_url: keep one of them");
            None
        }
        (Some(At { value, .. }), None) => Some(RevisionSource::Command(value)),
        (None, Some(At { value, .. })) => Some(RevisionSource::Url(value)),
        (None, None) => None,
    }
}

/// An address that may be asked, without credentials: it is shown to people. A wrong one is not.
pub(super) fn http_url(section: &Table<'_>, key: &'static str) -> Option<At<String>> {
    let At { value: text, line } = section.text(key)?;
    if !is_http_url(&text) {
        let problem = format!("{key}: give an http:// or https:// address, without user and password");
        section.note(line, problem);
        return None;
    }
    Some(At { value: text, line })
}

/// Whether it may be asked, and shown.
pub(super) fn is_http_url(text: &str) -> bool {
    let rest = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let host = rest.and_then(|r| r.split(['/', '?', '#']).next());
    host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
        && !text.contains(|c: char| c.is_whitespace() || c.is_control())
}
