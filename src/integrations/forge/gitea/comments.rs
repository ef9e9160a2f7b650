//! Comments on pull requests. Gitea keeps every comment that it is sent, so each carries a mark that is looked for before.

use serde_json::json;

use crate::domain::time::Timestamp;

use super::Gitea;
use super::error::GiteaError;
use super::exchange::Call;
use super::shapes::Comment;

/// A comment that is to be left.
#[derive(Clone, Copy, Debug)]
pub struct NewComment<'a> {
    /// On which pull request.
    pub number: i64,
    /// Names the cause: a second comment of that name is not left.
    pub cause: &'a str,
    /// Who says it; shown above it.
    pub author: &'a str,
    /// Plain text.
    pub body: &'a str,
}

impl Gitea {
    /// Leaves a comment, once for its cause, however often it is called.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn comment(&self, new: &NewComment<'_>, now: Timestamp) -> Result<(), GiteaError> {
        let (path, mark) = (format!("/issues/{}/comments", new.number), mark(new.cause));
        // Not paged: all of them.
        let there: Vec<Comment> = self.get(self.path(&path), now).await?;
        if there.iter().any(|comment| comment.body.contains(&mark)) {
            return Ok(());
        }
        let body = format!("{mark}\n**{}**\n\n{}", escaped(new.author), escaped(new.body));
        let call = Call::post(self.path(&path), json!({ "body": body }));
        let answer = deed!("comment on a pull request at Gitea", self.ask(&call).await)?;
        answer.good(now).map(drop)
    }
}

/// Not shown to people.
fn mark(cause: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '@' | '/');
    let cause: String = cause.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    // Two dashes would end it.
    format!("<!-- orch {} -->", cause.replace("--", "-_"))
}

/// What an agent wrote is text: no markup, no mention of a person, no other mark.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '@' => escaped.push_str("&#64;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '!' | '~' => {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_wrote_is_text_and_no_mark() {
        assert_eq!(
            escaped("<!-- orch a --> @ada [x](y) `z`"),
            "&lt;\\!-- orch a --&gt; &#64;ada \\[x\\](y) \\`z\\`"
        );
        assert_eq!(mark("comment:merged:1:2"), "<!-- orch comment:merged:1:2 -->");
        assert_eq!(mark("a--> b"), "<!-- orch a-___b -->");
    }
}
