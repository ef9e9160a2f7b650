//! A Gitea that behaves as the real one is documented to: stateful, over HTTP, over real bare repositories that git reaches
//! over HTTP too, with its quirks, and with trouble on demand.
//!
//! Quirks: a pull request that exists is 409; `/pulls/{base}/{head}` answers any state; the state of several statuses is
//! `""` without any, and each one's own field is `status`, in a webhook `state`; a merge is refused with 405 for five
//! reasons and with 409 in two shapes; lists end where `X-Total-Count` and `Link` say so; what a token may not see is 404;
//! the head of a pull request is its branch's also once it is merged, and only `refs/pull/N/head` stands still then.

mod cgi;
mod mail;
mod merge;
mod rest;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::fake_http::{self, Answer, Failing, Request, Site, Trouble};
use super::repo::{git, git_ok};

pub use mail::{Flavour, Mail};

/// The token that it knows at first; its account may write and administer.
pub const TOKEN: &str = "gitea_0123456789abcdef0123456789abcdef";
/// The repository that is there at first.
pub const REPOSITORY: &str = "acme/shop";

/// A request to the API, and how it was answered.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub body: Value,
    /// None: the connection ended without an answer.
    pub status: Option<u16>,
}

struct World {
    room: TempDir,
    accounts: BTreeMap<String, Account>,
    repositories: BTreeMap<String, Repository>,
    trouble: VecDeque<Trouble>,
    git_trouble: VecDeque<Trouble>,
    failing: Failing,
    seen: Vec<Seen>,
    /// Requests of git, briefly.
    git_seen: Vec<String>,
    mail: Vec<Mail>,
    flavour: Flavour,
    secret: String,
    /// What CI says of each head that is pushed to a branch, at once.
    ci: Option<String>,
    url: String,
    clock: i64,
    ids: u64,
    /// Entries of a page at most.
    most: usize,
    /// Who may read and nothing else.
    strangers: BTreeSet<String>,
    /// Whether it calls the reviews of who may write official.
    officials: bool,
    /// Entries that lists have by their headers, and that no page gives.
    lost: usize,
}

#[derive(Clone)]
struct Account {
    login: String,
    writes: bool,
    administers: bool,
}

struct Repository {
    pulls: Vec<Pull>,
    statuses: Vec<Status>,
    hooks: Vec<Value>,
    archived: bool,
    allows_fast_forward: bool,
    /// Requests to merge that are answered with "try again later".
    checking: usize,
    /// A person merges before the next request to, with these files besides.
    faster: Option<Vec<(String, String)>>,
    /// No pull request is opened.
    refuses_pulls: bool,
    /// A person pushes these files to main before it.
    pushes: Option<Vec<(String, String)>>,
}

struct Pull {
    number: u64,
    title: String,
    body: String,
    head: String,
    /// The repository of its branch.
    from: String,
    base: String,
    state: &'static str,
    merged: bool,
    merge_commit: Option<String>,
    /// Its head where its branch is gone, and what `refs/pull/N/head` is at: it follows the branch only while it is open.
    last_head: String,
    reviews: Vec<Value>,
    comments: Vec<Value>,
}

#[derive(Clone)]
struct Status {
    id: u64,
    sha: String,
    context: String,
    state: String,
    description: String,
}

/// The service; it ends with the test's process.
#[derive(Clone)]
pub struct FakeGitea {
    pub url: String,
    world: Arc<Mutex<World>>,
}

impl FakeGitea {
    /// With one repository that has one commit on main.
    pub fn new() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").unwrap())
    }

    /// The same at an address of the test's choice.
    pub fn on(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let owner = Account {
            login: "orch".to_owned(),
            writes: true,
            administers: true,
        };
        let world = World {
            room: tempfile::tempdir().unwrap(),
            accounts: BTreeMap::from([(TOKEN.to_owned(), owner)]),
            repositories: BTreeMap::new(),
            trouble: VecDeque::new(),
            git_trouble: VecDeque::new(),
            failing: Failing::new(0, 0),
            seen: Vec::new(),
            git_seen: Vec::new(),
            mail: Vec::new(),
            flavour: Flavour::Gitea,
            secret: "gitea_wh_secret".to_owned(),
            ci: None,
            url: url.clone(),
            clock: 1_795_246_128,
            ids: 0,
            most: 50,
            strangers: BTreeSet::new(),
            officials: true,
            lost: 0,
        };
        let gitea = Self {
            url,
            world: Arc::new(Mutex::new(world)),
        };
        gitea.repository(REPOSITORY);
        fake_http::serve(listener, gitea.clone());
        gitea
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// A repository with one commit on main.
    pub fn repository(&self, name: &str) {
        let mut world = self.world();
        let bare = world.bare(name);
        let desk = world.desk(name);
        std::fs::create_dir_all(&bare).unwrap();
        git(&bare, &["init", "-q", "--bare", "-b", "main", "."]);
        std::fs::create_dir_all(&desk).unwrap();
        git(&desk, &["clone", "-q", bare.to_str().unwrap(), "."]);
        git_ok(&desk, &["switch", "-q", "-c", "main"]);
        let repository = Repository {
            pulls: Vec::new(),
            statuses: Vec::new(),
            hooks: Vec::new(),
            archived: false,
            allows_fast_forward: true,
            checking: 0,
            faster: None,
            refuses_pulls: false,
            pushes: None,
        };
        world.repositories.insert(name.to_owned(), repository);
        drop(world);
        let files = [
            ("README.md", "A project.\n"),
            ("check.sh", "set -eu\n[ ! -e broken ]\n"),
        ];
        self.commit(name, "main", &files);
        self.world().mail.clear();
    }

    /// The repository is this one from now on.
    pub fn adopt(&self, name: &str, bare: &Path) {
        let own = self.bare(name);
        std::fs::remove_dir_all(&own).unwrap();
        std::os::unix::fs::symlink(bare, own).unwrap();
    }

    /// Where git finds a repository.
    pub fn clone_url(&self, name: &str) -> String {
        format!("{}/{name}.git", self.url)
    }

    /// The bare repository itself.
    pub fn bare(&self, name: &str) -> PathBuf {
        self.world().bare(name)
    }

    /// A further token.
    pub fn token(&self, token: &str, login: &str, writes: bool) {
        let account = Account {
            login: login.to_owned(),
            writes,
            administers: false,
        };
        self.world().accounts.insert(token.to_owned(), account);
    }

    /// No token is known any more under this text.
    pub fn revoke(&self, token: &str) {
        self.world().accounts.remove(token);
    }

    // --- what people do

    /// A person pushes a commit with these files to a branch, made at main where it is not there; the commit.
    pub fn commit(&self, name: &str, branch: &str, files: &[(&str, &str)]) -> String {
        merge::commit(&mut self.world(), name, branch, &owned(files))
    }

    /// The head of a branch.
    pub fn head(&self, name: &str, branch: &str) -> Option<String> {
        self.world().heads(name).get(branch).cloned()
    }

    /// The commits of main, newest first.
    pub fn log(&self, name: &str) -> Vec<String> {
        let log = git(&self.bare(name), &["log", "--format=%H", "main"]);
        log.lines().map(str::to_owned).collect()
    }

    /// A person opens a pull request into main; its number.
    pub fn open_pull(&self, name: &str, head: &str) -> u64 {
        let body = json!({ "title": "By a person", "head": head, "base": "main" });
        rest::open_pull(&mut self.world(), name, &body, "a-person");
        self.world().repositories[name].pulls.last().unwrap().number
    }

    /// A person opens one from a fork, whose branch has the same name as one here; its number.
    pub fn open_pull_from_fork(&self, name: &str, head: &str) -> u64 {
        let number = self.open_pull(name, head);
        "somebody/fork".clone_into(&mut self.world().pull(name, number).from);
        number
    }

    /// A person closes one without merging it.
    pub fn close(&self, name: &str, number: u64) {
        let mut world = self.world();
        world.pull(name, number).state = "closed";
        mail::pull_request(&mut world, name, number, "closed", "a-person");
    }

    /// A person has one go into another branch.
    pub fn retarget(&self, name: &str, number: u64, base: &str) {
        base.clone_into(&mut self.world().pull(name, number).base);
    }

    /// A person merges one by a click, as one commit of its own.
    pub fn squash(&self, name: &str, number: u64) {
        merge::squash(&mut self.world(), name, number, &[]);
    }

    /// The same, and something else gets in with it.
    pub fn squash_with(&self, name: &str, number: u64, files: &[(&str, &str)]) {
        merge::squash(&mut self.world(), name, number, &owned(files));
    }

    /// A person pushes to main in the moment before the next request to merge is looked at.
    pub fn push_first(&self, name: &str, files: &[(&str, &str)]) {
        self.world().repositories.get_mut(name).unwrap().pushes = Some(owned(files));
    }

    /// A person merges in the moment before the next request to merge is looked at, with something else.
    pub fn squash_first(&self, name: &str, files: &[(&str, &str)]) {
        self.world().repositories.get_mut(name).unwrap().faster = Some(owned(files));
    }

    /// A person reviews the head of a pull request: APPROVED, REQUEST_CHANGES or COMMENT.
    pub fn review(&self, name: &str, number: u64, login: &str, state: &str) {
        let mut world = self.world();
        let (id, head) = (world.id(), world.head_of(name, number));
        let official = world.officials && !world.strangers.contains(login);
        let review = json!({
            "id": id, "user": { "login": login }, "state": state, "commit_id": head, "stale": false,
            "official": official, "dismissed": false, "body": "", "submitted_at": world.when(),
        });
        world.pull(name, number).reviews.push(review);
        mail::reviewed(&mut world, name, number, state, login);
    }

    /// CI says something about a commit.
    pub fn status(&self, name: &str, sha: &str, context: &str, state: &str) {
        let body = json!({ "context": context, "state": state, "description": "by CI" });
        rest::set_status(&mut self.world(), name, sha, &body);
    }

    /// From now on CI says this about each head that is pushed to a branch but main, at once; none: it says nothing.
    pub fn ci(&self, state: Option<&str>) {
        self.world().ci = state.map(str::to_owned);
    }

    // --- what is there

    /// The pull requests, as the API shows them, oldest first.
    pub fn pulls(&self, name: &str) -> Vec<Value> {
        let world = self.world();
        let pulls = &world.repositories[name].pulls;
        pulls.iter().map(|p| rest::pull(&world, name, p)).collect()
    }

    /// The comments of a pull request, oldest first.
    pub fn comments(&self, name: &str, number: u64) -> Vec<String> {
        let mut world = self.world();
        let comments = &world.pull(name, number).comments;
        let body = |c: &Value| c["body"].as_str().unwrap().to_owned();
        comments.iter().map(body).collect()
    }

    /// Changes a repository's settings.
    pub fn archive(&self, name: &str, archived: bool) {
        self.world().repositories.get_mut(name).unwrap().archived = archived;
    }

    /// Its one webhook from now on.
    pub fn hook(&self, name: &str, url: &str, content_type: &str, events: &[&str]) {
        let config = json!({ "url": url, "content_type": content_type });
        let hook = json!({ "id": 1, "type": "gitea", "active": true, "events": events, "config": config });
        self.world().repositories.get_mut(name).unwrap().hooks = vec![hook];
    }

    pub fn allow_fast_forward(&self, name: &str, allowed: bool) {
        let mut world = self.world();
        world.repositories.get_mut(name).unwrap().allows_fast_forward = allowed;
    }

    /// A title that begins with "WIP:" keeps a pull request from being merged.
    pub fn rename_pull(&self, name: &str, number: u64, title: &str) {
        title.clone_into(&mut self.world().pull(name, number).title);
    }

    /// This account may read and nothing else.
    pub fn stranger(&self, login: &str) {
        self.world().strangers.insert(login.to_owned());
    }

    /// No review is called official, as of versions that do so only for branches with a rule.
    pub fn without_officials(&self) {
        self.world().officials = false;
    }

    // --- trouble

    /// Lists have so many entries more by their headers than their pages give.
    pub fn lose(&self, n: usize) {
        self.world().lost = n;
    }

    /// No pull request can be opened, until it can again.
    pub fn refuse_pulls(&self, refused: bool) {
        self.world()
            .repositories
            .get_mut(REPOSITORY)
            .unwrap()
            .refuses_pulls = refused;
    }

    /// The next `n` requests to merge come while it still checks: "try again later".
    pub fn checking(&self, name: &str, n: usize) {
        self.world().repositories.get_mut(name).unwrap().checking = n;
    }

    /// Entries of a page at most, whatever is asked for.
    pub fn pages_of(&self, most: usize) {
        self.world().most = most;
    }

    /// The next `n` requests to the API are answered with this status, and nothing is done.
    pub fn fail_next(&self, n: usize, status: u16) {
        self.trouble(n, Trouble::Status(status));
    }

    /// The next `n` requests to the API are answered so late.
    pub fn slow(&self, n: usize, by: Duration) {
        self.trouble(n, Trouble::Slow(by));
    }

    /// The next `n` connections to the API end without an answer, and nothing is done.
    pub fn drop_connection(&self, n: usize) {
        self.trouble(n, Trouble::Dropped);
    }

    /// The next `n` requests to the API are done, and nobody hears of it.
    pub fn drop_answer(&self, n: usize) {
        self.trouble(n, Trouble::DroppedAfter);
    }

    /// The next `n` requests to the API are done, and half of the answer comes.
    pub fn half_answer(&self, n: usize) {
        self.trouble(n, Trouble::Half);
    }

    /// What was to go wrong with the API does not any more.
    pub fn calm(&self) {
        self.world().trouble.clear();
    }

    fn trouble(&self, n: usize, trouble: Trouble) {
        self.world().trouble.extend(std::iter::repeat_n(trouble, n));
    }

    /// The next `n` requests of git are answered with this status; none: all that is to come is answered as usual.
    pub fn fail_git(&self, n: usize, status: u16) {
        let mut world = self.world();
        world.git_trouble = std::iter::repeat_n(Trouble::Status(status), n).collect();
    }

    /// So many of a hundred requests to the API go wrong from now on, the same for the same seed; none of a hundred: no more.
    pub fn failing(&self, percent: u64, seed: u64) {
        let mut world = self.world();
        let failed = world.failing.failed;
        world.failing = Failing::new(percent, seed);
        world.failing.failed = failed;
    }

    /// How many went wrong so.
    pub fn failed(&self) -> usize {
        self.world().failing.failed
    }

    // --- looking

    /// Every request to the API.
    pub fn seen(&self) -> Vec<Seen> {
        self.world().seen.clone()
    }

    /// The same as "POST pulls/1/merge 200", and forgotten with it.
    pub fn take_seen(&self) -> Vec<String> {
        let seen = std::mem::take(&mut self.world().seen);
        let brief = |s: &Seen| {
            let path = s.path.strip_prefix("/api/v1/").unwrap_or(&s.path);
            let path = path.strip_prefix("repos/acme/shop/").unwrap_or(path);
            let status = s.status.map_or("-".to_owned(), |s| s.to_string());
            format!("{} {path} {status}", s.method)
        };
        seen.iter().map(brief).collect()
    }

    /// What git asked for: "POST git-receive-pack 200".
    pub fn git_seen(&self) -> Vec<String> {
        self.world().git_seen.clone()
    }

    // --- webhooks

    /// How webhooks are written and signed from now on.
    pub fn webhooks(&self, flavour: Flavour, secret: &str) {
        let mut world = self.world();
        world.flavour = flavour;
        secret.clone_into(&mut world.secret);
    }

    /// A run of a workflow has ended.
    pub fn workflow_run(&self, name: &str, branch: &str, conclusion: &str) {
        mail::workflow_run(&mut self.world(), name, branch, conclusion);
    }

    /// The deliveries that are due, in the order in which things happened; each once.
    pub fn mail(&self) -> Vec<Mail> {
        std::mem::take(&mut self.world().mail)
    }
}

fn owned(files: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(path, content): &(&str, &str)| ((*path).to_owned(), (*content).to_owned());
    files.iter().map(pair).collect()
}

impl Site for FakeGitea {
    fn trouble(&self, request: &Request) -> Option<Trouble> {
        let mut world = self.world();
        if !request.path.starts_with("/api/") {
            return world.git_trouble.pop_front();
        }
        let next = world.trouble.pop_front();
        next.or_else(|| world.failing.next())
    }

    fn answer(&self, request: &Request) -> Answer {
        match request.path.strip_prefix("/api/v1/") {
            Some(path) => rest::answer(&mut self.world(), request, path),
            None => cgi::answer(self, request),
        }
    }

    fn saw(&self, request: Request, status: Option<u16>) {
        let mut world = self.world();
        if !request.path.starts_with("/api/") {
            let what = request.path.rsplit('/').next().unwrap_or_default();
            let status = status.map_or("-".to_owned(), |s| s.to_string());
            world.git_seen.push(format!("{} {what} {status}", request.method));
            return;
        }
        world.seen.push(Seen {
            body: request.json(),
            method: request.method,
            path: request.path,
            status,
        });
    }

    fn failure(&self, status: u16) -> Answer {
        Answer::json(status, &json!({ "message": "trouble", "url": "" }))
    }
}

impl World {
    fn bare(&self, name: &str) -> PathBuf {
        self.room.path().join(format!("{name}.git"))
    }

    fn desk(&self, name: &str) -> PathBuf {
        self.room.path().join("desks").join(name)
    }

    fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// The time, which goes on by a second with each look.
    fn when(&mut self) -> String {
        self.clock += 1;
        jiff::Timestamp::from_second(self.clock).unwrap().to_string()
    }

    fn pull(&mut self, name: &str, number: u64) -> &mut Pull {
        let pulls = &mut self.repositories.get_mut(name).unwrap().pulls;
        pulls.iter_mut().find(|p| p.number == number).unwrap()
    }

    /// The head of a pull request.
    fn head_of(&self, name: &str, number: u64) -> String {
        let pull = self.repositories[name].pulls.iter().find(|p| p.number == number);
        rest::head_of(self, name, pull.unwrap())
    }

    /// Moves what git sees of a pull request that is open.
    fn track(&mut self, name: &str, number: u64, head: &str) {
        head.clone_into(&mut self.pull(name, number).last_head);
        let reference = format!("refs/pull/{number}/head");
        git(&self.bare(name), &["update-ref", &reference, head]);
    }

    fn heads(&self, name: &str) -> BTreeMap<String, String> {
        let refs = git(
            &self.bare(name),
            &[
                "for-each-ref",
                "--format=%(refname:lstrip=2) %(objectname)",
                "refs/heads",
            ],
        );
        let pair = |line: &str| line.split_once(' ').map(|(n, s)| (n.to_owned(), s.to_owned()));
        refs.lines().filter_map(pair).collect()
    }

    /// What follows from a push: webhooks, pull requests that get another head, what CI says.
    fn pushed(&mut self, name: &str, before: &BTreeMap<String, String>, by: &str) {
        let after = self.heads(name);
        for branch in before
            .keys()
            .chain(after.keys().filter(|b| !before.contains_key(*b)))
        {
            let (old, new) = (before.get(branch), after.get(branch));
            if old == new {
                continue;
            }
            mail::pushed(self, name, branch, (old, new), by);
            let open = |p: &&mut Pull| p.state == "open" && p.head == *branch;
            let pulls = self.repositories.get_mut(name).unwrap().pulls.iter_mut();
            let touched: Vec<_> = pulls.filter(open).map(|p| p.number).collect();
            for number in touched {
                if let Some(new) = new {
                    self.track(name, number, new);
                }
                mail::pull_request(self, name, number, "synchronized", by);
            }
            if let (Some(new), Some(state), true) = (new, self.ci.clone(), branch != "main") {
                for state in ["pending", state.as_str()] {
                    rest::set_status(self, name, new, &json!({ "context": "ci/test", "state": state }));
                }
            }
        }
    }
}
