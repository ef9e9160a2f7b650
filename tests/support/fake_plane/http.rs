//! HTTP/1.1 with connections that stay open, a thread each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};

use super::{FakePlane, Trouble, rest};

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

pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
}

impl Answer {
    pub fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }
}

pub(super) fn serve(listener: TcpListener, plane: FakePlane) {
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let plane = plane.clone();
            std::thread::spawn(move || {
                let stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while let Some(request) = read(&mut reader) {
                    if !one(&plane, &stream, request) {
                        let _ = stream.shutdown(Shutdown::Both);
                        return;
                    }
                }
            });
        }
    });
}

/// False: the connection ends.
fn one(plane: &FakePlane, stream: &TcpStream, mut seen: Seen) -> bool {
    let trouble = plane.world().trouble.pop_front();
    if let Some(Trouble::Slow(by)) = trouble {
        std::thread::sleep(by);
    }
    let answer = match trouble {
        Some(Trouble::Dropped) => None,
        Some(Trouble::Status(status)) => Some(Answer::new(status, json!({ "error": "trouble" }))),
        None | Some(Trouble::Slow(_) | Trouble::DroppedAfter | Trouble::Half) => {
            Some(rest::answer(&mut plane.world(), &seen))
        }
    };
    let told = !matches!(trouble, Some(Trouble::DroppedAfter));
    seen.status = answer.as_ref().filter(|_| told).map(|a| a.status);
    plane.world().seen.push(seen);
    let Some(answer) = answer.filter(|_| told) else {
        return false;
    };
    write(stream, &answer, matches!(trouble, Some(Trouble::Half)))
}

/// None: the client has left.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut words = line.split_whitespace();
    let mut seen = Seen {
        method: words.next()?.to_owned(),
        ..Seen::default()
    };
    let target = words.next()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    seen.path = path.to_owned();
    seen.query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(n, v)| (n.to_owned(), v.replace("%3A", ":").replace("%2C", ",")))
        .collect();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "x-api-key" => seen.key = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    seen.body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    Some(seen)
}

fn write(mut stream: &TcpStream, answer: &Answer, half: bool) -> bool {
    let body = answer.body.to_string();
    let mut head = format!(
        "HTTP/1.1 {} X\r\nContent-Type: application/json\r\n",
        answer.status
    );
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n", body.len());
    let sent = if half {
        &body.as_bytes()[..body.len() / 2]
    } else {
        body.as_bytes()
    };
    let written = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(sent));
    if half {
        // What was sent has to arrive before the end does.
        let _ = stream.set_read_timeout(Some(Duration::from_millis(10)));
    }
    written.is_ok() && !half
}
