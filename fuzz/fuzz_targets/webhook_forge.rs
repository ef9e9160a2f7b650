//! Any body of any kind of event: the parser of Gitea and Forgejo answers an event, nothing, or an error that names a field;
//! it never panics. The first byte chooses the kind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orch::domain::webhook::Said;
use orch::domain::webhook::forge::parse;

const KINDS: [&str; 8] = [
    "push",
    "pull_request",
    "pull_request_sync",
    "pull_request_approved",
    "status",
    "workflow_run",
    "action_run_success",
    "issues",
];

fuzz_target!(|input: &[u8]| {
    let Some((kind, body)) = input.split_first() else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    match parse(kind, kind, body) {
        Ok(Said::Event(_)) => {}
        Ok(Said::Nothing { why }) => assert!(!why.is_empty()),
        Err(e) => assert!(e.to_string().starts_with("field `")),
    }
});
