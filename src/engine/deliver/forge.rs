//! Notices of pull requests at Gitea: one after the other, until Gitea as a whole takes nothing. It knows no repetition by
//! itself, so what is there is asked for before anything is sent again.

use std::time::Duration;

use crate::domain::delivery::{Channel, Fate, Sending, fate};
use crate::domain::time::Timestamp;
use crate::integrations::forge::Forge;
use crate::integrations::forge::gitea::{Ensured, Gitea, GiteaError, NewComment, NewPull};
use crate::store::outbox::{self, Notice, OutboxKind};
use crate::store::pull_requests::{self, PullRequest, PullRequestState};
use crate::store::{Conn, Guarded, StoreError};

use super::super::EngineError;
use super::{Done, Round};

/// After so long the rest waits for the next round: other receivers are served in it too.
const TURN: Duration = Duration::from_secs(5);

/// How a notice went.
struct Went {
    sending: Sending,
    everywhere: bool,
    /// The row of a pull request, and its number there.
    opened: Option<(i64, i64)>,
}

impl Went {
    fn of(sending: Sending) -> Self {
        Self {
            sending,
            everywhere: false,
            opened: None,
        }
    }

    /// A refusal is not the end of it: a forge may not know yet what was pushed a moment ago.
    fn patient(self) -> Self {
        match self.sending {
            Sending::Refused { why } => Self {
                sending: Sending::Down { why, after: None },
                ..self
            },
            Sending::Accepted | Sending::Down { .. } | Sending::Unanswered { .. } => self,
        }
    }

    /// Of this notice alone.
    fn held(why: &str) -> Self {
        let why = why.to_owned();
        Self::of(Sending::Down { why, after: None })
    }
}

impl From<GiteaError> for Went {
    fn from(e: GiteaError) -> Self {
        Self {
            everywhere: e.is_everywhere(),
            ..Self::of(e.sending())
        }
    }
}

impl Round<'_> {
    pub(super) async fn to_forge(&self, notices: Vec<Notice>) -> Result<Done, EngineError> {
        let mut done = Done::default();
        let began = self.engine.now();
        for notice in notices {
            let went = self.at_forge(&notice).await?;
            let now = self.engine.now();
            let give_up_after = self.engine.settings().notify.give_up_after;
            let fate = fate(&went.sending, notice.attempted(), give_up_after, now);
            done.went(&notice, &fate);
            let everywhere = went.everywhere;
            let recorded = self.marked(move |tx| record(tx, &notice, &went, &fate, now));
            if recorded.await?.is_none() || everywhere || now.since(began) >= TURN {
                break;
            }
        }
        Ok(done)
    }

    async fn at_forge(&self, notice: &Notice) -> Result<Went, EngineError> {
        let row = notice
            .payload
            .get("pull_request")
            .and_then(serde_json::Value::as_i64);
        let read = self.engine.store().read(move |tx| match row {
            Some(id) => pull_requests::by_id(tx, id),
            None => Ok(None),
        });
        let Some(pull) = read.await? else {
            let why = "it names no pull request that is known".to_owned();
            return Ok(Went::of(Sending::Refused { why }));
        };
        let handle = self.engine.projects().find(|p| p.id == pull.project_id);
        let Some(Forge::Gitea(gitea)) = handle.map(|handle| &handle.forge) else {
            let why = "the project names no forge = \"gitea\" any more: set it again in its file";
            return Ok(Went::held(why));
        };
        Ok(match notice.kind {
            OutboxKind::PullRequest => self.open(gitea, notice, &pull).await,
            OutboxKind::Comment => self.comment_on(gitea, notice, &pull).await,
            OutboxKind::State | OutboxKind::Notification | OutboxKind::Artifact => {
                Went::of(Sending::Accepted)
            }
        })
    }

    async fn open(&self, gitea: &Gitea, notice: &Notice, pull: &PullRequest) -> Went {
        // Who merged it opened it, and what is closed is not wanted any more.
        if pull.state != PullRequestState::Open {
            return Went::of(Sending::Accepted);
        }
        let new = NewPull {
            branch: &pull.head_branch,
            base: &pull.base_branch,
            title: notice.text("title"),
            body: notice.text("body"),
        };
        match gitea.ensure_pull(&new, self.engine.now()).await {
            Ok(Ensured::Open(number)) => Went {
                opened: Some((pull.id, number)),
                ..Went::of(Sending::Accepted)
            },
            Ok(Ensured::NothingToMerge) => Went::of(Sending::Accepted),
            Err(e) => Went::from(e).patient(),
        }
    }

    async fn comment_on(&self, gitea: &Gitea, notice: &Notice, pull: &PullRequest) -> Went {
        let Some(number) = pull.forge_number else {
            // It was merged before it could be opened there.
            return Went::of(Sending::Accepted);
        };
        let comment = NewComment {
            number,
            cause: &notice.cause,
            author: notice.text("author"),
            body: notice.text("body"),
        };
        match gitea.comment(&comment, self.engine.now()).await {
            Ok(()) => Went::of(Sending::Accepted),
            Err(e) => e.into(),
        }
    }
}

fn record(
    tx: &mut Conn,
    notice: &Notice,
    went: &Went,
    fate: &Fate,
    now: Timestamp,
) -> Result<(), StoreError> {
    if let Some((row, number)) = went.opened {
        // Lost: it was pruned meanwhile.
        let _: Guarded<()> = pull_requests::numbered(tx, row, number, now)?;
    }
    if let Some(at) = super::record(tx, notice.id, fate, now)?
        && went.everywhere
    {
        outbox::hold_back(tx, Channel::Forge, at)?;
    }
    Ok(())
}
