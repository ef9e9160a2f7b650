//! What it means that an issue was seen in a state: a person asks for something, our own writing comes back, or nothing is
//! new. Never asks a tracker, never writes.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::task::Gesture;
use super::time::Timestamp;

/// The change that a delivery shows was seen to be some milliseconds younger than the answer to the request that made it.
const SAME: Duration = Duration::from_secs(5);

/// What was begun to be written so long ago is not what comes back now; clocks differ by less.
const FORGOTTEN: Duration = Duration::from_secs(600);

/// A state that Orch wrote, or found there when it wanted to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its name on the board.
    pub state: String,
    /// When the issue was changed by it, by the tracker's clock; none: it is about to be written, or nobody heard the answer.
    pub at: Option<Timestamp>,
    /// When it was begun, by Orch's clock.
    #[serde(default)]
    pub begun: Option<Timestamp>,
    /// It came back, and is no echo any more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
}

/// What is known of a task's issue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last state that Orch applied or wrote.
    pub state: Option<String>,
    /// When the issue was changed last, of what was applied.
    pub at: Option<Timestamp>,
    /// What Orch wrote and has not seen back, and the last that it did, oldest first.
    pub wrote: Vec<Written>,
}

impl Known {
    /// Whether a change of that time came after this state was the last that Orch gave the issue: by the tracker's clock alone.
    pub fn is_after(&self, state: &str, at: Option<Timestamp>) -> bool {
        let last = self.wrote.last().filter(|last| same(&last.state, state));
        let given = last.and_then(|last| last.at);
        given.zip(at).is_some_and(|(given, at)| at > given)
    }

    /// Whether Orch gave the issue another state after it was changed at that time.
    pub fn wrote_after(&self, at: Option<Timestamp>) -> bool {
        let later = |one: &Written| one.at.zip(at).is_some_and(|(wrote, at)| wrote > at);
        self.wrote.iter().any(later)
    }
}

/// How an issue was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen<'a> {
    /// The state's name.
    pub state: &'a str,
    /// What a person wants who gives it that state.
    pub gesture: Option<Gesture>,
    /// When the issue was changed last, by the tracker's clock.
    pub at: Option<Timestamp>,
    /// It is known that the state changed; else this is how the issue stands.
    pub changed: bool,
    /// It has another state by now.
    pub overtaken: bool,
}

/// What it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A later change, or this very one, was applied before.
    TooLate,
    /// It stands as it is known to.
    Unchanged,
    /// Orch wrote it: that one of what was not seen back.
    Echo(usize),
    /// A person asks for this.
    Asks(Gesture),
    /// A state that asks for nothing.
    Nothing,
}

/// What it means that the issue of a task was seen like that.
pub fn meaning(seen: &Seen<'_>, known: &Known) -> Meaning {
    let stands = known
        .state
        .as_deref()
        .is_some_and(|state| same(state, seen.state));
    if let (Some(at), Some(applied)) = (seen.at, known.at) {
        // Two changes that are shown with one time: the one that was overtaken came first.
        let once_more = at == applied && (stands || seen.overtaken || !seen.changed);
        if at < applied || once_more {
            return Meaning::TooLate;
        }
    }
    if !seen.changed && stands {
        return Meaning::Unchanged;
    }
    // Orch writes none of these, by whomever they are signed.
    if let Some(asked @ (Gesture::Approved | Gesture::Rejected | Gesture::ConfirmDeploy)) = seen.gesture {
        return Meaning::Asks(asked);
    }
    let echo = known.wrote.iter().position(|one| {
        let near = match (one.at, seen.at) {
            (Some(wrote), Some(at)) => within(at, wrote, SAME),
            (None, Some(at)) => one.begun.is_none_or(|begun| within(at, begun, FORGOTTEN)),
            (_, None) => true,
        };
        near && !one.seen && same(&one.state, seen.state)
    });
    match (echo, seen.gesture) {
        (Some(which), _) => Meaning::Echo(which),
        (None, Some(asked)) => Meaning::Asks(asked),
        (None, None) => Meaning::Nothing,
    }
}

fn within(one: Timestamp, other: Timestamp, by: Duration) -> bool {
    one.since(other) <= by && other.since(one) <= by
}

/// Names of states are the same whatever their capitals.
pub fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    fn seen(state: &str, gesture: Option<Gesture>, at: i64) -> Seen<'_> {
        Seen {
            state,
            gesture,
            at: Some(Timestamp(at)),
            changed: true,
            overtaken: false,
        }
    }

    fn wrote(state: &str, at: Option<i64>) -> Written {
        Written {
            state: state.to_owned(),
            at: at.map(Timestamp),
            begun: None,
            seen: false,
        }
    }

    fn known(at: Option<i64>, wrote: &[Written]) -> Known {
        Known {
            state: Some("In Review".to_owned()),
            at: at.map(Timestamp),
            wrote: wrote.to_vec(),
        }
    }

    #[test]
    fn what_orch_wrote_is_an_echo_however_its_answer_and_its_delivery_differ() {
        let progress = Some(Gesture::InProgress);
        let answered = known(
            None,
            &[wrote("Blocked", None), wrote("In Progress", Some(100 * S))],
        );
        let rows = [
            (
                "12 ms younger than the answer",
                100 * S + 12_000,
                Meaning::Echo(1),
            ),
            ("older, by another clock", 99 * S, Meaning::Echo(1)),
            (
                "a person, much later",
                160 * S,
                Meaning::Asks(Gesture::InProgress),
            ),
        ];
        for (what, at, meant) in rows {
            assert_eq!(
                meaning(&seen("in progress ", progress, at), &answered),
                meant,
                "{what}"
            );
        }
        // Nobody heard the answer.
        let unheard = known(None, &[wrote("In Progress", None)]);
        assert_eq!(
            meaning(&seen("In Progress", progress, 900 * S), &unheard),
            Meaning::Echo(0)
        );
        let timeless = Seen {
            at: None,
            ..seen("In Progress", progress, 0)
        };
        assert_eq!(meaning(&timeless, &answered), Meaning::Echo(1));
        let mut heard = answered.clone();
        heard.wrote[1].seen = true;
        assert_eq!(
            meaning(&seen("In Progress", progress, 101 * S), &heard),
            Meaning::Asks(Gesture::InProgress)
        );
        // Nothing like it was written.
        assert_eq!(
            meaning(&seen("In Progress", progress, S), &known(None, &[])),
            Meaning::Asks(Gesture::InProgress)
        );
        assert_eq!(meaning(&seen("Backlog", None, S), &answered), Meaning::Nothing);
        let written = known(None, &[wrote("In Review", None)]);
        assert_eq!(meaning(&seen("In Review", None, S), &written), Meaning::Echo(0));
    }

    #[test]
    fn what_was_begun_long_ago_is_a_person_by_now() {
        let mut unheard = known(None, &[wrote("In Progress", None)]);
        unheard.wrote[0].begun = Some(Timestamp(1_000 * S));
        for (at, meant) in [
            (1_000 * S + 20_000, Meaning::Echo(0)),
            (995 * S, Meaning::Echo(0)),
            (1_700 * S, Meaning::Asks(Gesture::InProgress)),
        ] {
            assert_eq!(
                meaning(&seen("In Progress", Some(Gesture::InProgress), at), &unheard),
                meant
            );
        }
    }

    #[test]
    fn of_two_changes_with_one_time_the_overtaken_one_came_first() {
        let with = |state: &str| Known {
            state: Some(state.to_owned()),
            at: Some(Timestamp(100)),
            wrote: Vec::new(),
        };
        let approved = seen("Approved", Some(Gesture::Approved), 100);
        let rejected = Seen {
            overtaken: true,
            ..seen("Rejected", Some(Gesture::Rejected), 100)
        };
        assert_eq!(
            meaning(&approved, &with("Rejected")),
            Meaning::Asks(Gesture::Approved)
        );
        assert_eq!(meaning(&approved, &with("Approved")), Meaning::TooLate);
        assert_eq!(meaning(&rejected, &with("Approved")), Meaning::TooLate);
        assert_eq!(
            meaning(&rejected, &Known::default()),
            Meaning::Asks(Gesture::Rejected)
        );
    }

    #[test]
    fn what_came_after_a_state_is_told_by_the_trackers_clock() {
        let asked = known(
            None,
            &[wrote("In Progress", Some(90)), wrote("In Review", Some(100))],
        );
        assert!(asked.is_after("in review", Some(Timestamp(101))));
        for at in [None, Some(100), Some(95)] {
            assert!(!asked.is_after("In Review", at.map(Timestamp)), "{at:?}");
        }
        assert!(!asked.is_after("In Progress", Some(Timestamp(101))));
        let unheard = known(None, &[wrote("In Review", None)]);
        assert!(!unheard.is_after("In Review", Some(Timestamp(101))));
        assert!(!Known::default().is_after("In Review", Some(Timestamp(101))));
    }

    #[test]
    fn a_decision_is_never_an_echo() {
        for (name, gesture) in [
            ("Approved", Gesture::Approved),
            ("Rejected", Gesture::Rejected),
            ("Confirm Deploy", Gesture::ConfirmDeploy),
        ] {
            let written = known(None, &[wrote(name, None), wrote(name, Some(100 * S))]);
            assert_eq!(
                meaning(&seen(name, Some(gesture), 100 * S), &written),
                Meaning::Asks(gesture)
            );
        }
    }

    #[test]
    fn what_comes_after_a_later_change_was_applied_is_too_late_and_so_is_the_same_once_more() {
        let applied = Known {
            state: Some("Approved".to_owned()),
            ..known(Some(100), &[])
        };
        for (at, meant) in [
            (99, Meaning::TooLate),
            (100, Meaning::TooLate),
            (101, Meaning::Asks(Gesture::Approved)),
        ] {
            assert_eq!(
                meaning(&seen("Approved", Some(Gesture::Approved), at), &applied),
                meant
            );
        }
    }

    #[test]
    fn a_state_that_stands_unchanged_is_no_event_on_the_board_and_one_in_a_delivery() {
        let applied = Known {
            state: Some("Approved".to_owned()),
            at: Some(Timestamp(100)),
            wrote: Vec::new(),
        };
        // Its title was changed.
        let edited = seen("approved", Some(Gesture::Approved), 200);
        let stands = Seen {
            changed: false,
            ..edited
        };
        assert_eq!(meaning(&stands, &applied), Meaning::Unchanged);
        assert_eq!(meaning(&edited, &applied), Meaning::Asks(Gesture::Approved));
    }
}
