//! A Plane that behaves as the real one was seen to: stateful, over HTTP, with its quirks, and with trouble on demand.
//!
//! Quirks: `next_cursor` is always set; `state=` filters nothing; a wrong key is 403 and no key 401; a comment with a known
//! external pair is 409; a path without its last slash is not found; setting the state that is there sends no webhook; the
//! change that a webhook shows is some milliseconds younger than the answer to the request that made it.

mod http;
mod mail;
mod rest;

use std::collections::{BTreeMap, VecDeque};
use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

pub use super::courier::{Post, unreliable};
pub use http::Seen;
pub use mail::{Mail, Version};

use super::fake_http::{self, Failing, Trouble};

/// The key that it knows at first, and whose it is.
pub const KEY: &str = "plane_api_0123456789";
/// The workspace.
pub const WORKSPACE: &str = "acme";
/// The project that is there at first.
pub const PROJECT: &str = "466f86a0-188f-422a-9829-30cfab484979";
/// The states of a project that is set up for Orch.
pub const BOARD: [&str; 10] = [
    "Todo",
    "In Progress",
    "In Review",
    "Approved",
    "Rejected",
    "Needs Input",
    "Blocked",
    "Confirm Deploy",
    "Done",
    "Cancelled",
];

pub(super) struct World {
    keys: BTreeMap<String, String>,
    projects: BTreeMap<String, Project>,
    trouble: VecDeque<Trouble>,
    failing: Failing,
    seen: Vec<Seen>,
    /// Requests that a key has a minute; none: no limit is told.
    limit: Option<usize>,
    spent: BTreeMap<String, usize>,
    mail: Vec<Mail>,
    version: Version,
    secret: String,
    clock: i64,
    ids: u64,
}

#[derive(Default)]
struct Project {
    states: Vec<(String, String)>,
    items: Vec<Item>,
}

struct Item {
    id: String,
    name: String,
    description: String,
    state: String,
    sequence: usize,
    updated: i64,
    comments: Vec<Value>,
    /// The states that it got, and by whom.
    history: Vec<(String, String)>,
}

/// The service; it ends with the test's process.
#[derive(Clone)]
pub struct FakePlane {
    pub url: String,
    world: Arc<Mutex<World>>,
}

impl FakePlane {
    /// With one project and the states of [`BOARD`].
    pub fn new() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The same at an address of the test's choice.
    pub fn on(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = World {
            keys: BTreeMap::from([(KEY.to_owned(), "388e178f-cf51-4b70-9a63-2d2108411218".to_owned())]),
            projects: BTreeMap::new(),
            trouble: VecDeque::new(),
            failing: Failing::new(0, 0),
            seen: Vec::new(),
            limit: Some(60),
            spent: BTreeMap::new(),
            mail: Vec::new(),
            version: Version::First,
            secret: "plane_wh_secret".to_owned(),
            clock: 0,
            ids: 0,
        };
        let plane = Self {
            url,
            world: Arc::new(Mutex::new(world)),
        };
        plane.project(PROJECT, &BOARD);
        fake_http::serve(listener, plane.clone());
        plane
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A project with these states.
    pub fn project(&self, id: &str, states: &[&str]) {
        let mut world = self.world();
        let states = states
            .iter()
            .map(|name| (world.id(), (*name).to_owned()))
            .collect();
        world.projects.insert(
            id.to_owned(),
            Project {
                states,
                items: Vec::new(),
            },
        );
    }

    /// A further key, and whose it is.
    pub fn key(&self, key: &str, actor: &str) {
        self.world().keys.insert(key.to_owned(), actor.to_owned());
    }

    /// A person makes an issue in the project's first state; answers its id.
    pub fn issue(&self, project: &str, name: &str) -> String {
        let mut world = self.world();
        let (id, now) = (world.id(), world.tick(1_000));
        let known = world.projects.get_mut(project).unwrap();
        let item = Item {
            id: id.clone(),
            name: name.to_owned(),
            description: "hello".to_owned(),
            state: known.states[0].0.clone(),
            sequence: known.items.len() + 1,
            updated: now,
            comments: Vec::new(),
            history: Vec::new(),
        };
        known.items.push(item);
        mail::created(&mut world, project, &id);
        id
    }

    /// A person moves an issue; the web page calls the field `state_id`.
    pub fn drag(&self, issue: &str, state: &str, actor: &str) {
        let mut world = self.world();
        let (project, state) = {
            let (project, known) = world.holding(issue).unwrap();
            let found = known.states.iter().find(|(_, name)| name == state).unwrap();
            (project.to_owned(), found.0.clone())
        };
        rest::set_state(&mut world, &project, issue, &state, "state_id", actor);
    }

    /// A person says something on an issue.
    pub fn say(&self, issue: &str, html: &str) {
        let mut world = self.world();
        let body = json!({ "comment_html": html });
        let project = world.holding(issue).unwrap().0.to_owned();
        rest::add_comment(&mut world, &project, issue, &body, "a-person");
    }

    /// A state gets another name.
    pub fn rename_state(&self, project: &str, from: &str, to: &str) {
        let mut world = self.world();
        let known = world.projects.get_mut(project).unwrap();
        known.states.iter_mut().find(|(_, name)| name == from).unwrap().1 = to.to_owned();
    }

    /// A state comes to a board.
    pub fn add_state(&self, project: &str, name: &str) {
        let mut world = self.world();
        let id = world.id();
        let known = world.projects.get_mut(project).unwrap();
        known.states.push((id, name.to_owned()));
    }

    /// The name of the state that an issue has.
    pub fn state_of(&self, issue: &str) -> String {
        let world = self.world();
        let (_, known) = world.holding(issue).unwrap();
        let item = known.items.iter().find(|i| i.id == issue).unwrap();
        known
            .states
            .iter()
            .find(|(id, _)| *id == item.state)
            .unwrap()
            .1
            .clone()
    }

    /// The states that an issue got after its first one, and by whom.
    pub fn history(&self, issue: &str) -> Vec<(String, String)> {
        let world = self.world();
        let (_, known) = world.holding(issue).unwrap();
        let item = known.items.iter().find(|i| i.id == issue).unwrap();
        item.history.clone()
    }

    /// The comments of an issue, oldest first.
    pub fn comments(&self, issue: &str) -> Vec<Value> {
        let world = self.world();
        let (_, known) = world.holding(issue).unwrap();
        known
            .items
            .iter()
            .find(|i| i.id == issue)
            .unwrap()
            .comments
            .clone()
    }

    /// The id of a state.
    pub fn state_id(&self, project: &str, name: &str) -> String {
        let world = self.world();
        let known = &world.projects[project];
        known.states.iter().find(|(_, n)| n == name).unwrap().0.clone()
    }

    /// Its clock stands at this, if that is later than the time: microseconds.
    pub fn set_time(&self, at: i64) {
        self.world().clock = at;
    }

    /// An issue is gone; the real one sends nothing either.
    pub fn delete(&self, issue: &str) {
        let mut world = self.world();
        let project = world.holding(issue).unwrap().0.to_owned();
        let known = world.projects.get_mut(&project).unwrap();
        known.items.retain(|item| item.id != issue);
    }

    // --- trouble

    /// The next `n` requests are answered with this status, and nothing is done.
    pub fn fail_next(&self, n: usize, status: u16) {
        self.trouble(n, Trouble::Status(status));
    }

    /// The next `n` requests are answered so late.
    pub fn slow(&self, n: usize, by: Duration) {
        self.trouble(n, Trouble::Slow(by));
    }

    /// The next `n` connections end without an answer, and nothing is done.
    pub fn drop_connection(&self, n: usize) {
        self.trouble(n, Trouble::Dropped);
    }

    /// The next `n` requests are done, and nobody hears of it.
    pub fn drop_answer(&self, n: usize) {
        self.trouble(n, Trouble::DroppedAfter);
    }

    /// The next `n` requests are done, and half of the answer comes.
    pub fn half_answer(&self, n: usize) {
        self.trouble(n, Trouble::Half);
    }

    fn trouble(&self, n: usize, trouble: Trouble) {
        self.world().trouble.extend(std::iter::repeat_n(trouble, n));
    }

    /// So many of a hundred requests go wrong from now on, the same for the same seed.
    pub fn failing(&self, percent: u64, seed: u64) {
        self.world().failing = Failing::new(percent, seed);
    }

    /// Requests that each key has left; none: no limit, and none is told.
    pub fn rate_limit(&self, left: Option<usize>) {
        let mut world = self.world();
        world.limit = left;
        world.spent.clear();
    }

    // --- looking

    /// Every request that came, those that were refused too.
    pub fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    /// The same, as "GET work-items" and a status, and forgotten with it.
    pub fn take_seen(&self) -> Vec<String> {
        let seen = std::mem::take(&mut self.world().seen);
        seen.iter().map(Seen::brief).collect()
    }

    // --- webhooks

    /// How webhooks are written and signed from now on.
    pub fn webhooks(&self, version: Version, secret: &str) {
        let mut world = self.world();
        world.version = version;
        world.secret = secret.to_owned();
    }

    /// The deliveries that are due, in the order in which things happened; each once.
    pub fn mail(&self) -> Vec<Mail> {
        std::mem::take(&mut self.world().mail)
    }
}

impl World {
    fn id(&mut self) -> String {
        self.ids += 1;
        format!("00000000-0000-4000-8000-{:012x}", self.ids)
    }

    /// Microseconds: the time, and growing with every look.
    fn tick(&mut self, by: i64) -> i64 {
        self.clock = (self.clock + by).max(jiff::Timestamp::now().as_microsecond());
        self.clock
    }

    fn holding(&self, issue: &str) -> Option<(&str, &Project)> {
        let mut all = self.projects.iter();
        let found = all.find(|(_, p)| p.items.iter().any(|i| i.id == issue));
        found.map(|(id, p)| (id.as_str(), p))
    }
}

fn when(micros: i64) -> String {
    let at = jiff::Timestamp::from_microsecond(micros).unwrap();
    format!("{at:.6}")
}
