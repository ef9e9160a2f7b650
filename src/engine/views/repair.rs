//! Failures and how they are answered, as they are shown.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::id::NodeName;

/// Which rule matches a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MatchView {
    /// The rule, or `none`.
    pub strategy: String,
    /// What would be done.
    pub fix: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// What people are told.
    pub diagnosis: String,
    /// Why this rule: what in the text it matched.
    pub matched_by: String,
    /// `transient (…)`, `permanent (…)` or `ordinary`.
    pub class: String,
}

/// The rules in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RulesView {
    /// Their file, or `built in`.
    pub source: String,
    /// Their names, in the order in which they are asked.
    pub strategies: Vec<String>,
    /// What is wrong with the file, while it is: the last good rules are in force.
    pub problem: Option<String>,
}

/// How repair stands. What is not in order is listed; where all is, the lists are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RepairView {
    /// Off means that what failed is tried again as it is.
    pub enabled: bool,
    /// The file whose rules are in force, or `built in`.
    pub source: String,
    /// Since when the file's are, RFC 3339.
    #[schema(format = DateTime)]
    pub since: Option<String>,
    /// What is wrong with the file, while it is: the last good rules are in force.
    pub problem: Option<String>,
    /// Failures that a rule matched since the start of this service.
    pub matched_total: u64,
    /// The last of them.
    pub last_match: Option<MatchedView>,
    /// Breakers that are open, or let one job through.
    pub breakers: Vec<BreakerView>,
    /// Nodes that are given nothing, or fewer jobs.
    pub nodes: Vec<NodeView>,
    /// What a healer left because it took too long, and what still runs.
    pub hanging: Vec<HangView>,
}

/// A failure that a rule matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MatchedView {
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    pub at: String,
    /// Whose.
    pub task: String,
    /// The rule.
    pub strategy: String,
    /// What was done.
    pub fix: String,
}

/// Something that a healer passes over while it hangs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HangView {
    /// `job 17`, or a name.
    pub what: String,
    /// For how long.
    pub seconds: u64,
}

/// How often a rule matched, and helped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StrategyStats {
    /// The rule, or `none`.
    pub strategy: String,
    /// What it does.
    pub fix: String,
    /// How often it matched.
    pub matched: i64,
    /// After how many of them the next attempt ended well.
    pub helped: i64,
    /// After how many it failed again.
    pub failed_again: i64,
}

/// A failure and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IncidentView {
    /// Row.
    pub id: i64,
    /// When, RFC 3339.
    #[schema(format = DateTime)]
    pub at: String,
    /// Whose.
    pub task: String,
    /// Where it worked.
    pub stage: String,
    /// On which machine.
    pub node: String,
    /// The rule that matched, or `none`.
    pub strategy: String,
    /// What was done.
    pub fix: String,
    /// What people are told.
    pub diagnosis: String,
    /// `transient (…)`, `permanent (…)` or `ordinary`.
    pub class: String,
    /// One line.
    pub error: String,
    /// Whether it was tried again, and why: `under_retry_limit`, `max_retries_reached` …
    pub decision: String,
    /// `helped` when the next attempt ended well, `failed` when it did not; absent while that is open.
    pub outcome: Option<String>,
}

/// The circuit breaker of a scope that failed since its last success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BreakerView {
    /// `project:<name>` or `batch:<name>`.
    pub scope: String,
    /// `closed`, `open` or `half open`.
    pub stands: String,
    /// Failures in a row.
    pub failures: u32,
    /// Since when it is open, RFC 3339.
    #[schema(format = DateTime)]
    pub opened_at: Option<String>,
    /// When it lets one job through as a trial, RFC 3339.
    #[schema(format = DateTime)]
    pub until: Option<String>,
}

/// What was given up with a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GivenUp {
    /// Until when the node is given nothing, RFC 3339; none where it is not configured any more.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// Jobs of which a run was on it.
    pub jobs: Vec<i64>,
}

/// A machine on which agents run, and what repair took from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    pub node: String,
    /// `usable`, `blacklisted` or `cooled`.
    pub stands: String,
    /// `own`: that of this service; `ssh`: reached from it; `other`: of another service, or not configured any more.
    pub kind: String,
    /// Agents that may run there at once, when nothing was taken from it; absent where this service does not know.
    pub slots: Option<u32>,
    /// Agents that run there now.
    pub taken: u32,
    /// What it is.
    pub labels: Vec<String>,
    /// Slots that it has fewer for a while.
    pub slots_fewer: u32,
    /// Until when (the first to end), RFC 3339.
    #[schema(format = DateTime)]
    pub until: Option<String>,
    /// Why.
    pub reason: Option<String>,
}

/// How a node stands that may be given jobs.
pub(in crate::engine) const USABLE: &str = "usable";

impl NodeView {
    pub(in crate::engine) fn named(node: &NodeName) -> Self {
        Self {
            node: node.to_string(),
            stands: USABLE.to_owned(),
            kind: "other".to_owned(),
            slots: None,
            taken: 0,
            labels: Vec::new(),
            slots_fewer: 0,
            until: None,
            reason: None,
        }
    }
}
