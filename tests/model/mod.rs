//! Every order of events of two small models, one of a job's claims and one of the merge lease, looked at to the last
//! state. Models of the protocol, not of the code: that the store does the same is what `schedules` shows.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "how much was looked at is said")]

mod claims;
mod lease;

use stateright::{Checker, Model};

/// Looks at all states of a model that must hold what it promises, and must reach what it is to reach.
fn holds<M>(name: &str, model: M)
where
    M: Model + Send + Sync + 'static,
    M::State: std::hash::Hash + Send + Sync + Clone + PartialEq + std::fmt::Debug + 'static,
    M::Action: Clone + PartialEq + std::fmt::Debug,
{
    let checker = model.checker().threads(2).spawn_bfs().join();
    let (unique, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {unique} states, at most {depth} steps deep");
    assert!(checker.is_done(), "{name}: stopped before all states were seen");
    checker.assert_properties();
}

/// Looks for an order of events that breaks this promise; there must be one.
fn is_broken<M>(name: &str, model: M, promise: &'static str)
where
    M: Model + Send + Sync + 'static,
    M::State: std::hash::Hash + Send + Sync + Clone + PartialEq + std::fmt::Debug + 'static,
    M::Action: Clone + PartialEq + std::fmt::Debug,
{
    let found = stateright::HasDiscoveries::AllOf([promise].into_iter().collect());
    let checker = model.checker().finish_when(found).spawn_bfs().join();
    let path = checker.discovery(promise);
    let path = path
        .ok_or_else(|| format!("{name}: nothing breaks {promise:?}"))
        .unwrap();
    println!("{name} breaks {promise:?}:");
    for action in path.into_actions() {
        println!("  {action:?}");
    }
}
