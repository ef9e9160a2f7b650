//! Artifacts that are missing, broken, ambiguous, too large or no files: red with the file and what to write, and the
//! task goes on when they are mended.

use super::{add, assert_names, blocked, cli};
use crate::support::{Agent, Project, Repo, Setup, THREE_STAGES};

#[test]
fn a_review_that_cannot_be_read_is_red_and_says_what_to_write() {
    let file = "\"$docs/12-review.md\"";
    let front = |text: &str| format!("printf -- '{text}' >{file}");
    let cases: Vec<(&str, String, &[&str])> = vec![
        ("MISSING", ":".into(), &["is missing"]),
        (
            "EMPTY",
            format!(": >{file}"),
            &["no front matter", "very first line"],
        ),
        ("PROSE", front("The verdict: APPROVED\\n"), &["no front matter"]),
        (
            "LATE",
            front("\\n---\\nverdict: APPROVED\\n---\\n"),
            &["no front matter"],
        ),
        ("OPEN", front("---\\nverdict: APPROVED\\n"), &["not closed"]),
        (
            "BROKEN",
            front("---\\nverdict: [APPROVED\\n---\\n"),
            &["broken YAML in line"],
        ),
        (
            "TWICE",
            front("---\\nverdict: REQUEST_CHANGES\\nverdict: APPROVED\\n---\\n"),
            &["\"verdict\" twice", "line 3"],
        ),
        (
            "BLOCKS",
            front("---\\nverdict: REQUEST_CHANGES\\n---\\n---\\nverdict: APPROVED\\n---\\n"),
            &["a second front matter begins in line 4"],
        ),
        (
            "LIST",
            front("---\\n- APPROVED\\n---\\n"),
            &["not a list of 'key: value'"],
        ),
        (
            "WORD",
            front("---\\nverdict: approved\\n---\\n"),
            &["approved", "APPROVED"],
        ),
        (
            "KEY",
            front("---\\nresult: APPROVED\\n---\\n"),
            &["verdict", "APPROVED"],
        ),
        (
            "BYTES",
            front("---\\nverdict: APPROVED \\377\\n---\\n"),
            &["not UTF-8"],
        ),
        (
            "LARGE",
            format!(
                "{{ printf -- '---\\nverdict: APPROVED\\n---\\n'; head -c 10485760 /dev/zero | tr '\\0' x; }} >{file}"
            ),
            &["larger than"],
        ),
        (
            "FRONT",
            format!(
                "{{ printf -- '---\\nx: '; head -c 100000 /dev/zero | tr '\\0' x; printf '\\nverdict: APPROVED\\n---\\n'; }} >{file}"
            ),
            &["larger than 64 KiB"],
        ),
        (
            "LINK",
            format!(
                "printf -- '---\\nverdict: APPROVED\\n---\\n' >\"$out/real.md\"; ln -s \"$out/real.md\" {file}"
            ),
            &["is missing"],
        ),
        (
            "FOLDER",
            format!("mkdir {file}; echo x >\"$docs/12-review.md/x\""),
            &["is missing"],
        ),
    ];
    let mut script =
        "if [ \"$nth\" -gt 1 ]; then rm -rf \"$docs/12-review.md\"; verdict APPROVED; exit 0; fi\n\
        case $ORCH_WORK_ITEM in\n"
            .to_owned();
    for (name, what, _) in &cases {
        script += &format!("{name}) {what} ;;\n");
    }
    let agent = Agent::diligent().role("reviewer", &(script + "*) verdict APPROVED ;;\nesac\n"));
    let repo = Repo::new();
    let project = Project::new("shop", &repo).agent(&agent).then(THREE_STAGES);
    let mut service = Setup::new()
        .set("max_concurrency", 2)
        .project(
            project
                .top("max_developer_retries = 0")
                .then("[deploy]\nrequire_manual_approve = false\n"),
        )
        .start();
    for (name, _, _) in &cases {
        add(&service, name);
    }
    for (name, _, parts) in &cases {
        let (_, reason) = blocked(&mut service, name);
        assert_names(&reason, &["escalated: reviewer_verdict is red", "12-review.md"]);
        assert_names(&reason, parts);
    }
    for (name, _, _) in &cases {
        assert_eq!(cli(&service, &["task", "unblock", name]).code, 0);
        service.wait_status(name, "done");
        assert_eq!(repo.show(&format!("src/{name}.txt")), "1");
    }
}

#[test]
fn an_analysis_that_is_not_complete_names_the_missing_documents() {
    let repo = Repo::new();
    let agent = Agent::diligent().role(
        "analyst",
        "echo text >\"$docs/01-brd.md\"; : >\"$docs/02-trz.md\"; mkdir \"$docs/03-acceptance-criteria.md\"\n\
         ln -s 01-brd.md \"$docs/04-test-plan.yaml\"",
    );
    let mut service = Setup::new()
        .set("queue.max_attempts", 1)
        .project(Project::new("shop", &repo).agent(&agent))
        .start();
    add(&service, "POOR");
    let (_, reason) = blocked(&mut service, "POOR");
    assert_names(
        &reason,
        &["missing or empty: 02-trz.md, 03-acceptance-criteria.md, 04-test-plan.yaml"],
    );
}
