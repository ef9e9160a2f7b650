//! What a fix does to the next attempt, the job and the node.

use std::time::Duration;

use super::{ErrorText, Fix, Match};
use crate::domain::quoted;
use crate::domain::retry::pause;
use crate::domain::time::Timestamp;

/// Failures with one fingerprint and no commit in between after which a person has to look.
pub const LOOP: u32 = 3;
/// Before that nobody who was sent away comes back.
const SHORTEST: Duration = Duration::from_secs(10);
/// Bytes of the output's end that the next prompt is told.
const TOLD: usize = 4 * 1024;
/// What `increase_timeout` makes of a limit, percent.
const LONGER: u32 = 150;

/// For how long a fix lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// `repair.node_off_s`: a node that is blacklisted, or has a slot fewer.
    pub node_off: Duration,
    /// `repair.node_cool_s`: the last usable node.
    pub node_cool: Duration,
    /// `repair.cooldown_s`: where neither the rule nor the output says how long.
    pub cooldown: Duration,
}

/// How things stand when a failure is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Agents that the node may run now.
    pub slots: u32,
    /// Another node could take the job.
    pub others: bool,
    /// The limits of the attempt that failed, in percent of the settings.
    pub timeout_percent: u32,
    /// The role's time limit.
    pub timeout: Duration,
    /// What no limit may exceed.
    pub timeout_cap: Duration,
    /// When the output says that it may be tried again.
    pub resets_at: Option<Timestamp>,
    /// The failure passes by itself, and is bounded by a budget of its own.
    pub passes: bool,
    /// Failures of this task with this fingerprint since its last commit, this one included.
    pub repeated: u32,
}

/// What becomes of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeFix {
    /// One agent fewer until then.
    FewerSlots(Timestamp),
    /// Nothing until then.
    Blacklisted(Timestamp),
    /// The last usable node: nothing until then, which is soon.
    Cooled(Timestamp),
}

/// What is done about a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Limits of the next attempt, in percent of the settings.
    pub timeout_percent: Option<u32>,
    /// What becomes of the node.
    pub node: Option<NodeFix>,
    /// The job is not claimed before.
    pub not_before: Option<Timestamp>,
    /// It says itself when it may be tried again: parked until then, which costs nothing.
    pub parked: bool,
    /// Added to the next prompt.
    pub notes: Option<String>,
    /// A person has to look, and why.
    pub stop: Option<String>,
}

/// Plans what a match calls for.
pub fn plan(found: &Match, text: &ErrorText, s: &Situation, terms: Terms, now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    if s.repeated >= LOOP && !s.passes {
        plan.stop = Some(format!(
            "the same failure {} times without a new commit in between ({}: {})",
            s.repeated, found.strategy, found.diagnosis
        ));
        return plan;
    }
    match found.fix {
        Fix::IncreaseTimeout => plan.timeout_percent = Some(longer(s)),
        Fix::ReduceSlots => plan.node = Some(fewer_slots(s, terms, now)),
        Fix::BlacklistNode => plan.node = Some(off(s, terms, now)),
        Fix::Cooldown => {
            let own = found.cooldown_s.map_or(terms.cooldown, Duration::from_secs);
            plan.parked = s.resets_at.is_some();
            // Who is sent away again and again was not told the truth, and pays nothing that would end it: each pause is
            // longer then.
            let before = i32::try_from(s.repeated.saturating_sub(1)).unwrap_or(i32::MAX);
            let floor = match plan.parked {
                true => now + pause(own.max(SHORTEST), before),
                false => now + own,
            };
            plan.not_before = Some(s.resets_at.map_or(floor, |at| at.max(floor)));
        }
        Fix::EnrichPrompt => {
            let output = quoted::clean_tail(text.tail(), TOLD);
            plan.notes = Some(format!(
                "The attempt before this one failed: {} ({}).\nThe end of its output:\n{}",
                found.diagnosis,
                text.first_line(),
                quoted::fenced(&output)
            ));
        }
        Fix::Manual => plan.stop = Some(found.diagnosis.clone()),
        Fix::Retry => {}
    }
    plan
}

/// Half as long again, as long as the role's limit stays under the cap.
fn longer(s: &Situation) -> u32 {
    let wanted = s.timeout_percent.saturating_mul(LONGER) / 100;
    let most = s.timeout_cap.as_secs().saturating_mul(100) / s.timeout.as_secs().max(1);
    let most = u32::try_from(most).unwrap_or(u32::MAX).max(100);
    wanted.min(most).max(s.timeout_percent.min(most))
}

fn fewer_slots(s: &Situation, terms: Terms, now: Timestamp) -> NodeFix {
    if s.slots > 1 {
        NodeFix::FewerSlots(now + terms.node_off)
    } else {
        off(s, terms, now)
    }
}

fn off(s: &Situation, terms: Terms, now: Timestamp) -> NodeFix {
    if s.others {
        NodeFix::Blacklisted(now + terms.node_off)
    } else {
        NodeFix::Cooled(now + terms.node_cool)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::domain::repair::{MatchedBy, Severity};

    const NOW: Timestamp = Timestamp(1_000_000_000);
    const TERMS: Terms = Terms {
        node_off: Duration::from_secs(1800),
        node_cool: Duration::from_secs(300),
        cooldown: Duration::from_secs(30),
    };

    fn situation() -> Situation {
        Situation {
            slots: 2,
            others: true,
            timeout_percent: 100,
            timeout: Duration::from_secs(1800),
            timeout_cap: Duration::from_secs(2700),
            resets_at: None,
            passes: false,
            repeated: 1,
        }
    }

    fn matched(fix: Fix) -> Match {
        Match {
            at_end: true,
            strategy: "rule".into(),
            fix,
            severity: Severity::Medium,
            diagnosis: "it broke".into(),
            cooldown_s: None,
            by: MatchedBy::Nothing,
        }
    }

    fn answer(fix: Fix, s: Situation) -> Plan {
        plan(
            &matched(fix),
            &ErrorText::parse("exit code 1\nthe end"),
            &s,
            TERMS,
            NOW,
        )
    }

    fn seconds(n: u64) -> Timestamp {
        NOW + Duration::from_secs(n)
    }

    #[test]
    fn limits_grow_by_half_up_to_their_cap() {
        let percent = |timeout_percent, timeout| {
            let s = Situation {
                timeout_percent,
                timeout: Duration::from_secs(timeout),
                ..situation()
            };
            answer(Fix::IncreaseTimeout, s).timeout_percent.unwrap()
        };
        assert_eq!(percent(100, 1800), 150, "2700 s, the cap");
        assert_eq!(percent(150, 1800), 150);
        assert_eq!(percent(100, 600), 150);
        assert_eq!(percent(150, 600), 225);
        assert_eq!(percent(400, 600), 450, "2700 s, the cap");
        assert_eq!(percent(100, 3600), 100, "a limit above the cap is the cap");
    }

    #[test]
    fn a_node_loses_slots_one_by_one_and_is_blacklisted_unless_it_is_the_last() {
        let node = |fix, slots, others| {
            let s = Situation {
                slots,
                others,
                ..situation()
            };
            answer(fix, s).node.unwrap()
        };
        assert_eq!(
            node(Fix::ReduceSlots, 2, true),
            NodeFix::FewerSlots(seconds(1800))
        );
        assert_eq!(
            node(Fix::ReduceSlots, 2, false),
            NodeFix::FewerSlots(seconds(1800))
        );
        assert_eq!(
            node(Fix::ReduceSlots, 1, true),
            NodeFix::Blacklisted(seconds(1800))
        );
        assert_eq!(node(Fix::ReduceSlots, 1, false), NodeFix::Cooled(seconds(300)));
        assert_eq!(
            node(Fix::BlacklistNode, 2, true),
            NodeFix::Blacklisted(seconds(1800))
        );
        assert_eq!(node(Fix::BlacklistNode, 2, false), NodeFix::Cooled(seconds(300)));
    }

    #[test]
    fn a_cooldown_ends_when_the_output_says_so_and_then_costs_nothing() {
        let plain = answer(Fix::Cooldown, situation());
        assert_eq!((plain.not_before, plain.parked), (Some(seconds(30)), false));
        let reset = |at, repeated| {
            let s = Situation {
                resets_at: Some(at),
                passes: true,
                repeated,
                ..situation()
            };
            let plan = answer(Fix::Cooldown, s);
            (plan.not_before.unwrap(), plan.parked)
        };
        for near in [Timestamp(0), NOW, seconds(29)] {
            let floor = (seconds(30), true);
            assert_eq!(reset(near, 1), floor, "no run after run without a pause");
        }
        for far in [31, 60, 599, 7200] {
            assert_eq!(reset(seconds(far), 1), (seconds(far), true));
        }
        // Whoever is sent away at the same commit again and again comes back later and later, and pays nothing.
        for (repeated, pause) in [(2, 60), (5, 480), (7, 1920), (1000, 1920)] {
            assert_eq!(reset(NOW, repeated), (seconds(pause), true));
        }
        assert_eq!(reset(seconds(7200), 1000), (seconds(7200), true));
    }

    #[test]
    fn a_rule_that_waits_for_nothing_does_not_run_hot() {
        let found = Match {
            cooldown_s: Some(0),
            ..matched(Fix::Cooldown)
        };
        let s = Situation {
            resets_at: Some(NOW),
            ..situation()
        };
        let plan = plan(&found, &ErrorText::parse("exit code 1"), &s, TERMS, NOW);
        assert_eq!((plan.not_before, plan.parked), (Some(seconds(10)), true));
    }

    #[test]
    fn the_third_time_without_a_commit_stops_what_nothing_else_bounds() {
        let third = |fix| {
            let s = Situation {
                repeated: 3,
                ..situation()
            };
            answer(fix, s).stop
        };
        let why = third(Fix::Retry).unwrap();
        assert_eq!(
            why,
            "the same failure 3 times without a new commit in between (rule: it broke)"
        );
        assert!(third(Fix::IncreaseTimeout).is_some() && third(Fix::ReduceSlots).is_some());
        let passes = Situation {
            repeated: 3,
            passes: true,
            ..situation()
        };
        for fix in [Fix::Cooldown, Fix::BlacklistNode, Fix::Retry] {
            assert_eq!(answer(fix, passes).stop, None);
        }
        assert_eq!(answer(Fix::Manual, situation()).stop.as_deref(), Some("it broke"));
        assert_eq!(answer(Fix::Retry, situation()), Plan::default());
    }

    #[test]
    fn an_enriched_prompt_tells_what_was_wrong_and_nothing_of_it_can_close_its_fence() {
        let notes = answer(Fix::EnrichPrompt, situation()).notes.unwrap();
        assert!(
            notes.contains("it broke (exit code 1)") && notes.contains("the end"),
            "{notes}"
        );
    }
}
