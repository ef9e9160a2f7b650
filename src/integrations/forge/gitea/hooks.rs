//! Webhooks of a repository: seen, and made once. Their secret is given and never seen.

use serde_json::json;

use super::Gitea;
use super::error::GiteaError;
use super::exchange::{Call, Missing};
use super::shapes::Hook;
use crate::domain::time::Timestamp;
use crate::settings::Secret;

/// What a webhook is to tell. `pull_request` is all of its kind, reviews too; the last are Forgejo's, which Gitea passes over.
const EVENTS: [&str; 7] = [
    "push",
    "pull_request",
    "status",
    "workflow_run",
    "action_run_success",
    "action_run_failure",
    "action_run_recover",
];

impl Gitea {
    /// The repository's webhooks; only who administers it may see them.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn hooks(&self, now: Timestamp) -> Result<Vec<Hook>, GiteaError> {
        let call = Call::get(self.path("/hooks"));
        self.pages((call, Missing::Hidden), |hooks| hooks, |_| false, now)
            .await
    }

    /// Has the repository tell an address what happens in it. False: it has a webhook to there, which is left as it is.
    ///
    /// # Errors
    /// See [`GiteaError`].
    pub async fn make_hook(&self, to: &str, secret: &Secret, now: Timestamp) -> Result<bool, GiteaError> {
        let there = self.hooks(now).await?;
        if there.iter().any(|hook| hook.config.url == to) {
            return Ok(false);
        }
        let body = json!({
            "type": "gitea",
            "active": true,
            "events": EVENTS,
            "config": { "url": to, "content_type": "json", "secret": secret.expose() },
        });
        let call = Call::post(self.path("/hooks"), body);
        let answer = deed!("make a webhook at Gitea", self.ask(&call).await)?;
        answer.good(now).map(|_| true)
    }
}
