//! Requests that are wrong in every way, at the real service: refused with a problem document that says what to do,
//! nothing stored, and everybody else answered meanwhile.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::names::{Untouched, refused};
use super::{TWO_STAGES, assert_names, others_go_on};
use crate::support::{Answer, Api, PATIENCE, Project, Repo, Setup};

/// The head of a request with the service's token.
fn head(api: &Api, line: &str, more: &str) -> String {
    let token = std::fs::read_to_string(&api.token_file).unwrap();
    let token = token.trim();
    format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n{more}\r\n")
        .replace("Host: x", &format!("Host: {}", api.address))
}

fn post(api: &Api, content_type: &str, body: &[u8]) -> Answer {
    let more = format!("{content_type}Content-Length: {}\r\n", body.len());
    let mut request = head(api, "POST /api/v1/tasks", &more).into_bytes();
    request.extend_from_slice(body);
    api.exchange(&request).unwrap()
}

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn a_body_that_is_no_task_is_refused_with_what_is_wrong_in_it() {
    let house = Untouched::start();
    let api = house.service.api();
    let deep = "[".repeat(10_000);
    let deep_field = format!("{{\"title\": {}1", "{\"a\":".repeat(10_000));
    let cases: [(&[u8], u16, &[&str]); 24] = [
        (b"", 400, &["missing field `title`"]),
        (b"{}", 400, &["missing field `title`"]),
        (b"not json", 400, &["not JSON", "line 1 column 2"]),
        (b"{\"title\": \"x\"", 400, &["not JSON"]),
        (b"{\"title\": \"x\"} more", 400, &["not JSON", "trailing"]),
        (b"title=x", 400, &["not JSON"]),
        (b"null", 400, &["must be a JSON object"]),
        (b"[]", 400, &["must be a JSON object"]),
        (b"\"x\"", 400, &["must be a JSON object"]),
        (b"\xff\xfe{\"title\":1}", 400, &["not JSON"]),
        (b"{\"title\": \"\xff\"}", 400, &["not JSON"]),
        (b"{\"title\": \"a\0b\"}", 400, &["not JSON"]),
        (b"{\"title\": \"a\\u0000b\"}", 422, &["title", "one line"]),
        (b"{\"title\": \"\\ud800\"}", 400, &["not JSON"]),
        (b"{\"title\": 3}", 400, &["field `title`", "expected a string"]),
        (b"{\"title\": null}", 400, &["field `title`"]),
        (b"{\"titel\": \"x\"}", 400, &["unknown field `titel`"]),
        (
            b"{\"title\": \"x\", \"hold\": \"yes\"}",
            400,
            &["field `hold`", "boolean"],
        ),
        (
            b"{\"title\": \"x\", \"priority\": 1e99}",
            400,
            &["field `priority`"],
        ),
        (
            b"{\"title\": \"x\", \"priority\": 9999999999}",
            400,
            &["field `priority`"],
        ),
        (
            b"{\"title\": \"x\", \"depends_on\": \"A\"}",
            400,
            &["field `depends_on`", "sequence"],
        ),
        (
            b"{\"title\": \"x\", \"modifies\": [1]}",
            400,
            &["field `modifies`"],
        ),
        (deep.as_bytes(), 400, &["recursion limit"]),
        (deep_field.as_bytes(), 400, &["recursion limit"]),
    ];
    for (body, status, parts) in cases {
        let asked = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let detail = refused(&post(&api, JSON, body), status, &asked);
        assert_names(&detail, parts);
    }
    for content_type in [
        "",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-www-form-urlencoded\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: \r\n",
    ] {
        let answer = post(&api, content_type, b"{\"title\": \"x\"}");
        assert_names(
            &refused(&answer, 415, content_type),
            &["Content-Type: application/json"],
        );
    }
    house.check();
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_was_sent() {
    let house = Untouched::start();
    let api = house.service.api();
    let limit = ["larger than 1048576 bytes", "server.body_limit_bytes"];
    // Announced: nobody waits for it.
    for length in ["1048577", "99999999999", "18446744073709551615"] {
        let more = format!("{JSON}Content-Length: {length}\r\n");
        let answer = api.exchange(head(&api, "POST /api/v1/tasks", &more).as_bytes());
        assert_names(&refused(&answer.unwrap(), 413, length), &limit);
    }
    // Not announced: as soon as there is too much.
    let more = format!("{JSON}Transfer-Encoding: chunked\r\n");
    let mut request = head(&api, "POST /api/v1/tasks", &more).into_bytes();
    for _ in 0..17 {
        request.extend_from_slice(b"10000\r\n");
        request.extend_from_slice(&[b' '; 0x10000]);
        request.extend_from_slice(b"\r\n");
    }
    assert_names(&refused(&api.exchange(&request).unwrap(), 413, "chunks"), &limit);
    let larger = format!("{{\"title\": \"{}\"}}", "x".repeat(1 << 20));
    assert_names(
        &refused(&post(&api, JSON, larger.as_bytes()), 413, "sent"),
        &limit,
    );
    house.check();
}

#[test]
fn a_wrong_method_is_told_the_right_one_and_a_wrong_address_where_the_api_is() {
    let house = Untouched::start();
    let api = house.service.api();
    for (path, allow) in [
        ("/api/v1/tasks", "GET, POST"),
        ("/api/v1/tasks/X-1", "GET"),
        ("/api/v1/tasks/X-1/gestures", "POST"),
        ("/api/v1/tasks/X-1/runs", "GET"),
        ("/api/v1/events", "GET"),
        ("/api/v1/projects", "GET"),
        ("/api/v1/queue/pause", "POST"),
        ("/api/v1/queue/resume", "POST"),
        ("/status", "GET"),
        ("/queue", "GET"),
        ("/health", "GET, HEAD"),
        ("/ready", "GET, HEAD"),
    ] {
        for method in [
            "GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
        ] {
            if allow.split(", ").any(|right| right == method) {
                continue;
            }
            let asked = format!("{method} {path}");
            let answer = api.ask(method, path, None);
            assert_names(&refused(&answer, 405, &asked), &[allow]);
            assert_eq!(answer.header("allow"), Some(allow), "{asked}");
        }
    }
    for path in [
        "/",
        "/api",
        "/api/v1",
        "/api/v1/",
        "/api/v2/tasks",
        "/api/v1/task",
        "/api/v1/tasks/",
        "/status/",
        "//status",
        "/../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/tasks%2FX-1",
        "/favicon.ico",
        "/.git/config",
    ] {
        assert_names(&refused(&api.get(path), 404, path), &["/api/v1"]);
    }
    for path in [
        "/api/v1/jobs/x",
        "/api/v1/runs/-/log",
        "/api/v1/jobs/99999999999999999999",
    ] {
        assert_names(&refused(&api.get(path), 400, path), &["path of the address"]);
    }
    for path in [
        "/api/v1/jobs/-1",
        "/api/v1/jobs/0",
        "/api/v1/runs/7",
        "/api/v1/runs/7/log",
    ] {
        refused(&api.get(path), 404, path);
    }
    house.check();
}

#[test]
fn what_is_no_http_is_refused_and_closed() {
    let house = Untouched::start();
    let api = house.service.api();
    let line = "POST /api/v1/tasks";
    let lengths = format!("{JSON}Content-Length: 14\r\nContent-Length: 2\r\n");
    let both = format!("{JSON}Content-Length: 14\r\nTransfer-Encoding: chunked\r\n");
    let negative = format!("{JSON}Content-Length: -1\r\n");
    let task = "{\"title\": \"x\"}";
    let many: String = (0..300).map(|n| format!("X-{n}: y\r\n")).collect();
    for (request, status) in [
        (b"GARBAGE\r\n\r\n".to_vec(), 400),
        (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n".to_vec(),
            400,
        ),
        (vec![0; 200], 400),
        (b"GET /health HTTP/9.9\r\n\r\n".to_vec(), 400),
        (
            b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_vec(),
            400,
        ),
        // Two answers to how long the body is: whoever believes the other one is deceived.
        ((head(&api, line, &lengths) + task).into_bytes(), 400),
        ((head(&api, line, &both) + task).into_bytes(), 400),
        ((head(&api, line, &negative) + task).into_bytes(), 400),
        (head(&api, "GET /health", &many).into_bytes(), 431),
    ] {
        let asked = String::from_utf8_lossy(&request[..request.len().min(40)]).into_owned();
        let answer = api.exchange(&request).unwrap();
        assert_eq!(answer.status, status, "{asked}");
        assert_eq!(answer.header("connection"), Some("close"), "{asked}");
    }
    house.check();
}

/// Sends this much and no more; what came until the service closed, and when.
fn half(api: &Api, request: &[u8]) -> (String, Duration) {
    let began = Instant::now();
    let mut stream = TcpStream::connect(&api.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    (String::from_utf8_lossy(&answer).into_owned(), began.elapsed())
}

#[test]
fn whoever_stops_in_the_middle_of_a_request_is_cut_off_and_holds_up_nobody() {
    let repo = Repo::new();
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let api = service.api();
    let more = format!("{JSON}Content-Length: 100\r\n");
    let begun = head(&api, "POST /api/v1/tasks", &more) + "{\"title\": \"half";
    let slow: Vec<_> = (0..40)
        .map(|n| {
            let (api, begun) = (api.clone(), begun.clone());
            std::thread::spawn(move || match n % 2 {
                0 => half(&api, b"GET /hea"),
                _ => half(&api, begun.as_bytes()),
            })
        })
        .collect();
    // Those who go away in the middle.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(&api.address).unwrap();
        stream.write_all(begun.as_bytes()).unwrap();
    }
    // Everybody else is answered meanwhile.
    others_go_on(&mut service, "MEANWHILE");
    for asker in slow {
        let (answer, took) = asker.join().unwrap();
        assert_names(&answer, &["408 Request Timeout"]);
        assert!(took < Duration::from_secs(30), "{took:?}");
    }
    let tasks: Vec<Value> = api.get("/api/v1/tasks?all=true").ok();
    assert_eq!(tasks.len(), 1, "{tasks:?}");
}
