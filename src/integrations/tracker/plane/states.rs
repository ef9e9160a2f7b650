//! The states of each project by name: kept for a while, and read anew when a name or an id is not among them.

use std::time::Duration;

use crate::domain::sighting::same;
use crate::domain::time::Timestamp;

use super::error::PlaneError;
use super::shapes::State;
use super::{Pages, Plane};

/// After so long they are read anew: a state may have got another name.
const FRESH: Duration = Duration::from_secs(600);
/// What is not among them is looked for again after so long, and not before.
const MISSING: Duration = Duration::from_secs(30);
/// Pages of states that are read.
const MOST_PAGES: usize = 5;

/// The states of a project, and when they were read.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub states: Vec<State>,
    pub read_at: Timestamp,
}

impl Plane {
    /// The states of a project, read now.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn states(&self, project: &str, now: Timestamp) -> Result<Vec<State>, PlaneError> {
        let url = self.project_url(project, "states/")?;
        let pages = Pages {
            url: &url,
            query: &[],
            most: MOST_PAGES,
        };
        let states: Vec<State> = self.pages(pages, |_| true, |_| false, &|| now).await?;
        let known = Known {
            states: states.clone(),
            read_at: now,
        };
        self.shared.keep_board(project, known);
        Ok(states)
    }

    /// The states of a project as they are known, read now where that was long ago.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn known_states(&self, project: &str, now: Timestamp) -> Result<Vec<State>, PlaneError> {
        match self
            .shared
            .board(project)
            .filter(|known| now.since(known.read_at) < FRESH)
        {
            Some(known) => Ok(known.states),
            None => self.states(project, now).await,
        }
    }

    /// The id of a state by its name, whatever its capitals; none: the board has no such state, and what needs it is off.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn state_id(
        &self,
        project: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<String>, PlaneError> {
        let is = |state: &State| same(&state.name, name);
        Ok(self.look_up(project, is, now).await?.map(|state| state.id))
    }

    /// The name of a state by its id; none: the project has no such state.
    ///
    /// # Errors
    /// See [`PlaneError`].
    pub async fn state_name(
        &self,
        project: &str,
        id: &str,
        now: Timestamp,
    ) -> Result<Option<String>, PlaneError> {
        let found = self.look_up(project, |state| state.id == id, now).await?;
        Ok(found.map(|state| state.name))
    }

    async fn look_up(
        &self,
        project: &str,
        is: impl Fn(&State) -> bool,
        now: Timestamp,
    ) -> Result<Option<State>, PlaneError> {
        if let Some(known) = self.shared.board(project) {
            let age = now.since(known.read_at);
            let found = known.states.into_iter().find(|state| is(state));
            let good_for = if found.is_some() { FRESH } else { MISSING };
            if age < good_for {
                return Ok(found);
            }
        }
        let states = self.states(project, now).await?;
        Ok(states.into_iter().find(|state| is(state)))
    }
}
