//! Every way in which front matter can be wrong, and what the gates make of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::domain::gate::GateState;

fn doc(inner: &str) -> String {
    format!("---\n{inner}\n---\nprose\n")
}

fn get(text: &str, key: &str) -> Option<String> {
    parse(text.as_bytes()).unwrap().get(key).map(str::to_owned)
}

#[test]
fn scalars_keep_the_text_that_was_written() {
    let table = [
        ("APPROVED", "APPROVED"),
        ("  APPROVED   # because", "APPROVED"),
        ("\"APPROVED\"", "APPROVED"),
        ("' APPROVED '", "APPROVED"),
        ("yes", "yes"),
        ("True", "True"),
        ("1.10", "1.10"),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("1e3", "1e3"),
        (".nan", ".nan"),
        ("2026-01-02", "2026-01-02"),
        ("|\n  two\n  lines", "two\nlines"),
        ("\"caf\\u00e9\"", "café"),
    ];
    for (written, expected) in table {
        assert_eq!(
            get(&doc(&format!("key: {written}")), "key").as_deref(),
            Some(expected),
            "{written:?}"
        );
    }
}

#[test]
fn marks_and_line_ends_of_other_systems_are_tolerated() {
    for text in [
        "\u{feff}---\r\nverdict: APPROVED\r\n---\r\nprose\r\n",
        "---  \nverdict: APPROVED\n---\t\n",
        "---\nverdict: APPROVED\n---",
        "---\n# a comment\n\nverdict: APPROVED\n\n---\n\n---\n\nA rule above prose.\n\n---\n",
        "---\nverdict: APPROVED\n---\nverdict: REQUEST_CHANGES\n",
        "---\nverdict: APPROVED\n---\n```\n---\nverdict: REQUEST_CHANGES\n---\n```\n",
    ] {
        assert_eq!(get(text, "verdict").as_deref(), Some("APPROVED"), "{text:?}");
    }
}

#[test]
fn prose_is_never_read_whatever_it_holds() {
    let mut blob = b"---\nresult: PASS\n---\n\xff\xfe\x00 result: FAIL\n".to_vec();
    blob.extend(vec![b'x'; 2 * MAX_BYTES]);
    assert_eq!(parse(&blob).unwrap().get("result"), Some("PASS"));
}

#[test]
fn each_mistake_is_one_clear_line() {
    let big = doc(&format!("key: {}", "x".repeat(MAX_BYTES)));
    let endless = format!("---\nkey: {}", "x".repeat(MAX_BYTES));
    let table: &[(&str, &str)] = &[
        ("", "no front matter"),
        ("verdict: APPROVED\n", "no front matter"),
        ("\n---\nverdict: APPROVED\n---\n", "no front matter"),
        (" ---\nverdict: APPROVED\n---\n", "no front matter"),
        ("----\nverdict: APPROVED\n----\n", "no front matter"),
        ("```yaml\n---\nverdict: APPROVED\n---\n```\n", "no front matter"),
        ("---\nverdict: APPROVED\n", "not closed"),
        ("---\nverdict: APPROVED\n ---\n", "not closed"),
        ("---", "not closed"),
        (
            "---\nverdict: APPROVED\nverdict: REQUEST_CHANGES\n---\n",
            "key \"verdict\" twice (line 3)",
        ),
        (
            "---\nverdict: APPROVED\n\"verdict\": APPROVED\n---\n",
            "key \"verdict\" twice (line 3)",
        ),
        (
            "---\nfindings:\n  - {a: 1, a: 2}\n---\n",
            "key \"a\" twice (line 3)",
        ),
        (
            "---\na: 1\n---\n---\nb: 2\n---\n",
            "second front matter begins in line 4",
        ),
        (
            "---\na: 1\n---\n\r\n\n---\r\n\r\nverdict: APPROVED\r\n---\r\n",
            "second front matter begins in line 6",
        ),
        (
            "---\na: 1\n---\n---\nverdict: [broken\n---\n",
            "second front matter begins in line 4",
        ),
        ("---\nverdict: \"APPROVED\n---\n", "broken YAML in line"),
        ("---\nkey: [1, 2\n---\n", "broken YAML in line"),
        ("---\nok: 1\nverdict: a: b\n---\n", "broken YAML in line 3"),
        ("---\nfindings:\n\t- tab\n---\n", "broken YAML in line"),
        ("---\nfindings:\n  - a\n -b\n---\n", "broken YAML in line"),
        ("---\nkey: *unknown\n---\n", "broken YAML in line 2"),
        ("---\nbase: &b {x: 1}\n<<: *b\n---\n", "broken YAML in line"),
        ("---\na: 1\n...\nb: 2\n---\n", "broken YAML"),
        (
            "---\n- verdict\n- APPROVED\n---\n",
            "not a list of 'key: value' lines",
        ),
        ("---\nAPPROVED\n---\n", "not a list of 'key: value' lines"),
        ("---\n~\n---\n", "not a list of 'key: value' lines"),
        (&big, "larger than 64 KiB"),
        (&endless, "larger than 64 KiB"),
    ];
    for (text, expected) in table {
        let start: String = text.chars().take(80).collect();
        let message = parse(text.as_bytes()).map_or_else(|e| e.to_string(), |_| "nothing".to_owned());
        assert!(message.contains(expected), "{start:?} said: {message}");
        assert!(!message.contains('\n') && message.len() < 400, "{message}");
    }
}

#[test]
fn text_in_another_encoding_says_so() {
    for blob in [
        b"---\nkey: caf\xe9\n---\n".as_slice(),
        b"\xff\xfe-\0-\0-\0\n\0",
        b"\xfe\xff\0-\0-\0-\0\n",
    ] {
        assert_eq!(parse(blob), Err(FrontMatterError::NotUtf8));
    }
}

#[test]
fn a_yaml_bomb_is_refused_at_once() {
    let mut bomb = String::from("---\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for n in 1..20 {
        let aliases = vec![format!("*a{}", n - 1); 10].join(", ");
        bomb.push_str(&format!("a{n}: &a{n} [{aliases}]\n"));
    }
    bomb.push_str("---\n");
    let deep = doc(&format!("key: {}{}", "[".repeat(5_000), "]".repeat(5_000)));
    let wide = doc(&format!("key: [{}]", "a,".repeat(30_000)));
    let started = std::time::Instant::now();
    for text in [bomb, deep, wide] {
        let error = parse(text.as_bytes()).unwrap_err();
        assert!(matches!(error, FrontMatterError::Broken { .. }), "{error:?}");
    }
    assert!(started.elapsed().as_secs() < 2);
}

#[test]
fn small_anchors_are_fine() {
    let text = doc("a: &x APPROVED\nverdict: *x");
    assert_eq!(get(&text, "verdict").as_deref(), Some("APPROVED"));
}

#[test]
fn empty_values_and_lists_are_no_scalars() {
    let front = parse(doc("a:\nb: null\nc: [x]\nd: {e: f}\ng: ''\nh: '  '").as_bytes()).unwrap();
    for key in ["a", "b", "c", "d", "g", "h", "missing"] {
        assert_eq!(front.get(key), None, "{key}");
    }
    assert_eq!(front.keys().collect::<Vec<_>>(), ["a", "b", "c", "d", "g", "h"]);
    assert_eq!(front.value("b"), Some(&FrontValue::Null));
    assert!(parse(b"---\n# nothing\n---\n").unwrap().keys().next().is_none());
    assert!(parse(b"---\n---\n").unwrap().keys().next().is_none());
}

#[test]
fn an_agent_asks_with_a_status_and_a_question() {
    let table = [
        ("status: NEEDS_INPUT\nquestion: Which port?", Some("Which port?")),
        (
            "status: NEEDS_INPUT\nquestion: |\n  One?\n  Two?",
            Some("One?\nTwo?"),
        ),
        ("status: NEEDS_INPUT\nquestion: [One?, Two?]", Some("One?\nTwo?")),
        ("status: NEEDS_INPUT", Some(NO_QUESTION)),
        ("status: NEEDS_INPUT\nquestion: ''", Some(NO_QUESTION)),
        ("status: needs_input\nquestion: x", None),
        ("status: done\nquestion: x", None),
        ("question: x", None),
    ];
    for (inner, expected) in table {
        let asks = parse(doc(inner).as_bytes()).unwrap().asks();
        assert_eq!(asks.as_deref(), expected, "{inner:?}");
    }
}

#[test]
fn only_the_exact_green_word_is_green() {
    use GateState::{Green, Pending, Red};
    let table = [
        ("verdict: APPROVED", Green, "x/12-review.md: verdict is APPROVED"),
        (
            "verdict: 'APPROVED '",
            Green,
            "x/12-review.md: verdict is APPROVED",
        ),
        (
            "verdict: REQUEST_CHANGES",
            Red,
            "x/12-review.md: verdict is REQUEST_CHANGES",
        ),
        (
            "verdict: REQUEST_CHANGES\nfindings:\n  - nobody calls it\n  - {file: a.rs, why: leaks}",
            Red,
            "x/12-review.md: verdict is REQUEST_CHANGES: nobody calls it (and 1 more)",
        ),
        (
            "verdict: approved",
            Red,
            "x/12-review.md: verdict is \"approved\", which is not APPROVED or REQUEST_CHANGES",
        ),
        (
            "verdict: APPROVED with remarks",
            Red,
            "x/12-review.md: verdict is \"APPROVED with remarks\", which is not APPROVED or REQUEST_CHANGES",
        ),
        (
            "verdict: [APPROVED]",
            Red,
            "x/12-review.md: verdict has no single value: write verdict: APPROVED or REQUEST_CHANGES",
        ),
        (
            "result: APPROVED",
            Red,
            "x/12-review.md: verdict is missing in the front matter: write verdict: APPROVED or REQUEST_CHANGES",
        ),
        (
            "verdict: APPROVED\nstatus: NEEDS_INPUT\nquestion: Which port?",
            Pending,
            "x/12-review.md asks: Which port?",
        ),
    ];
    for (inner, state, reason) in table {
        let verdict = REVIEW.judge("x/12-review.md", Some(doc(inner).as_bytes()));
        assert_eq!(
            (verdict.state, verdict.reason.as_str()),
            (state, reason),
            "{inner:?}"
        );
    }
}

#[test]
fn a_missing_or_broken_artifact_is_red_and_says_what_is_wrong() {
    let judge = |blob: Option<&[u8]>| TEST_REPORT.judge("d/13-test-report.md", blob);
    let missing = judge(None);
    assert_eq!(
        missing,
        crate::domain::gate::Verdict::red("d/13-test-report.md is missing")
    );
    let prose = judge(Some(b"# Report\n\nresult: PASS\n"));
    assert_eq!(prose.state, GateState::Red);
    assert!(
        prose
            .reason
            .starts_with("d/13-test-report.md: it has no front matter"),
        "{}",
        prose.reason
    );
    let twice = judge(Some(b"---\nresult: PASS\nresult: FAIL\n---\n"));
    assert_eq!(twice.state, GateState::Red);
    assert!(
        twice.reason.contains("\"result\" twice (line 3)"),
        "{}",
        twice.reason
    );
}

#[test]
fn findings_are_texts_and_never_fail() {
    let text = doc("findings:\n  - one\n  - {file: a.rs, why: 'no: test'}\n  -\n  - 3");
    assert_eq!(
        findings_of(Some(text.as_bytes())),
        ["one", "file: a.rs, why: no: test", "3"]
    );
    assert_eq!(
        findings_of(Some(doc("findings: just one").as_bytes())),
        ["just one"]
    );
    assert!(findings_of(Some(b"prose")).is_empty());
    assert!(findings_of(None).is_empty());
}

#[test]
fn what_orch_composes_it_reads_back() {
    let odd = [
        "SUCCESS",
        "yes",
        "1.10",
        "a: b # c",
        "",
        "two\nlines",
        "\"'",
        "café",
        "---",
        "~",
        "Null",
    ];
    for value in odd {
        let text = compose(&[("key", value), ("other", "x")], "prose\n");
        let front = parse(text.as_bytes()).unwrap();
        assert_eq!(
            front.value("key"),
            Some(&FrontValue::Text(value.to_owned())),
            "{text}"
        );
    }
    assert!(compose(&[("key", "a\u{7f}\0b")], "").contains("key: ab\n"));
    let text = compose(&[("deploy_status", "SUCCESS")], "Deployed.");
    assert_eq!(text, "---\ndeploy_status: SUCCESS\n---\n\nDeployed.\n");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(tail: Vec<u8>) {
        let mut blob = b"---\n".to_vec();
        blob.extend(&tail);
        let _ = parse(&blob);
        blob.extend(b"\n---\n");
        let _ = parse(&blob);
        let _ = parse(&tail);
    }

    #[test]
    fn any_value_composed_reads_back(value in ".{0,60}") {
        let text = compose(&[("key", &value)], "");
        let front = parse(text.as_bytes()).unwrap();
        let expected = FrontValue::Text(quoted::clean(&value, 8 * 1024));
        proptest::prop_assert_eq!(front.value("key"), Some(&expected));
    }
}
