//! Whether a project's repository at Gitea is as Orch needs it: the token's rights, how it may be merged, who tells of it.
//! Changes nothing there.

use super::{Check, State};
use crate::cli::client::converse;
use crate::cli::text::now;
use crate::domain::forge::MergeStyle;
use crate::domain::time::Timestamp;
use crate::integrations::forge::Forge;
use crate::integrations::forge::gitea::{About, Gitea, GiteaError, Hook};
use crate::settings::{Project, Settings};

/// What the webhook has to tell. Gitea calls a review by several names; each of these switches on all of its kind.
const EVENTS: [&str; 3] = ["push", "pull_request", "status"];
/// The ends of a run of CI, as Forgejo calls them.
const FORGEJO_RUNS: [&str; 2] = ["action_run_success", "action_run_failure"];
/// Where the service takes deliveries of a forge in.
const PATH: &str = "/webhook/gitea";

pub(super) fn forge(project: &Project, settings: &Settings) -> Vec<Check> {
    let Ok(Forge::Gitea(gitea)) = Forge::of(project, settings) else {
        return Vec::new();
    };
    let name = format!("project {}: gitea", project.name);
    let asked = converse(async { Ok(ask(&gitea, now()).await) });
    let (version, about, hooks) = match asked {
        Ok(Ok(found)) => found,
        Ok(Err(e)) => return vec![Check::new(name, State::Fail, e.to_string())],
        Err(e) => return vec![Check::new(name, State::Fail, e.to_string())],
    };
    let mut checks = vec![repository(&name, &gitea, &version, (&about, project.merge_style))];
    checks.push(webhook(format!("{name} webhook"), hooks, settings));
    checks
}

type Found = (String, About, Result<Vec<Hook>, GiteaError>);

async fn ask(gitea: &Gitea, now: Timestamp) -> Result<Found, GiteaError> {
    let version = gitea.version(now).await?;
    let about = gitea.about(now).await?;
    Ok((version, about, gitea.hooks(now).await))
}

fn repository(name: &str, gitea: &Gitea, version: &str, (about, style): (&About, MergeStyle)) -> Check {
    let repository = gitea.repository();
    let wrong = if about.archived {
        Some("it is archived: nothing can be pushed there".to_owned())
    } else if !about.permissions.push {
        Some("the account of gitea.token may not push there: give it the right to write".to_owned())
    } else if about.has_pull_requests == Some(false) {
        Some("it has no pull requests: switch them on in the repository's settings".to_owned())
    } else {
        let (allowed, what) = match style {
            MergeStyle::FastForward => (about.allow_fast_forward_only_merge, "fast-forward only merges"),
            MergeStyle::Merge => (about.allow_merge_commits, "merge commits"),
            MergeStyle::Squash => (about.allow_squash_merge, "squash merges"),
            MergeStyle::Rebase => (about.allow_rebase, "merges by rebase"),
        };
        match allowed {
            Some(true) => None,
            Some(false) => Some(format!(
                "it does not allow {what}: allow them in the repository's settings"
            )),
            None => Some(format!("Gitea {version} knows no {what}: use 1.22 or newer")),
        }
    };
    match wrong {
        Some(wrong) => Check::new(name, State::Fail, format!("{repository}: {wrong}")),
        None => {
            let found = format!("{repository} at version {version}: may be pushed to and merged");
            Check::new(name, State::Ok, found)
        }
    }
}

/// Without one Orch asks again and again, which is slower: nothing worse.
fn webhook(name: String, hooks: Result<Vec<Hook>, GiteaError>, settings: &Settings) -> Check {
    let warn = |found: String| Check::new(name.clone(), State::Warn, found);
    let hooks = match hooks {
        Ok(hooks) => hooks,
        Err(GiteaError::Denied { .. }) => {
            return warn(format!(
                "cannot be looked at: the account of gitea.token does not administer the repository; see that there is one to \
                 <Orch's address>{PATH}"
            ));
        }
        Err(e) => return warn(e.to_string()),
    };
    let mut ours = hooks
        .iter()
        .filter(|hook| hook.config.url.trim_end_matches('/').ends_with(PATH));
    let Some(hook) = ours
        .find(|hook| hook.active)
        .or_else(|| hooks.iter().find(|h| h.config.url.contains(PATH)))
    else {
        return warn(format!(
            "there is none: add one to <Orch's address>{PATH} with content type application/json, the secret of \
             gitea.webhook_secret and the events {}; until then Gitea is asked again and again",
            EVENTS.join(", ")
        ));
    };
    let told = |event: &str| hook.events.iter().any(|e| e == event);
    // The end of a run of CI tells as much as the statuses that it leaves.
    let runs = told("workflow_run") || FORGEJO_RUNS.into_iter().all(told);
    let missing: Vec<_> = EVENTS
        .into_iter()
        .filter(|event| !told(event) && (*event != "status" || !runs))
        .collect();
    let wrong = if settings.gitea.webhook_secret.is_none() {
        Some(
            "gitea.webhook_secret is not set: what it sends is refused; give both the same secret".to_owned(),
        )
    } else if !hook.active {
        Some("it is switched off".to_owned())
    } else if hook.config.content_type != "json" {
        Some("its content type is not application/json: what it sends cannot be read".to_owned())
    } else if !missing.is_empty() {
        let instead = match missing.contains(&"status") {
            true => " (workflow_run, or action_run_success and action_run_failure, would do for status)",
            false => "",
        };
        Some(format!(
            "it does not tell these events: {}{instead}",
            missing.join(", ")
        ))
    } else {
        None
    };
    match wrong {
        Some(wrong) => warn(wrong),
        None => Check::new(name.clone(), State::Ok, format!("tells {}", hook.config.url)),
    }
}
