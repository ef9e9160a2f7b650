//! Plane behind HTTP: what it was asked.

use serde_json::Value;

use super::{FakePlane, rest};
use crate::support::fake_http::{Answer, Request, Site, Trouble};

/// A request, and how it was answered.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub query: Vec<(String, String)>,
    pub key: Option<String>,
    pub body: Value,
    /// None: the connection ended without an answer.
    pub status: Option<u16>,
}

impl Seen {
    fn of(request: &Request) -> Self {
        Self {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            key: request.header("x-api-key").map(str::to_owned),
            body: request.json(),
            status: None,
        }
    }

    /// "GET states 200".
    pub fn brief(&self) -> String {
        let mut parts = self.path.trim_end_matches('/').rsplit('/');
        let kind = parts.find(|p| ["states", "work-items", "issues", "comments"].contains(p));
        let status = self.status.map_or("-".to_owned(), |s| s.to_string());
        format!("{} {} {status}", self.method, kind.unwrap_or("?"))
    }

    pub fn asked(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Site for FakePlane {
    fn trouble(&self, _: &Request) -> Option<Trouble> {
        let mut world = self.world();
        let next = world.trouble.pop_front();
        next.or_else(|| world.failing.next())
    }

    fn answer(&self, request: &Request) -> Answer {
        let told = rest::answer(&mut self.world(), &Seen::of(request));
        let mut answer = Answer::json(told.status, &told.body);
        answer.headers.extend(told.headers);
        answer
    }

    fn saw(&self, request: Request, status: Option<u16>) {
        let seen = Seen {
            status,
            ..Seen::of(&request)
        };
        self.world().seen.push(seen);
    }
}
