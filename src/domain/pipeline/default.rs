//! The pipeline of a project that defines none.

use super::{CREATED, GateSpec, OnRed, Pipeline, Role, Stage};
use crate::domain::id::StageName;

/// What the default pipeline takes from a project's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultPipeline {
    /// The project sets a test command: `tests_local` stands in development.
    pub tests_local: bool,
    /// The project has a CI, or a test command that stands for it: `ci_green` stands in development.
    pub ci: bool,
    /// The project has `[staging]`: `staging_status` stands in deploy-staging.
    pub staging: bool,
    /// It says there who knows what staging runs: `staging_image_fresh` does too.
    pub provenance: bool,
    /// The merge gate is on for the project.
    pub merge_gate: bool,
    /// After the merge a deployer agent deploys and leaves a deploy log.
    pub deploy_log: bool,
    /// After the merge the project's hook deploys.
    pub hook: bool,
    /// Confirm Deploy is asked for.
    pub confirm: bool,
}

impl Default for DefaultPipeline {
    fn default() -> Self {
        Self {
            tests_local: true,
            ci: true,
            staging: false,
            provenance: false,
            merge_gate: true,
            deploy_log: false,
            hook: false,
            confirm: true,
        }
    }
}

impl DefaultPipeline {
    /// `created → analysis → architecture → development → review → testing → deploy-staging → deploy → done`
    pub fn build(self) -> Pipeline {
        let name = |n: &str| StageName::trusted(n);
        let gates = |names: &[&str]| {
            names
                .iter()
                .filter_map(|n| GateSpec::named(n))
                .collect::<Vec<_>>()
        };
        let back = || OnRed::RollBack {
            to: name("development"),
        };
        let mut development = Vec::new();
        if self.ci {
            development.push("ci_green");
        }
        if self.tests_local {
            development.push("tests_local");
        }
        let mut staging = Vec::new();
        if self.merge_gate {
            staging.push("branch_mergeable");
        }
        if self.staging {
            staging.push("staging_status");
        }
        if self.provenance {
            staging.push("staging_image_fresh");
        }
        let deploy: &[&str] = match self.deploy_log || self.hook {
            true => &["deploy_status"],
            false => &[],
        };
        let stage =
            |n: &str, role: Option<Role>, g: Vec<GateSpec>, on_red: OnRed, next: Option<&str>| Stage {
                name: name(n),
                role,
                gates: g,
                on_red,
                merges: n == "deploy",
                confirm: n == "deploy" && self.confirm,
                next: next.map(name),
            };
        let stages = vec![
            stage(CREATED, None, vec![], OnRed::Retry, Some("analysis")),
            stage(
                "analysis",
                Some(Role::Analyst),
                gates(&["analysis_complete", "analysis_approved"]),
                OnRed::Retry,
                Some("architecture"),
            ),
            stage(
                "architecture",
                Some(Role::Architect),
                gates(&["architecture_done"]),
                OnRed::Retry,
                Some("development"),
            ),
            stage(
                "development",
                Some(Role::Developer),
                gates(&development),
                back(),
                Some("review"),
            ),
            stage(
                "review",
                Some(Role::Reviewer),
                gates(&["reviewer_verdict"]),
                back(),
                Some("testing"),
            ),
            stage(
                "testing",
                Some(Role::Tester),
                gates(&["tests_passed"]),
                back(),
                Some("deploy-staging"),
            ),
            stage("deploy-staging", None, gates(&staging), back(), Some("deploy")),
            stage(
                "deploy",
                self.deploy_log.then_some(Role::Deployer),
                gates(deploy),
                back(),
                Some("done"),
            ),
            stage("done", None, vec![], OnRed::Retry, None),
        ];
        Pipeline { stages }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_walk_is_the_documented_one() {
        let p = DefaultPipeline::default().build();
        let names: Vec<_> = p.stages().iter().map(|s| s.name.as_str()).collect();
        let walk = "created analysis architecture development review testing deploy-staging deploy done";
        assert_eq!(names.join(" "), walk);
        assert_eq!(p.merge_gate_stage().name.as_str(), "deploy-staging");
        assert_eq!(p.development().map(|s| s.name.as_str()), Some("development"));
    }
}
