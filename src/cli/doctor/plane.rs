//! Whether the boards in Plane are as Orch needs them: the tokens' rights, the states by name, a secret for webhooks. Changes
//! nothing there.

use super::{Check, State};
use crate::cli::client::converse;
use crate::cli::text::now;
use crate::domain::sighting;
use crate::integrations::tracker::plane::{Plane, PlaneError, Shared, State as BoardState};
use crate::settings::{Project, Settings};

pub(super) fn plane(project: &Project, settings: &Settings) -> Vec<Check> {
    let Some(at_plane) = project.plane_project.as_deref() else {
        return Vec::new();
    };
    let name = format!("project {}: plane", project.name);
    let Some(plane) = Plane::of(settings, &Shared::of(settings)) else {
        // The project's file is refused without them.
        return Vec::new();
    };
    let asked = converse(async { Ok(ask(&plane, at_plane).await) });
    let (states, denied) = match asked {
        Ok(Ok(found)) => found,
        Ok(Err(e)) => return vec![Check::new(name, State::Fail, e.to_string())],
        Err(e) => return vec![Check::new(name, State::Fail, e.to_string())],
    };
    let mut checks: Vec<_> = denied
        .iter()
        .map(|e| Check::new(format!("{name} token"), State::Fail, e.to_string()))
        .collect();
    checks.extend(board(&name, project, &states));
    checks.push(webhook(format!("{name} webhook"), settings));
    checks
}

/// The states, and what the tokens of roles may not do.
async fn ask(plane: &Plane, project: &str) -> Result<(Vec<BoardState>, Vec<PlaneError>), PlaneError> {
    let states = plane.states(project, now()).await?;
    let mut denied = Vec::new();
    for role in plane.roles() {
        denied.extend(plane.speaking_as(role).states(project, now()).await.err());
    }
    Ok((states, denied))
}

fn board(name: &str, project: &Project, states: &[BoardState]) -> Vec<Check> {
    let there = |wanted: &str| states.iter().any(|state| sighting::same(&state.name, wanted));
    let names = project.board.names();
    let missing: Vec<_> = names.iter().filter(|(wanted, _)| !there(wanted)).collect();
    if missing.is_empty() {
        let found = format!("its board has all {} states", names.len());
        return vec![Check::new(name, State::Ok, found)];
    }
    let lacks = |(state, without): &&(String, String)| {
        let found = format!(
            "its board has no state {state:?}: {without}; add it there, or name another in [tracker_states] of {}",
            project.source.display()
        );
        Check::new(name, State::Warn, found)
    };
    missing.iter().map(lacks).collect()
}

/// Plane's API does not tell of its webhooks.
fn webhook(name: String, settings: &Settings) -> Check {
    let there = "see that the workspace has a webhook for issues to <Orch's address>/webhook/plane, and that Plane may reach it \
                 (WEBHOOK_ALLOWED_HOSTS): its API does not tell";
    match settings.plane.webhook_secret {
        Some(_) => Check::new(name, State::Ok, there),
        None => {
            let found = format!(
                "plane.webhook_secret is not set: what Plane sends is refused, and the board is only looked at every {} s; set it \
                 to the webhook's secret, and {there}",
                settings.reconcile.interval.as_secs()
            );
            Check::new(name, State::Warn, found)
        }
    }
}
