//! What was kept for long enough. Decides about cut-offs and about the folders of runs; never removes anything.

use std::time::Duration;

use super::time::Timestamp;

/// How long each sort of thing is kept after it was over; none is for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The history of a finished task: jobs, runs, evidence, gestures, deeds, events.
    pub jobs: Option<Duration>,
    /// Folders of runs, with their logs.
    pub logs: Option<Duration>,
    /// Unfinished work that was kept.
    pub wip: Option<Duration>,
    /// Notices that were sent.
    pub outbox: Option<Duration>,
    /// Deliveries that were applied or ignored.
    pub inbox: Option<Duration>,
    /// Healings, and instances that stopped.
    pub healing: Option<Duration>,
}

/// What is known of a run whose folder is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// No row, and no job runs under its claim.
    Unknown,
    /// It is not over, or its task is not.
    Needed,
    /// Run and task are over.
    Over {
        /// When the run ended.
        at: Timestamp,
        /// Unfinished work of it is still kept, and the folder may hold the only other copy.
        keeps_work: bool,
    },
}

/// What is done with a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// All goes but the copy of kept work.
    KeepCopy,
    /// It goes.
    Remove,
}

/// Decides about the folder of a run that was touched last at `touched`, while folders are kept for `keep`.
pub fn fate(run: Run, touched: Timestamp, keep: Duration, now: Timestamp) -> Fate {
    let is_old = |at: Timestamp| at < now - keep;
    match run {
        Run::Needed => Fate::Keep,
        Run::Unknown if is_old(touched) => Fate::Remove,
        Run::Over { at, keeps_work } if is_old(at) => match keeps_work {
            true => Fate::KeepCopy,
            false => Fate::Remove,
        },
        Run::Unknown | Run::Over { .. } => Fate::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_only_when_its_run_was_over_for_long_enough() {
        let (keep, now) = (Duration::from_secs(100), Timestamp(1_000_000_000));
        let ago = |s| now - Duration::from_secs(s);
        let over = |s, keeps_work| Run::Over {
            at: ago(s),
            keeps_work,
        };
        let table = [
            (Run::Needed, ago(900), Fate::Keep, "a live task, however old"),
            (Run::Unknown, ago(101), Fate::Remove, "its row is gone"),
            (
                Run::Unknown,
                ago(100),
                Fate::Keep,
                "perhaps it is just being made",
            ),
            (
                over(101, false),
                now,
                Fate::Remove,
                "long over, though touched since",
            ),
            (over(100, false), ago(900), Fate::Keep, "over for just as long"),
            (
                over(101, true),
                ago(900),
                Fate::KeepCopy,
                "kept work is younger than that",
            ),
            (over(99, true), ago(900), Fate::Keep, "not over for long"),
        ];
        for (run, touched, expected, what) in table {
            assert_eq!(fate(run, touched, keep, now), expected, "{what}");
        }
    }
}
