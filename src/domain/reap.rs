//! Decides which running job has lost its executor, and what becomes of it. Never looks at a process, never writes.

use std::time::Duration;

use super::time::Timestamp;

/// What the database says of a running job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Since when it runs.
    pub since: Timestamp,
    /// Looks in a row that found its process dead.
    pub dead_looks: i32,
    /// Somebody drives it: what its process does is that one's business.
    pub monitored: bool,
}

/// What its process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// No process is known.
    Nothing,
    /// It lives.
    Alive,
    /// It is gone and has recorded no exit.
    Gone,
    /// Its exit is recorded.
    Ended {
        /// When it ended.
        at: Timestamp,
    },
}

/// The patience of the reaper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Looks in a row that must find a process dead.
    pub dead_ticks: u32,
    /// How old a recorded exit must be.
    pub finalize_grace: Duration,
    /// How long a job may run at all.
    pub max_running: Duration,
}

/// Why a job is reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Its process is gone without an exit.
    DeadProcess,
    /// Its exit is known, and nobody did anything about it.
    ExitRecorded,
    /// It runs for too long. Its tree has to be ended first.
    Backstop,
}

impl Tier {
    /// The word shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeadProcess => "dead process",
            Self::ExitRecorded => "exit recorded",
            Self::Backstop => "backstop",
        }
    }
}

/// What a look at a job comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is to be done.
    Leave,
    /// The streak of dead looks is broken.
    Forget,
    /// One more dead look, too few yet.
    Count,
    /// It is reaped.
    Reap(Tier),
}

/// What a look at a running job comes to. The backstop alone holds against whoever drives the job.
pub fn verdict(facts: Facts, evidence: Evidence, policy: Policy, now: Timestamp) -> Verdict {
    let seen = by_process(facts, evidence, policy, now);
    match seen {
        Verdict::Reap(_) => seen,
        Verdict::Leave | Verdict::Forget | Verdict::Count if now.since(facts.since) > policy.max_running => {
            Verdict::Reap(Tier::Backstop)
        }
        Verdict::Leave | Verdict::Forget | Verdict::Count => seen,
    }
}

fn by_process(facts: Facts, evidence: Evidence, policy: Policy, now: Timestamp) -> Verdict {
    let looks = u32::try_from(facts.dead_looks).unwrap_or(0).saturating_add(1);
    match evidence {
        Evidence::Gone if !facts.monitored && looks >= policy.dead_ticks => Verdict::Reap(Tier::DeadProcess),
        Evidence::Gone if !facts.monitored => Verdict::Count,
        Evidence::Ended { at } if !facts.monitored && now.since(at) >= policy.finalize_grace => {
            Verdict::Reap(Tier::ExitRecorded)
        }
        Evidence::Nothing | Evidence::Alive | Evidence::Gone | Evidence::Ended { .. } => {
            match facts.dead_looks {
                0 => Verdict::Leave,
                _ => Verdict::Forget,
            }
        }
    }
}

/// How the program of a reaped job ended, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By itself with 0.
    Succeeded,
    /// Otherwise, or nobody knows.
    Failed,
    /// Orch, or the end of its machine, ended it: nobody's fault.
    EndedByOrch,
}

/// What the gates of the stage say of what the job delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gates {
    /// All green, or the next that is not is somebody else's turn: a person's, or that of a check not made yet.
    GoOn,
    /// Red, or nobody knows.
    NotGreen,
}

/// What becomes of a reaped job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Its task is past its stage: done, and nothing else.
    Past,
    /// Done, and its task goes on.
    GoOn,
    /// Queued again; the attempt counts.
    Again,
    /// Queued again; the attempt is refunded.
    Refund,
    /// Failed, and its task is blocked.
    Fail,
}

/// What becomes of a reaped job. `attempts` are those spent, this one included, and those that may be.
pub fn settlement(past: bool, outcome: Outcome, gates: Gates, attempts: (i32, i32)) -> Settlement {
    match (past, outcome, gates) {
        (true, _, _) => Settlement::Past,
        (false, Outcome::Succeeded, Gates::GoOn) => Settlement::GoOn,
        (false, Outcome::EndedByOrch, _) => Settlement::Refund,
        (false, Outcome::Succeeded, Gates::NotGreen) | (false, Outcome::Failed, _) => {
            match attempts.0 < attempts.1 {
                true => Settlement::Again,
                false => Settlement::Fail,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(10_000_000_000);
    const POLICY: Policy = Policy {
        dead_ticks: 2,
        finalize_grace: Duration::from_secs(300),
        max_running: Duration::from_secs(3600),
    };

    fn ended(ago: u64) -> Evidence {
        let at = NOW - Duration::from_secs(ago);
        Evidence::Ended { at }
    }

    fn judged(evidence: Evidence, running: u64, dead_looks: i32, monitored: bool) -> Verdict {
        let since = NOW - Duration::from_secs(running);
        let facts = Facts {
            since,
            dead_looks,
            monitored,
        };
        verdict(facts, evidence, POLICY, NOW)
    }

    #[test]
    fn a_look_comes_to_what_the_tiers_say() {
        use Verdict::{Count, Forget, Leave, Reap};
        let table = [
            // A live agent is left alone, and breaks the streak.
            (Evidence::Alive, 60, 0, false, Leave),
            (Evidence::Alive, 60, 1, false, Forget),
            (Evidence::Alive, 3600, 0, false, Leave),
            // A dead one counts until the set looks, and only while nobody drives the job.
            (Evidence::Gone, 60, 0, false, Count),
            (Evidence::Gone, 60, 1, false, Reap(Tier::DeadProcess)),
            (Evidence::Gone, 60, 7, false, Reap(Tier::DeadProcess)),
            (Evidence::Gone, 60, 0, true, Leave),
            (Evidence::Gone, 60, 1, true, Forget),
            // An exit has its time to be finalised.
            (ended(299), 600, 0, false, Leave),
            (ended(299), 600, 1, false, Forget),
            (ended(300), 600, 0, false, Reap(Tier::ExitRecorded)),
            (ended(300), 600, 0, true, Leave),
            // Without a process only time tells.
            (Evidence::Nothing, 3600, 0, false, Leave),
            (Evidence::Nothing, 3601, 0, false, Reap(Tier::Backstop)),
            // The ceiling holds for everybody.
            (Evidence::Alive, 3601, 0, false, Reap(Tier::Backstop)),
            (Evidence::Alive, 3601, 0, true, Reap(Tier::Backstop)),
            (Evidence::Gone, 3601, 0, false, Reap(Tier::Backstop)),
            (ended(10), 3601, 0, true, Reap(Tier::Backstop)),
            (ended(400), 3601, 0, false, Reap(Tier::ExitRecorded)),
        ];
        for (evidence, running, looks, monitored, wanted) in table {
            let found = judged(evidence, running, looks, monitored);
            assert_eq!(found, wanted, "{evidence:?} {running} {looks} {monitored}");
        }
    }

    #[test]
    fn one_look_is_enough_where_the_settings_say_so() {
        let facts = Facts {
            since: NOW,
            dead_looks: 0,
            monitored: false,
        };
        let policy = Policy {
            dead_ticks: 1,
            ..POLICY
        };
        let found = verdict(facts, Evidence::Gone, policy, NOW);
        assert_eq!(found, Verdict::Reap(Tier::DeadProcess));
    }

    #[test]
    fn an_exit_of_the_future_waits_for_its_time() {
        let at = NOW + Duration::from_secs(9);
        assert_eq!(judged(Evidence::Ended { at }, 60, 0, false), Verdict::Leave);
    }

    #[test]
    fn a_reaped_job_goes_on_only_after_an_exit_of_0_and_green_gates() {
        use Outcome::{EndedByOrch, Failed, Succeeded};
        let table = [
            (false, Succeeded, Gates::GoOn, 2, Settlement::GoOn),
            (false, Succeeded, Gates::NotGreen, 1, Settlement::Again),
            (false, Succeeded, Gates::NotGreen, 2, Settlement::Fail),
            (false, Failed, Gates::GoOn, 1, Settlement::Again),
            (false, Failed, Gates::GoOn, 2, Settlement::Fail),
            (false, EndedByOrch, Gates::GoOn, 2, Settlement::Refund),
            (false, EndedByOrch, Gates::NotGreen, 2, Settlement::Refund),
            (true, Succeeded, Gates::GoOn, 1, Settlement::Past),
            (true, Failed, Gates::NotGreen, 2, Settlement::Past),
        ];
        for (past, outcome, gates, attempts, wanted) in table {
            let found = settlement(past, outcome, gates, (attempts, 2));
            assert_eq!(found, wanted, "{past} {outcome:?} {gates:?} {attempts}");
        }
    }
}
