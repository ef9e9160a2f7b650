//! What a report comes to, as tables and for any report.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::domain::front_matter;
use crate::domain::gate::GateState;

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|n| (*n).to_owned()).collect()
}

fn judged(output: &str, code: i32, (allowed, tolerate, required): (&[&str], bool, &[&str])) -> Outcome {
    let (allowed, required) = (names(allowed), names(required));
    let policy = Policy {
        infra_allowed: &allowed,
        tolerate_infra: tolerate,
        required: &required,
    };
    judge(Report::read(output, true), &Ended::Code(code), &policy)
}

const LOGIN: &str = r#"{"name":"login","class":"real","critical":true,"ok":true}"#;
const CART: &str = r#"{"name":"cart","class":"real","critical":false,"ok":false,"detail":"500"}"#;
const DNS: &str = r#"{"name":"dns","class":"infra","critical":false,"ok":false,"detail":"slow"}"#;
const MAIL: &str = r#"{"name":"mail","class":"infra","ok":true}"#;

#[test]
fn what_a_report_comes_to() {
    let dns = (&["dns"][..], true, &[][..]);
    let plain = (&[][..], false, &[][..]);
    type Given<'a> = (&'a [&'a str], bool, &'a [&'a str]);
    let table: &[(&[&str], i32, Given<'_>, &str)] = &[
        (&[LOGIN], 0, plain, "SUCCESS all 1 checks passed"),
        (
            &["starting", LOGIN, "{}x", MAIL],
            0,
            plain,
            "SUCCESS all 2 checks passed",
        ),
        (&[LOGIN, CART], 1, plain, "FAILED real check \"cart\" failed: 500"),
        (&[LOGIN, CART], 1, dns, "FAILED real check \"cart\" failed: 500"),
        // Only what is allowed, and only where it is borne.
        (&[LOGIN, DNS], 1, dns, "SUCCESS 1 of 2 checks passed; waived: dns"),
        (&[LOGIN, DNS], 0, dns, "SUCCESS 1 of 2 checks passed; waived: dns"),
        (
            &[LOGIN, DNS],
            1,
            (&["dns"], false, &[]),
            "FAILED infra check \"dns\" failed: slow",
        ),
        (
            &[LOGIN, DNS],
            1,
            (&["mail"], true, &[]),
            "FAILED infra check \"dns\" failed: slow",
        ),
        (
            &[LOGIN, CART, DNS],
            1,
            dns,
            "FAILED real check \"cart\" failed: 500",
        ),
        // An allowed name does not excuse a real check.
        (
            &[LOGIN, CART],
            1,
            (&["cart"], true, &[]),
            "FAILED real check \"cart\" failed: 500",
        ),
        // Without a real check that ran nothing is known.
        (&[DNS], 1, dns, "FAILED no real check passed"),
        (&[MAIL], 0, plain, "FAILED no real check passed"),
        (&[], 0, plain, "FAILED no checks were executed"),
        (&["all is well"], 0, dns, "FAILED no checks were executed"),
        // What has to be there.
        (
            &[LOGIN],
            0,
            (&[], false, &["login"]),
            "SUCCESS all 1 checks passed",
        ),
        (
            &[LOGIN],
            0,
            (&[], false, &["login", "pay"]),
            "FAILED required check \"pay\" did not run",
        ),
        (
            &[LOGIN, DNS],
            1,
            (&["dns"], true, &["pay"]),
            "FAILED required check \"pay\" did not run",
        ),
        // The command has to end as its checks say.
        (
            &[LOGIN],
            1,
            plain,
            "FAILED check_command ended with exit code 1, which its checks do not explain",
        ),
        (
            &[LOGIN, DNS],
            2,
            dns,
            "FAILED check_command ended with exit code 2, which its checks do not explain",
        ),
        // The worst of two counts.
        (
            &[
                LOGIN,
                MAIL,
                r#"{"name":"login","class":"infra","ok":false,"detail":"later"}"#,
            ],
            1,
            (&["login"], true, &[]),
            "FAILED critical real check \"login\" failed: later (and 1 more)",
        ),
        // A bad field.
        (
            &[LOGIN, r#"{"name":"x","class":"other","ok":true}"#],
            0,
            plain,
            "FAILED a check needs class \"real\" or \"infra\": {\"name\":\"x\",\"class\":\"other\",\"ok\":true}",
        ),
        (
            &[LOGIN, r#"{"name":"x","class":"real","ok":"yes"}"#],
            0,
            plain,
            "FAILED a check needs ok = true or false: {\"name\":\"x\",\"class\":\"real\",\"ok\":\"yes\"}",
        ),
        (
            &[LOGIN, r#"{"name":" ","class":"real","ok":true}"#],
            0,
            plain,
            "FAILED a check needs a name of 1 to 120 characters: {\"name\":\" \",\"class\":\"real\",\"ok\":true}",
        ),
        (
            &[LOGIN, r#"{"name":"x","class":"#],
            0,
            plain,
            "FAILED a line that begins like a check is no JSON: {\"name\":\"x\",\"class\":",
        ),
    ];
    for (lines, code, given, expected) in table {
        let outcome = judged(&lines.join("\n"), *code, *given);
        let status = if outcome.success { "SUCCESS" } else { "FAILED" };
        assert_eq!(format!("{status} {}", outcome.reason), *expected, "{lines:?}");
    }
}

#[test]
fn what_was_cut_or_killed_or_is_too_much_is_never_green() {
    let policy = |report, ended: &Ended| {
        let none = BTreeSet::new();
        let policy = Policy {
            infra_allowed: &none,
            tolerate_infra: true,
            required: &none,
        };
        judge(report, ended, &policy)
    };
    assert!(policy(Report::read(LOGIN, true), &Ended::Code(0)).success);
    assert!(!policy(Report::read(LOGIN, false), &Ended::Code(0)).success);
    let killed = Ended::Otherwise("timeout".to_owned());
    assert!(!policy(Report::read(LOGIN, true), &killed).success);
    let many: String = (0..=MOST_CHECKS)
        .map(|n| format!("{{\"name\":\"{n}\",\"class\":\"real\",\"ok\":true}}\n"))
        .collect();
    let outcome = policy(Report::read(&many, true), &Ended::Code(0));
    assert_eq!((outcome.success, outcome.checks.len()), (false, MOST_CHECKS));
}

#[test]
fn the_log_says_to_its_gate_what_was_judged_and_lets_nobody_end_its_front_matter() {
    let sha = Sha::trusted("a".repeat(40));
    let evil =
        r#"{"name":"a|b","class":"real","ok":false,"detail":"x\n---\nstaging_status: SUCCESS | ``` "}"#;
    let outcome = judged(&[LOGIN, DNS, evil].join("\n"), 1, (&["dns"], true, &["pay"]));
    let log = outcome.log(&sha, "```\n---\nstaging_status: SUCCESS\n");
    let verdict = front_matter::STAGING_LOG.judge("15", Some(log.as_bytes()));
    assert_eq!(verdict.state, GateState::Red, "{log}");
    let front = front_matter::parse(log.as_bytes()).unwrap();
    let keys = ["staging_status", "revision", "checks_total", "checks_failed"];
    let said = keys.map(|key| front.get(key).unwrap_or_default().to_owned());
    assert_eq!(said, ["FAILED", sha.as_str(), "4", "3"]);
    assert_eq!(front.list("waived"), ["dns"]);
    assert_eq!(front.list("findings").len(), 2, "{log}");
    assert!(
        log.contains("| `dns` | infra |  | failed, waived | `slow` |"),
        "{log}"
    );
    let good = judged(LOGIN, 0, (&[], false, &[])).log(&sha, "");
    let verdict = front_matter::STAGING_LOG.judge("15", Some(good.as_bytes()));
    assert_eq!(verdict.state, GateState::Green, "{good}");
}

fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("dns"), Just("login"), Just("mail"), Just("")];
    let class = prop_oneof![Just("real"), Just("infra"), Just("?")];
    let check = (name, class, any::<bool>(), any::<bool>()).prop_map(|(n, c, ok, critical)| {
        format!("{{\"name\":\"{n}\",\"class\":\"{c}\",\"ok\":{ok},\"critical\":{critical}}}")
    });
    prop_oneof![4 => check, 1 => ".{0,60}"]
}

proptest! {
    #[test]
    fn nothing_is_green_without_a_real_check_that_passed_and_no_real_failure_is_waived(
        lines in prop::collection::vec(line(), 0..8),
        code in 0..3i32,
        tolerate in any::<bool>(),
        whole in any::<bool>(),
    ) {
        let (allowed, required) = (names(&["dns", "login"]), names(&["login"]));
        let policy = Policy { infra_allowed: &allowed, tolerate_infra: tolerate, required: &required };
        let report = Report::read(&lines.join("\n"), whole);
        let outcome = judge(report.clone(), &Ended::Code(code), &policy);
        let _ = outcome.log(&Sha::trusted("a".repeat(40)), &lines.join("\n"));
        if outcome.success {
            prop_assert!(whole && report.problems.is_empty());
            prop_assert!(report.checks.iter().any(|c| c.class == Class::Real && c.ok));
            prop_assert!(report.checks.iter().any(|c| c.name == "login"));
            let failed = report.checks.iter().filter(|c| !c.ok);
            for check in failed {
                prop_assert!(tolerate && check.class == Class::Infra && allowed.contains(&check.name));
                prop_assert!(outcome.waived.contains(&check.name));
            }
        }
    }
}
