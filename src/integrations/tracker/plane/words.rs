//! Comments: what Orch says on an issue, and what a person said last.

use awc::http::Method;
use serde_json::json;

use crate::domain::time::Timestamp;

use super::error::PlaneError;
use super::shapes::Comment;
use super::{Pages, Plane};

/// By whom a comment was left, in Plane's field for that.
const SOURCE: &str = "orch";
/// Pages of comments that are read.
const MOST_PAGES: usize = 3;

/// A comment that is to be left.
#[derive(Clone, Copy, Debug)]
pub struct NewComment<'a> {
    /// The project's id.
    pub project: &'a str,
    /// The issue's id.
    pub issue: &'a str,
    /// Names the cause: a second comment of that name is not kept.
    pub external_id: &'a str,
    /// Who says it; shown above it.
    pub author: &'a str,
    /// Plain text.
    pub body: &'a str,
}

/// What somebody said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The id of the account; small teams share one with Orch.
    pub by: Option<String>,
    /// When.
    pub at: Option<Timestamp>,
    /// Plain text.
    pub text: String,
}

impl Plane {
    /// Leaves a comment, once for its `external_id`, however often it is called.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn comment(&self, new: &NewComment<'_>, now: Timestamp) -> Result<(), PlaneError> {
        let url = self.issue_url(new.project, new.issue, "comments/")?;
        let body = json!({
            "comment_html": html(new.author, new.body),
            "external_id": new.external_id,
            "external_source": SOURCE,
        });
        let asked = self.call(Method::POST, &url, &[], Some(body), now);
        // 409: it is there already.
        deed!("comment on an issue in Plane", asked.await).map(drop)
    }

    /// What was said last on an issue by anybody but Orch; none: nothing yet.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn last_word(
        &self,
        project: &str,
        issue: &str,
        now: Timestamp,
    ) -> Result<Option<Word>, PlaneError> {
        let url = self.issue_url(project, issue, "comments/")?;
        let foreign = |comment: &Comment| comment.external_source.as_deref() != Some(SOURCE);
        let query = [("order_by", "-created_at")];
        let pages = Pages {
            url: &url,
            query: &query,
            most: MOST_PAGES,
        };
        let comments = self.pages(pages, foreign, |_| false, &|| now).await?;
        let last = comments.into_iter().max_by_key(|comment| comment.created_at);
        Ok(last.map(|comment| Word {
            by: comment.actor,
            at: comment.created_at,
            text: plain(&comment.comment_html),
        }))
    }
}

fn html(author: &str, body: &str) -> String {
    let escape = |text: &str| {
        let text = text
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        text.replace('"', "&quot;")
    };
    let body = escape(body).replace('\n', "<br>");
    format!("<p><strong>{}</strong></p><p>{body}</p>", escape(author))
}

/// The text of a piece of HTML: tags away, paragraphs and breaks as lines.
pub(super) fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(before);
        let (name, after) = tag.split_once('>').unwrap_or((tag, ""));
        let name = name.trim_end_matches('/').trim().to_ascii_lowercase();
        if ["br", "/p", "/li", "/div", "/h1", "/h2", "/h3", "/tr"].contains(&name.as_str()) {
            text.push('\n');
        }
        rest = after;
    }
    text.push_str(rest);
    let entities = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#39;", "'"),
        ("&nbsp;", " "),
        ("&amp;", "&"),
    ];
    let text = entities
        .iter()
        .fold(text, |text, (from, to)| text.replace(from, to));
    text.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_wrote_cannot_become_markup() {
        assert_eq!(
            html("developer", "a <b> & \"c\"\nd"),
            "<p><strong>developer</strong></p><p>a &lt;b&gt; &amp; &quot;c&quot;<br>d</p>"
        );
    }

    #[test]
    fn a_persons_words_are_read_without_their_markup() {
        assert_eq!(
            plain("<p>No: <strong>a &amp;&lt; b</strong></p><ul><li>one</li><li>two</li></ul>"),
            "No: a &< b\none\ntwo"
        );
        assert_eq!(plain("one<br/>two <unclosed"), "one\ntwo");
        assert_eq!(plain("&amp;lt;"), "&lt;");
    }
}
