//! The rules of watching, as tables and as properties. Never asks anybody.

use std::time::Duration;

use proptest::prelude::*;

use super::super::time::Timestamp;
use super::*;

const PLAN: Plan = Plan {
    probes: 30,
    window: Duration::from_secs(900),
    warm_up: Duration::from_secs(30),
};

/// `.` good, `x` failed, `-` missing.
fn looks(text: &str) -> Vec<Probe> {
    let look = |c| match c {
        '.' => Probe::Good,
        'x' => Probe::Failed("HTTP 500 instead of 200".to_owned()),
        _ => Probe::Missing,
    };
    text.chars().map(look).collect()
}

fn health(text: &str) -> Option<Health> {
    judge(&PLAN, &looks(text)).map(|judged| judged.health)
}

#[test]
fn the_rules_at_their_boundaries() {
    let good = |n: usize| ".".repeat(n);
    let gone = |n: usize| "-".repeat(n);
    let (healthy, degraded, unclear) = (
        Some(Health::Healthy),
        Some(Health::Degraded),
        Some(Health::Inconclusive),
    );
    let table = [
        (String::new(), None, "nothing seen yet"),
        (good(29), None, "one is missing"),
        (good(30), healthy, "all good"),
        ("xx".to_owned(), None, "two in a row"),
        ("xxx".to_owned(), degraded, "three in a row, at once"),
        ("xx.x".to_owned(), None, "three, but not in a row"),
        ("x-x-x".to_owned(), degraded, "no recovery was seen in the gaps"),
        ("xx-.x".to_owned(), None, "a recovery was"),
        ("x.x.x.x".to_owned(), None, "four failures"),
        ("x.x.x.x.x".to_owned(), degraded, "five of thirty, at once"),
        (
            format!("x.x.x.x{}", good(23)),
            healthy,
            "four, and the last five good",
        ),
        (
            format!("{}x.x.x.x.....", good(18)),
            healthy,
            "four, and just five good ones after them",
        ),
        (
            format!("{}x.x.x.x....", good(19)),
            unclear,
            "four good ones after them",
        ),
        (format!("{}x", good(29)), unclear, "the last failed"),
        (format!("{}-", good(29)), unclear, "nobody saw the last"),
        (format!("{}{}", gone(6), good(24)), healthy, "24 valid"),
        (format!("{}{}", gone(7), good(23)), unclear, "23 valid"),
        (
            format!("{}x.x.x.x.{}", gone(6), good(16)),
            healthy,
            "24 valid, four of them failures",
        ),
        (gone(30), unclear, "nobody looked at all"),
        (
            format!("{}xxx", good(30)),
            healthy,
            "what comes after the window does not count",
        ),
    ];
    for (text, expected, what) in table {
        assert_eq!(health(&text), expected, "{what}: {text}");
    }
}

#[test]
fn other_numbers_of_probes_are_judged_in_proportion() {
    for (probes, too_many, enough) in [
        (5, 3, 4),
        (6, 3, 5),
        (12, 3, 10),
        (18, 3, 15),
        (19, 4, 16),
        (30, 5, 24),
        (60, 10, 48),
    ] {
        let plan = Plan { probes, ..PLAN };
        assert_eq!((plan.too_many(), plan.enough()), (too_many, enough), "{probes}");
    }
    let (healthy, degraded, unclear) = (
        Some(Health::Healthy),
        Some(Health::Degraded),
        Some(Health::Inconclusive),
    );
    let table = [
        (5, "x", None, "one failure is no verdict"),
        (5, "x....", unclear, "one among the last five"),
        (5, "xx.x", degraded, "three of five"),
        (6, "x", None, "one failure is no verdict"),
        (6, "x.....", healthy, "one, and five good ones after it"),
        (6, "x.x...", unclear, "two, one of them among the last five"),
        (6, "x.x.x", degraded, "three of six"),
        (12, "x.x.........", healthy, "two of twelve"),
        (12, "x..x..x", degraded, "three of twelve, at once"),
        (30, "x..x..x..x", None, "four of thirty"),
        (30, "x..x..x..x..x", degraded, "five of thirty"),
    ];
    for (probes, text, expected, what) in table {
        let plan = Plan { probes, ..PLAN };
        let health = judge(&plan, &looks(text)).map(|judged| judged.health);
        assert_eq!(health, expected, "{probes}, {what}: {text}");
    }
}

#[test]
fn a_verdict_says_why() {
    let why = |text: &str| {
        judge(&PLAN, &looks(text))
            .map(|judged| judged.why)
            .unwrap_or_default()
    };
    assert_eq!(
        why(".xxx"),
        "3 probes in a row failed; the last: HTTP 500 instead of 200"
    );
    assert_eq!(
        why("x.x.x.x.x"),
        "5 of 30 probes failed; the last: HTTP 500 instead of 200"
    );
    assert_eq!(why(&".".repeat(30)), "30 of 30 probes were good");
    assert_eq!(why(&"-".repeat(30)), "0 of 30 probes were made, and it takes 24");
}

#[test]
fn a_look_is_due_at_its_time_and_missing_an_interval_later() {
    let start = Timestamp(0);
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let table = [
        (0, at(0), Due::At(at(30)), "it warms up"),
        (0, at(29), Due::At(at(30)), "it still does"),
        (0, at(30), Due::Now { from: 0, slot: 0 }, "in time"),
        (
            0,
            at(60),
            Due::Now { from: 0, slot: 0 },
            "late by just an interval",
        ),
        (0, at(61), Due::Now { from: 0, slot: 1 }, "the first is missing"),
        (1, at(59), Due::At(at(60)), "the next is not due"),
        (2, at(400), Due::Now { from: 2, slot: 12 }, "the service was down"),
        (
            29,
            at(930),
            Due::Now { from: 29, slot: 29 },
            "the last, an interval late",
        ),
        (29, at(931), Due::Gone { from: 29 }, "the last is missing"),
        (3, at(5000), Due::Gone { from: 3 }, "down to the end"),
        (30, at(931), Due::Complete, "all are known"),
    ];
    for (made, now, expected, what) in table {
        assert_eq!(due(&PLAN, start, made, now), expected, "{what}");
    }
    assert_eq!(PLAN.until(start), at(930));
}

#[test]
fn production_is_rolled_back_only_where_nothing_stands_against_it() {
    let all = Facts {
        enabled: true,
        self_hosting: false,
        baseline: Baseline::Good,
        newer: false,
        taken: None,
    };
    assert_eq!(action(Health::Degraded, &all), Action::Rollback);
    assert_eq!(action(Health::Healthy, &all), Action::None);
    assert_eq!(action(Health::Inconclusive, &all), Action::None);
    let against = [
        Facts {
            enabled: false,
            ..all
        },
        Facts {
            self_hosting: true,
            ..all
        },
        Facts {
            baseline: Baseline::Bad,
            ..all
        },
        Facts {
            baseline: Baseline::Unknown,
            ..all
        },
        Facts { newer: true, ..all },
        Facts {
            taken: Some(ActionTaken::RolledBack),
            ..all
        },
    ];
    for facts in against {
        let action = action(Health::Degraded, &facts);
        assert!(matches!(action, Action::AlertOnly(_)), "{facts:?}: {action:?}");
    }
}

#[test]
fn the_baseline_is_good_only_where_every_look_was() {
    for (text, expected) in [
        ("", Baseline::Unknown),
        ("...", Baseline::Good),
        (".x.", Baseline::Bad),
        (".-.", Baseline::Bad),
    ] {
        assert_eq!(Baseline::of(&looks(text)), expected, "{text:?}");
    }
}

#[test]
fn a_rollback_ends_as_its_hook_or_else_production_says() {
    let (new, old) = (Sha::trusted("a".repeat(40)), "b".repeat(40));
    let settled = |status| {
        Said::Settled(Outcome {
            status,
            why: "exit".to_owned(),
        })
    };
    let ask = Said::AskProduction("exit code 2".to_owned());
    let live = |text: &str| Some(Ok(text.to_owned()));
    let table = [
        (settled(DeployStatus::Succeeded), None, ActionTaken::RolledBack),
        (settled(DeployStatus::Failed), None, ActionTaken::RollbackFailed),
        (ask.clone(), live(&old), ActionTaken::RolledBack),
        (ask.clone(), live("bbbbbbb"), ActionTaken::RolledBack),
        (ask.clone(), live(new.as_str()), ActionTaken::RollbackFailed),
        (ask.clone(), live("ccccccc"), ActionTaken::RollbackUnknown),
        (
            ask.clone(),
            Some(Err("refused".to_owned())),
            ActionTaken::RollbackUnknown,
        ),
        (ask, None, ActionTaken::RollbackUnknown),
    ];
    for (said, live, expected) in table {
        let (taken, why) = rolled_back(&said, live.as_ref(), &new, Some(&old));
        assert_eq!(taken, expected, "{said:?} {live:?}: {why}");
    }
}

#[test]
fn an_answer_is_good_where_status_body_and_revision_are() {
    let revision = Sha::trusted("0123456789abcdef0123456789abcdef01234567".to_owned());
    let expect = |body: Option<&str>, revision| Expect {
        status: 200,
        body: body.and_then(|text| Pattern::parse(text).ok()),
        revision,
    };
    let plain = expect(None, false);
    let ok = expect(Some("\"status\": *\"ok\""), false);
    let named = expect(None, true);
    let table: [(&Expect, u16, &str, bool); 13] = [
        (&plain, 200, "", true),
        (&plain, 204, "", false),
        (&plain, 500, "", false),
        (&ok, 200, "{\"status\": \"ok\"}", true),
        (&ok, 200, "{\"status\": \"bad\"}", false),
        (
            &named,
            200,
            "{\"revision\":\"0123456789abcdef0123456789abcdef01234567\"}",
            true,
        ),
        (&named, 200, "version v1.2-g0123456 on host", true),
        (&named, 200, "version v1.2 (0123456) on host", true),
        (&named, 200, "0123456", true),
        (&named, 200, "0123456789ABCDEF", true),
        (&named, 200, "012345", false),
        (&named, 200, "fedcba9876543210", false),
        (&named, 200, "", false),
    ];
    for (expect, status, body, good) in table {
        let met = expect.meets(status, body.as_bytes(), Some(&revision));
        assert_eq!(met.is_ok(), good, "{expect:?} {status} {body}: {met:?}");
    }
    // What runs before the deploy names another one.
    assert_eq!(named.meets(200, b"fedcba98", None), Ok(()));
}

#[test]
fn a_pattern_is_bounded() {
    for bad in ["(", "a{1000}{1000}{1000}"] {
        let error = Pattern::parse(bad).map(drop).map_err(|e| e.to_string());
        assert!(
            error.as_ref().is_err_and(|e| !e.contains('\n')),
            "{bad}: {error:?}"
        );
    }
}

fn any_looks() -> impl Strategy<Value = String> {
    // Mostly good, else hardly any window would be healthy.
    let look = prop_oneof![8 => Just('.'), 1 => Just('x'), 1 => Just('-')];
    proptest::collection::vec(look, 0..=32).prop_map(String::from_iter)
}

proptest! {
    #[test]
    fn healthy_is_never_said_without_cause(text in any_looks()) {
        let seen: String = text.chars().take(30).collect();
        let count = |c| seen.chars().filter(|x| *x == c).count();
        let without_gaps = seen.replace('-', "");
        match health(&text) {
            Some(Health::Healthy) => {
                prop_assert!(!without_gaps.contains("xxx") && count('x') <= 4);
                prop_assert!(count('.') + count('x') >= 24 && seen.ends_with("....."));
            }
            Some(Health::Degraded) => prop_assert!(without_gaps.contains("xxx") || count('x') >= 5),
            Some(Health::Inconclusive) => prop_assert_eq!(seen.len(), 30),
            None => prop_assert!(seen.len() < 30 && count('x') < 5),
        }
    }

    #[test]
    fn a_look_is_due_exactly_once(made in 0_usize..31, seconds in 0_u64..2000) {
        let now = Timestamp(0) + Duration::from_secs(seconds);
        match due(&PLAN, Timestamp(0), made, now) {
            Due::Now { from, slot } => {
                prop_assert_eq!(usize::from(from), made);
                prop_assert!(slot >= from && slot < 30 && PLAN.at(Timestamp(0), slot) <= now);
            }
            Due::Gone { from } => prop_assert!(usize::from(from) == made && now > PLAN.until(Timestamp(0))),
            Due::At(at) => prop_assert!(at > now),
            Due::Complete => prop_assert_eq!(made, 30),
        }
    }
}
