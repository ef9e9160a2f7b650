//! A task that spends more than it may, and its project with it: it is parked, a person lets it go on, and its agents wait
//! for tomorrow. What the next one costs is counted while it works.

use std::io;

use orch::engine::views::TaskView;
use serde_json::json;

use super::play::Person;
use super::scene::Room;
use crate::support::Agent;

/// Two who work, and nobody who has to agree.
pub const STAGES: &str = r#"
preset = 'claude'

[[stage]]
name = "development"
role = "developer"
gates = ["tests_local"]

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict", "branch_mergeable"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

/// The first one tells at its end that it was too dear; the second one tells what it costs, and works on.
pub fn agent() -> Agent {
    Agent::new()
        .role(
            "developer",
            r#"
mkdir -p src; echo "$nth" >"src/$ORCH_WORK_ITEM.txt"; commit "write it"
echo '{"type":"result","subtype":"success","session_id":"s","total_cost_usd":5,"usage":{"input_tokens":10,"output_tokens":1}}'
"#,
        )
        .role(
            "reviewer",
            r#"
echo '{"type":"assistant","message":{"id":"m1","model":"claude-opus-4-5-20251101","usage":{"input_tokens":1000,"output_tokens":0}}}'
until_told seen; verdict APPROVED
"#,
        )
}

const COUNTED: &str = "SELECT count(*) FROM runs WHERE role = 'reviewer' AND charged_micro_usd > 0";
const TOLD: &str = "SELECT count(*) FROM outbox WHERE cause LIKE 'notify:budget:%'";

impl Person {
    /// Lets the task go on and the day pass, and the reviewer end when what it costs was counted. True when all is over.
    pub(super) fn spend(&mut self, room: &Room, task: &TaskView) -> io::Result<bool> {
        match (task.status.as_str(), task.stage.as_str()) {
            ("blocked", "review") => {
                let body = json!({ "gesture": "in-progress", "person": "tester" });
                let path = format!("/api/v1/tasks/{}/gestures", task.id);
                room.service.api().try_ask("POST", &path, Some(&body))?;
            }
            ("active", "review") => {
                if room.rows.number(TOLD) > 0 && self.once("a day passed") {
                    room.rows.run("DELETE FROM project_spend");
                }
                if room.rows.number(COUNTED) > 0 {
                    room.service.tell("seen");
                }
            }
            ("done", _) => return self.nothing_left(room),
            (_, "development") => {}
            (status, stage) => panic!(
                "{status} at {stage}: {}",
                room.service.explain(&room.service.task(&task.id))
            ),
        }
        Ok(false)
    }
}
