//! Agents as POSIX shell scripts: what a role does is a few lines of sh.

use std::fmt::Write as _;

/// What every role's script can use. `$out` is a folder outside of all worktrees that the test reads.
const WORDS: &str = include_str!("words.sh");

/// An agent for some or all roles.
#[derive(Clone, Default)]
pub struct Agent {
    roles: Vec<(String, String)>,
}

impl Agent {
    /// Without any role yet; a role without a script fails with exit code 64.
    pub fn new() -> Self {
        Self::default()
    }

    /// An agent that does each role's duty: the developer writes `src/<work item>.txt`, everybody approves.
    pub fn diligent() -> Self {
        Self::new()
            .role("analyst", "analysed")
            .role("architect", "decided")
            .role(
                "developer",
                r#"mkdir -p src; echo "$nth" >"src/$ORCH_WORK_ITEM.txt"; commit "write it""#,
            )
            .role("reviewer", "verdict APPROVED")
            .role("tester", "tested PASS")
            .role("deployer", "deployed SUCCESS")
    }

    /// What a role does, in sh; replaces what it did.
    pub fn role(mut self, role: &str, script: &str) -> Self {
        self.roles.retain(|(name, _)| name != role);
        self.roles.push((role.to_owned(), script.to_owned()));
        self
    }

    /// The whole script. `out` is the folder for what the agent tells the test.
    pub(super) fn script(&self, out: &std::path::Path) -> String {
        let mut text = format!("#!/bin/sh\nset -eu\nout='{}'\n{WORDS}\n", out.display());
        text.push_str("case \"$ORCH_ROLE\" in\n");
        for (role, script) in &self.roles {
            writeln!(text, "{role})\n{script}\n;;").unwrap();
        }
        text.push_str("*) echo \"nobody plays the $ORCH_ROLE\" >&2; exit 64 ;;\nesac\n");
        text
    }
}
