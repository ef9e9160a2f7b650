//! Any body that could be signed: Plane's parser answers an event, nothing, or an error that names a field; it never panics.

#![no_main]

use libfuzzer_sys::fuzz_target;
use orch::domain::webhook::plane::{IssueChange, parse};
use orch::domain::webhook::Said;

fuzz_target!(|body: &[u8]| match parse(body) {
    Ok(Said::Event(event)) => {
        assert!(!event.issue.is_empty());
        if let IssueChange::Stands(issue) = event.what {
            assert!(issue.state_id.is_some() && event.project.is_some());
        }
    }
    Ok(Said::Nothing { why }) => assert!(!why.is_empty()),
    Err(e) => assert!(e.to_string().starts_with("field `")),
});
