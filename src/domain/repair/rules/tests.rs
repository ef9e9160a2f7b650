//! The table of the rules that come with Orch, on outputs as agents, shells, git and ssh print them.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::{Strategy as Strategy_, *};

use super::*;
use crate::domain::repair::OUTPUT_TAIL;

fn shipped() -> Rules {
    Rules::parse(SHIPPED).unwrap()
}

fn strategy_of(text: &str) -> String {
    shipped()
        .matching(&ErrorText::parse(text), Some(Role::Developer))
        .strategy
}

#[test]
fn the_shipped_rules_answer_what_they_are_for() {
    let table = [
        // oom
        ("exit code 137 SIGKILL", "oom", Fix::ReduceSlots),
        (
            "exit code 1\nfatal: OOM: killed worker 3",
            "oom",
            Fix::ReduceSlots,
        ),
        (
            "exit code 134 SIGABRT\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory",
            "oom",
            Fix::ReduceSlots,
        ),
        // no_cli
        (
            "exit code 127 (not started: No such file or directory (os error 2))",
            "no_cli",
            Fix::BlacklistNode,
        ),
        (
            "exit code 2\nsh: 1: claude: command not found",
            "no_cli",
            Fix::BlacklistNode,
        ),
        // overran
        (
            "exit code 143 SIGTERM (timeout after 1800s)",
            "overran",
            Fix::IncreaseTimeout,
        ),
        (
            "exit code 143 SIGTERM (stall: no output for 600s)",
            "overran",
            Fix::IncreaseTimeout,
        ),
        // killed
        ("exit code 143 SIGTERM", "killed", Fix::IncreaseTimeout),
        (
            "exit code 1\nrun.sh: line 12:  4711 Terminated              ./slow",
            "killed",
            Fix::IncreaseTimeout,
        ),
        ("exit code 1\nworking\nKilled", "killed", Fix::IncreaseTimeout),
        // offline
        (
            "exit code 1\nworker offline: node-b",
            "offline",
            Fix::BlacklistNode,
        ),
        (
            "exit code 1\nError: heartbeat timeout after 30s",
            "offline",
            Fix::BlacklistNode,
        ),
        (
            "exit code 255 (ssh node-b)\nssh: connect to host 10.0.0.2 port 22: No route to host",
            "offline",
            Fix::BlacklistNode,
        ),
        (
            "exit code 1\nconnect ECONNREFUSED: Connection refused",
            "offline",
            Fix::BlacklistNode,
        ),
        // rate_limit
        (
            "exit code 1\nAPI Error: 429 {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}",
            "rate_limit",
            Fix::Cooldown,
        ),
        (
            "exit code 1\nHTTP/1.1 429 Too Many Requests",
            "rate_limit",
            Fix::Cooldown,
        ),
        (
            "exit code 1\nRequest failed with status code 429",
            "rate_limit",
            Fix::Cooldown,
        ),
        (
            "exit code 1\nClaude usage limit reached. Your limit will reset at 3pm",
            "rate_limit",
            Fix::Cooldown,
        ),
        (
            "exit code 1\nYou exceeded your current quota, please check your plan",
            "rate_limit",
            Fix::Cooldown,
        ),
        // git_conflict
        (
            "exit code 1\nCONFLICT (content): Merge conflict in src/lib.rs\nAutomatic merge failed; fix conflicts",
            "git_conflict",
            Fix::Manual,
        ),
        (
            "exit code 1\nCONFLICT (modify/delete): a.rs deleted in HEAD",
            "git_conflict",
            Fix::Manual,
        ),
        // empty_output
        ("exit code 1\n0 files changed", "empty_output", Fix::EnrichPrompt),
        (
            "exit code 1\nthe model gave an empty final output",
            "empty_output",
            Fix::EnrichPrompt,
        ),
        // none
        ("exit code 1\nerror[E0308]: mismatched types", "none", Fix::Retry),
        ("", "none", Fix::Retry),
    ];
    let rules = shipped();
    for (text, strategy, fix) in table {
        let found = rules.matching(&ErrorText::parse(text), Some(Role::Developer));
        assert_eq!(
            (found.strategy.as_str(), found.fix),
            (strategy, fix),
            "{text:?}: {found:?}"
        );
    }
}

#[test]
fn what_could_be_read_two_ways_is_decided_and_for_a_reason() {
    let table = [
        // The kernel's OOM killer sends SIGKILL, and shells print `Killed` for it: the first rule of the file wins.
        ("exit code 137 SIGKILL\nKilled", "oom"),
        // A limit that had to kill says so: it is no lack of memory.
        ("exit code 137 SIGKILL (timeout after 1800s)", "overran"),
        // Nobody but a limit or a person sends SIGTERM: more time, not fewer slots.
        ("exit code 143 SIGTERM\nTerminated", "killed"),
        // A wrapper passes on the code of what it could not start: the program is missing on this node all the same.
        (
            "exit code 127\nbwrap: execvp claude: No such file or directory",
            "no_cli",
        ),
        // Line 429 of a file is no answer of a server.
        (
            "exit code 1\nsrc/parser.rs:429:17: error: expected `;`\n  429 |     let x = 1",
            "none",
        ),
        ("exit code 1\nthread 'main' panicked at src/main.rs:429:5", "none"),
        // An agent that speaks of a conflict has none; git words it its own way.
        (
            "exit code 1\nThe two requirements are in CONFLICT, so I resolved the conflict of interests.",
            "none",
        ),
        // Part of a word is not the word.
        (
            "exit code 1\nthere is no room in the bathroom for a broom",
            "none",
        ),
        // Mutants and children are killed in prose without anybody having killed the agent.
        (
            "exit code 1\nKilled 12 of 14 mutants; terminated the server in between",
            "none",
        ),
        // Only the first line tells how it ended.
        ("exit code 1\nthe child ended with exit code 137", "none"),
        // An agent that writes about limits is not known from one that ran into its own: the rule is taken, which costs a
        // pause. Whether it costs an attempt too, and whether a time in it counts, is decided by where it stands.
        (
            "exit code 1\nI implemented rate limiting for the login\nassertion failed",
            "rate_limit",
        ),
        ("exit code 1\nThe API is rate-limited; error[E0308]", "rate_limit"),
        // A word that only begins like it is another.
        (
            "exit code 1\nthe accurate limit of the prorated limits is 3",
            "none",
        ),
        // 255 is what ssh says of itself, and what any program says of -1.
        ("exit code 255\nerror: unexpected token", "none"),
    ];
    for (text, strategy) in table {
        assert_eq!(strategy_of(text), strategy, "{text:?}");
    }
}

/// What stands far above the end was read, written or overcome by the agent; what ended it comes last.
#[test]
fn what_takes_from_everybody_or_stops_a_task_is_looked_for_at_the_end_alone() {
    let work = "a line of ordinary work\n".repeat(1_000);
    let limit = "You've hit your usage limit, resets 3pm";
    let table = [
        (
            format!("exit code 1\nfatal: out of memory, malloc failed\n{work}assertion failed"),
            "none",
        ),
        (format!("exit code 1\nOOM\n{work}{limit}"), "rate_limit"),
        (
            format!("exit code 1\n{work}fatal: out of memory, malloc failed"),
            "oom",
        ),
        (
            format!("exit code 1\nCONFLICT (content): Merge conflict in a.rs\n{work}API Error: 500"),
            "none",
        ),
        (
            format!("exit code 1\n{work}CONFLICT (content): Merge conflict in a.rs"),
            "git_conflict",
        ),
        (
            format!("exit code 1\nclaud: command not found\n{work}assertion failed"),
            "none",
        ),
        // What the agent reports stands in the first line.
        (
            format!("exit code 1, but the agent reports: {limit}\n{work}"),
            "rate_limit",
        ),
    ];
    for (text, strategy) in table {
        let shown: String = text.chars().take(80).collect();
        assert_eq!(strategy_of(&text), strategy, "{shown:?} …");
    }
}

#[test]
fn an_empty_output_is_a_failure_of_developers_only() {
    let text = ErrorText::parse("exit code 1\n0 files changed");
    let strategy = |role| shipped().matching(&text, role).strategy;
    assert_eq!(strategy(Some(Role::Reviewer)), "none");
    assert_eq!(strategy(Some(Role::Developer)), "empty_output");
    assert_eq!(strategy(None), "empty_output", "a person who asks names no role");
}

#[test]
fn the_order_of_the_file_decides_and_what_is_missing_has_a_default() {
    let rules = Rules::parse(
        r#"{"strategies": {
            "zebra": {"pattern": "stripes"},
            "animal": {"pattern": "stripes|fur", "fix": "manual", "severity": "high", "diagnosis": "an animal", "cooldown_s": 7},
            "loud": {"signals": ["sigusr1"], "fix": "cooldown"}
        }}"#,
    )
    .unwrap();
    let of = |text: &str| rules.matching(&ErrorText::parse(text), None);
    let zebra = of("exit code 1\nSTRIPES and fur");
    assert_eq!(zebra.strategy, "zebra");
    assert_eq!(
        (zebra.fix, zebra.severity, zebra.diagnosis.as_str()),
        (Fix::Retry, Severity::Medium, "unknown")
    );
    assert_eq!(zebra.by, MatchedBy::Pattern("STRIPES".into()));
    let animal = of("exit code 1\nfur");
    assert_eq!((animal.strategy.as_str(), animal.cooldown_s), ("animal", Some(7)));
    assert_eq!(
        of("exit code 138 SIGUSR1").by,
        MatchedBy::Signal("SIGUSR1".into())
    );
}

#[test]
fn a_broken_file_is_refused_by_the_name_of_what_is_broken() {
    let table = [
        (
            r#"{"strategies": {"a": {"pattern": "("}}}"#,
            "strategy \"a\": pattern: error: unclosed group",
        ),
        (
            r#"{"strategies": {"a": {}}}"#,
            "strategy \"a\": needs a pattern, exit_codes or signals",
        ),
        (
            r#"{"strategies": {"a": {"pattern": "x", "fix": "pray"}}}"#,
            "strategy \"a\": unknown variant `pray`",
        ),
        (
            r#"{"strategies": {"a": {"patern": "x"}}}"#,
            "strategy \"a\": unknown field `patern`",
        ),
        (
            r#"{"strategies": {"a": {"pattern": "x"}, "a": {"pattern": "y"}}}"#,
            "strategy \"a\" stands there twice",
        ),
        (
            r#"{"strategies": {"none": {"pattern": "x"}}}"#,
            "\"none\" cannot be the name",
        ),
        (r#"{"strategies": []}"#, "an object of strategies by name"),
        ("{", "EOF"),
    ];
    for (json, says) in table {
        let error = Rules::parse(json).unwrap_err().to_string();
        assert!(error.contains(says), "{json}: {error}");
    }
    let many: Vec<String> = (0..=MOST)
        .map(|n| format!("\"r{n}\": {{\"pattern\": \"x\"}}"))
        .collect();
    let many = format!("{{\"strategies\": {{{}}}}}", many.join(","));
    assert_eq!(
        Rules::parse(&many).unwrap_err(),
        RulesError::TooMany { count: MOST + 1 }
    );
}

/// A pattern of ten thousand characters of quantifiers within quantifiers either does not compile or matches in time
/// that grows with the text alone.
#[test]
fn nested_quantifiers_do_no_harm() {
    let nested = format!("{}a{}", "(".repeat(3_400), ")*".repeat(3_400));
    let growing = format!("(?:{})", "(a{1,50}){1,50}".repeat(680));
    let flat = "(a*)*b|".repeat(1_430);
    for (pattern, taken) in [(&nested, false), (&growing, false), (&flat, true)] {
        assert!(pattern.len() >= 10_000, "{}", pattern.len());
        let json = serde_json::json!({ "strategies": { "evil": { "pattern": pattern } } }).to_string();
        match Rules::parse(&json) {
            Ok(rules) => {
                assert!(taken);
                let text = ErrorText::new("exit code 1", &"a".repeat(64 * 1024));
                assert_eq!(
                    rules.matching(&text, None).strategy,
                    "evil",
                    "the empty alternative matches everything"
                );
            }
            Err(e) => {
                assert!(!taken, "{e}");
                assert!(e.to_string().starts_with("strategy \"evil\": pattern: "), "{e}");
                assert!(e.to_string().len() < 300);
            }
        }
    }
}

/// Error texts as they come: words of rules, secrets and escape codes among anything else.
fn any_text() -> impl Strategy_<Value = String> {
    let words = prop::sample::select(vec![
        "exit code 137 SIGKILL",
        "exit code 1",
        "Killed",
        "OOM",
        "rate limit",
        "429",
        "hunter2-secret",
        "hunter2-",
        "secret",
        "\u{1b}[31m",
        "\u{1b}]0;",
        "\u{7}",
        "\r\n",
        "\n",
        "\u{202e}",
        "\0",
        "```",
        "ünï",
        "🙂",
        " ",
        "CONFLICT (content): ",
    ]);
    prop_oneof![
        prop::collection::vec(words, 0..40).prop_map(|words| words.concat()),
        ".{0,300}",
        (any::<char>(), 0_usize..90_000).prop_map(|(c, n)| std::iter::repeat_n(c, n).collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_error_text_panics_grows_or_keeps_a_control_character(ended in any_text(), output in any_text()) {
        let secrets = ["hunter2-secret"];
        let masked = |text: &str| secrets.iter().fold(text.to_owned(), |text, s| text.replace(s, "***"));
        // As the engine does it: what an escape code divides is one word once that is gone.
        let text = ErrorText::new(
            &masked(&quoted::one_line(&ended, 1000)),
            &masked(&quoted::clean_tail(&output, OUTPUT_TAIL)),
        );
        prop_assert!(!text.as_str().contains(secrets[0]));
        prop_assert!(text.as_str().len() <= OUTPUT_TAIL + 4 * 1000 + 100, "{}", text.as_str().len());
        prop_assert!(!text.first_line().chars().any(char::is_control));
        prop_assert!(!text.as_str().chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        prop_assert!(text.as_str().ends_with(text.last_words()));
        let found = RULES.matching(&text, Some(Role::Developer));
        for shown in [&found.diagnosis, &found.by.to_string()] {
            prop_assert!(shown.chars().count() <= 200 && !shown.chars().any(char::is_control), "{shown:?}");
        }
    }
}

static RULES: std::sync::LazyLock<Rules> = std::sync::LazyLock::new(shipped);
