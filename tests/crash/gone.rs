//! A monitor that panics, and a project whose file goes away while its agent works: nothing of it is stuck, and its work is
//! kept when it is back.

use std::fs;
use std::io;

use orch::engine::views::TaskView;
use serde_json::json;

use super::play::Person;
use super::scene::Room;

/// Works until it is ended.
pub const AGENT: &str = "echo half >half.txt; here busy; until_told never";

const REPLACED: &str = "SELECT count(*) FROM healing_events WHERE kind = 'supervisor'";

impl Person {
    /// Takes the file away, gives the task up, and puts the file back. True when all is over.
    pub(super) fn lose_the_project(&mut self, room: &mut Room, task: &TaskView) -> io::Result<bool> {
        let file = room.service.data().join("projects/shop.toml");
        let away = room.service.home().join("shop.toml");
        match task.status.as_str() {
            // Its monitor panics first, as it was asked to.
            "active" if room.rows.number(REPLACED) > 0 && !room.service.told("busy").is_empty() => {
                if self.once("away") {
                    // As a disk that was full when the last service ended.
                    room.rows.run(
                        "INSERT INTO settings_state (key, value) VALUES ('host.local.disk.data_dir', 'stop 1')",
                    );
                    fs::rename(file, away).unwrap();
                    room.restart = true;
                }
                Ok(false)
            }
            "blocked" => {
                let body = json!({ "gesture": "cancelled", "person": "tester" });
                let path = format!("/api/v1/tasks/{}/gestures", task.id);
                room.service.api().try_ask("POST", &path, Some(&body))?;
                Ok(false)
            }
            "cancelled" => {
                if self.once("back") {
                    fs::rename(away, file).unwrap();
                    room.restart = true;
                    return Ok(false);
                }
                let open = "SELECT count(*) FROM runs WHERE step NOT IN ('finalised', 'abandoned')";
                Ok(room.rows.number(open) == 0 && self.nothing_left(room)?)
            }
            _ => Ok(false),
        }
    }
}
