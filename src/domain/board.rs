//! The names that a project's tracker has for how a task stands and for what people do. Never asks the tracker.

use std::collections::BTreeMap;

use super::id::StageName;
use super::pipeline::CREATED;
use super::sighting::same;
use super::task::{Gesture, TaskStatus};

/// What each name is for, its key in the project's settings, and the name without a word there.
const WORDS: [(Use, &str, &str); 10] = [
    (Use::Created, "created", "Todo"),
    (Use::Active, "in_progress", "In Progress"),
    (Use::Waiting, "in_review", "In Review"),
    (Use::NeedsInput, "needs_input", "Needs Input"),
    (Use::Blocked, "blocked", "Blocked"),
    (Use::Cancelled, "cancelled", "Cancelled"),
    (Use::Done, "done", "Done"),
    (Use::Approved, "approved", "Approved"),
    (Use::Rejected, "rejected", "Rejected"),
    (Use::ConfirmDeploy, "confirm_deploy", "Confirm Deploy"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    Created,
    Active,
    Waiting,
    NeedsInput,
    Blocked,
    Cancelled,
    Done,
    Approved,
    Rejected,
    ConfirmDeploy,
}

impl Use {
    /// What does not work on a board without it.
    fn without(self) -> &'static str {
        match self {
            Self::Created => "new tasks are not shown as such",
            Self::Active => {
                "work is not shown as begun, and nobody can start or unpark a task from the board"
            }
            Self::Waiting => {
                "it is not shown that a task waits for a person, and nobody can confirm a deploy from the board"
            }
            Self::NeedsInput => "questions are not shown, and nobody can park a task with one",
            Self::Blocked => "blocked tasks are not shown, and nobody can block one",
            Self::Cancelled => "cancelled tasks are not shown, and nobody can cancel one",
            Self::Done => "finished tasks are not shown",
            Self::Approved => "nobody can approve from the board",
            Self::Rejected => "nobody can reject from the board",
            Self::ConfirmDeploy => "nobody can confirm a deploy from the board",
        }
    }
}

/// A project's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Board {
    named: BTreeMap<Use, String>,
    stages: BTreeMap<String, String>,
}

impl Board {
    /// From the project's settings: the keys of [`Board::keys`], and names of stages.
    pub fn new(written: BTreeMap<String, String>) -> Self {
        let mut board = Self::default();
        for (key, name) in written {
            match WORDS.iter().find(|(_, word, _)| *word == key) {
                Some((what, ..)) => board.named.insert(*what, name),
                None => board.stages.insert(key, name),
            };
        }
        board
    }

    /// The keys that are no stages.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        WORDS.iter().map(|(_, key, _)| *key)
    }

    fn of(&self, what: Use) -> &str {
        let own = self.named.get(&what).map(String::as_str);
        let usual = || WORDS.iter().find(|(w, ..)| *w == what).map(|(.., name)| *name);
        own.or_else(usual).unwrap_or_default()
    }

    /// The state that shows how a task stands.
    pub fn state(&self, status: TaskStatus, stage: &StageName) -> &str {
        match status {
            TaskStatus::Active => match self.stages.get(stage.as_str()) {
                Some(own) => own,
                None if stage.as_str() == CREATED => self.of(Use::Created),
                None => self.of(Use::Active),
            },
            TaskStatus::WaitingHuman => self.of(Use::Waiting),
            TaskStatus::NeedsInput => self.of(Use::NeedsInput),
            TaskStatus::Blocked => self.of(Use::Blocked),
            TaskStatus::Cancelled => self.of(Use::Cancelled),
            TaskStatus::Done => self.of(Use::Done),
        }
    }

    /// What a person wants who gives an issue this state; none: nothing.
    pub fn gesture(&self, name: &str) -> Option<Gesture> {
        let gestures = [
            (Use::Active, Gesture::InProgress),
            (Use::Approved, Gesture::Approved),
            (Use::Rejected, Gesture::Rejected),
            (Use::ConfirmDeploy, Gesture::ConfirmDeploy),
            (Use::NeedsInput, Gesture::NeedsInput),
            (Use::Blocked, Gesture::Blocked),
            (Use::Cancelled, Gesture::Cancelled),
        ];
        let found = gestures.into_iter().find(|(what, _)| same(self.of(*what), name));
        found.map(|(_, gesture)| gesture)
    }

    /// A name that stands for a decision of a person and for something else: nobody could tell which one is meant.
    pub fn clash(&self) -> Option<&str> {
        let decisions = [Use::Approved, Use::Rejected, Use::ConfirmDeploy];
        let stages = self.stages.values().map(String::as_str);
        let names = |but: Use| {
            let words = WORDS.iter().filter(move |(what, ..)| *what != but);
            words.map(|(what, ..)| self.of(*what)).chain(stages.clone())
        };
        let mut names_of = decisions.iter().map(|what| (self.of(*what), names(*what)));
        names_of.find_map(|(name, mut others)| others.any(|other| same(name, other)).then_some(name))
    }

    /// Every name that is used, and what does not work without it.
    pub fn names(&self) -> Vec<(String, String)> {
        let words = WORDS
            .iter()
            .map(|(what, ..)| (self.of(*what).to_owned(), what.without().to_owned()));
        let stages = self.stages.iter();
        let stages = stages.map(|(stage, name)| (name.clone(), format!("work at {stage} is not shown")));
        words.chain(stages).collect()
    }
}

#[cfg(test)]
mod tests;
