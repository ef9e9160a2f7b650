//! The merge into main, at an origin without a forge of its own: fast-forward, from a known old head.
//! Never forces, never merges what does not contain main, never touches a working copy that is not clean.

use crate::domain::id::Sha;

use super::diff::Relation;
use super::error::GitError;
use super::push::{CheckedOut, Sent};
use super::repository::Repository;
use super::take_along::Hold;
use super::working_copy::Place;

/// What became of a merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FastForward {
    /// Main is at the candidate now.
    Merged(Sha),
    /// Main is at the candidate now, but the copy that has it checked out could not be taken along: its files
    /// are as they were, and git shows the merge there as if it had been undone.
    MergedWithoutCopy {
        /// Where main is.
        main: Sha,
        /// What stopped it.
        reason: String,
    },
    /// Main, which is here, contained it already.
    AlreadyMerged(Sha),
    /// Main is not where the tests were made for.
    Stale {
        /// Where it should be.
        expected: Sha,
        /// Where it is; none when it was deleted.
        found: Option<Sha>,
    },
    /// The candidate does not contain main: rebase first.
    NotFastForward,
    /// A person has main checked out and work there that the merge would touch. Nothing was changed.
    WorkingCopy {
        /// Where and what.
        reason: String,
    },
    /// Origin said no (a hook, a permission).
    Refused {
        /// In its words.
        why: String,
    },
}

impl Repository {
    /// Moves main from `expected_old` to `candidate`. A working copy that has main checked out is taken along
    /// when it is clean. Repeating it after a crash is safe: the answer is then `AlreadyMerged`, and a copy
    /// that was left half way is brought along.
    pub fn fast_forward_main(&self, candidate: &Sha, expected_old: &Sha) -> Result<FastForward, GitError> {
        let place = self.place_of_main()?;
        let left_behind = self.finish_in(&place)?;
        if let Some(outcome) = self.without_a_push(candidate, expected_old)? {
            return Ok(match (outcome, left_behind) {
                (FastForward::AlreadyMerged(main), Some(reason)) => {
                    FastForward::MergedWithoutCopy { main, reason }
                }
                (FastForward::AlreadyMerged(main), None) if self.is_left_behind(&place, expected_old)? => {
                    let reason = "its files are as they were before".to_owned();
                    FastForward::MergedWithoutCopy { main, reason }
                }
                (outcome, _) => outcome,
            });
        }
        match self.ancestry(expected_old, candidate)? {
            Relation::Same | Relation::Ahead => {}
            Relation::Behind | Relation::Diverged => return Ok(FastForward::NotFastForward),
        }
        let held = match place {
            Place::Nowhere => return self.move_main(candidate, expected_old, CheckedOut::Refuse),
            Place::Copy(copy) => self.hold(copy, expected_old, candidate)?,
            Place::Occupied { reason } => Hold::Occupied { reason },
        };
        let held = match held {
            Hold::Held(held) => held,
            Hold::Occupied { reason } => {
                // What is in the way may be another merge that has just been done.
                let overtaken = self.without_a_push(candidate, expected_old)?;
                return Ok(overtaken.unwrap_or(FastForward::WorkingCopy { reason }));
            }
        };
        match self.move_main(candidate, expected_old, CheckedOut::Held)? {
            FastForward::Merged(main) => Ok(match held.take_along() {
                Ok(()) => FastForward::Merged(main),
                Err(error) => FastForward::MergedWithoutCopy {
                    main,
                    reason: error.to_string(),
                },
            }),
            other => Ok(other),
        }
    }

    /// Brings along a working copy whose merge was interrupted by the death of the service, or lets it go. Answers why
    /// its files could not follow, when they could not.
    pub fn finish_interrupted_merge(&self) -> Result<Option<String>, GitError> {
        self.finish_in(&self.place_of_main()?)
    }

    fn finish_in(&self, place: &Place) -> Result<Option<String>, GitError> {
        match place {
            Place::Copy(copy) => self.finish_interrupted(copy),
            Place::Nowhere | Place::Occupied { .. } => Ok(None),
        }
    }

    /// Whoever moved main from `old` may have died before it could tell that the copy did not follow.
    fn is_left_behind(&self, place: &Place, old: &Sha) -> Result<bool, GitError> {
        match place {
            Place::Copy(copy) => copy.shows(old),
            Place::Nowhere | Place::Occupied { .. } => Ok(false),
        }
    }

    fn move_main(
        &self,
        candidate: &Sha,
        old: &Sha,
        checked_out: CheckedOut,
    ) -> Result<FastForward, GitError> {
        // The lease names the old head that was just seen to be an ancestor: no commit can be lost by it.
        let why = match self.send(Some(candidate), self.main(), Some(old), checked_out)? {
            Sent::Done => return Ok(FastForward::Merged(candidate.clone())),
            Sent::UpToDate => return Ok(FastForward::AlreadyMerged(candidate.clone())),
            Sent::Rejected { why } => why,
        };
        if let Some(outcome) = self.without_a_push(candidate, old)? {
            return Ok(outcome);
        }
        // Somebody checked main out between our look and the push.
        Ok(if why.contains("checked out") {
            FastForward::WorkingCopy { reason: why }
        } else {
            FastForward::Refused { why }
        })
    }

    /// The outcomes that need no push; none when main is at the expected head without the candidate.
    fn without_a_push(&self, candidate: &Sha, expected: &Sha) -> Result<Option<FastForward>, GitError> {
        let found = self.remote_head(self.main())?;
        if let Some(main) = &found
            && self.contains(main, candidate)?
        {
            return Ok(Some(FastForward::AlreadyMerged(main.clone())));
        }
        if found.as_ref() == Some(expected) {
            return Ok(None);
        }
        Ok(Some(FastForward::Stale {
            expected: expected.clone(),
            found,
        }))
    }

    fn contains(&self, main: &Sha, candidate: &Sha) -> Result<bool, GitError> {
        if main == candidate {
            return Ok(true);
        }
        self.ensure_commits(&[main, candidate])?;
        match self.ancestry(candidate, main)? {
            Relation::Same | Relation::Ahead => Ok(true),
            Relation::Behind | Relation::Diverged => Ok(false),
        }
    }
}
