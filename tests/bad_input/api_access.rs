//! Who may ask the real service what: with and without a token, from this machine and as another one, as a browser.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::mounted::not_run;
use super::names::refused;
use super::{TWO_STAGES, assert_names};
use crate::support::{Answer, Api, Project, Repo, Setup, TestService};

const TASK: &str = r#"{"title": "x", "hold": true}"#;

/// Reads, or adds a task, with these lines in its head.
fn ask(api: &Api, adds: bool, more: &str) -> Answer {
    let host = match more.contains("Host: ") {
        true => String::new(),
        false => format!("Host: {}\r\n", api.address),
    };
    let request = match adds {
        false => format!("GET /api/v1/tasks HTTP/1.1\r\n{host}Connection: close\r\n{more}\r\n"),
        true => format!(
            "POST /api/v1/tasks HTTP/1.1\r\n{host}Connection: close\r\n{more}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{TASK}",
            TASK.len()
        ),
    };
    api.exchange(request.as_bytes()).unwrap()
}

fn token(service: &TestService) -> String {
    let token = std::fs::read_to_string(service.data().join("api-token")).unwrap();
    format!("Authorization: Bearer {}\r\n", token.trim())
}

fn count(service: &TestService) -> usize {
    let tasks: Vec<Value> = service.api().get("/api/v1/tasks?all=true").ok();
    tasks.len()
}

#[test]
fn on_this_machine_reading_is_free_and_changing_takes_the_token_of_the_data_directory() {
    let repo = Repo::new();
    let service = Setup::new()
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let (api, token) = (service.api(), token(&service));
    assert_eq!(ask(&api, false, "").status, 200);
    let problem = refused(&ask(&api, true, ""), 401, "no token");
    assert_names(
        &problem,
        &["Authorization: Bearer", "ORCH_API_TOKEN", "api-token"],
    );
    for wrong in [
        "Authorization: Bearer sesame\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: Bearer \r\n",
        "Authorization: \r\n",
        "Authorization: \u{ff}\r\n",
        &token.replace("Bearer", "Basic"),
        &token.replace("Bearer ", "Bearer"),
        &token.replace("Bearer ", "Bearer x"),
    ] {
        for adds in [false, true] {
            assert_names(
                &refused(&ask(&api, adds, wrong), 401, wrong),
                &["the token is not this service's"],
            );
        }
    }
    // A page in a browser, or a name that somebody else's DNS points here.
    for (more, adds, status) in [
        ("Origin: http://evil.example\r\n", true, 403),
        ("Origin: null\r\n", true, 403),
        ("Host: evil.example\r\n", false, 401),
        ("X-Forwarded-For: 127.0.0.1\r\n", false, 401),
    ] {
        refused(&ask(&api, adds, more), status, more);
        if adds {
            refused(&ask(&api, adds, &(more.to_owned() + &token)), status, more);
        }
    }
    assert_eq!(count(&service), 0);
    assert_eq!(ask(&api, true, &token).status, 201);
    assert_eq!(count(&service), 1);
}

#[test]
fn a_configured_token_is_asked_for_everywhere_but_at_health_and_readiness() {
    let repo = Repo::new();
    let service = Setup::new()
        .env("ORCH_API_TOKEN", "sesame")
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let api = service.api();
    for path in ["/health", "/ready"] {
        assert_eq!(api.get(path).status, 200);
    }
    for path in [
        "/status",
        "/queue",
        "/api/v1/tasks",
        "/api/v1/events",
        "/api/v1/nowhere",
    ] {
        refused(&api.get(path), 401, path);
    }
    refused(
        &ask(&api, true, "Authorization: Bearer Sesame\r\n"),
        401,
        "another",
    );
    assert_eq!(ask(&api, true, "Authorization: Bearer sesame\r\n").status, 201);
    assert_eq!(ask(&api, false, "authorization: bearer sesame\r\n").status, 200);
    // The command line takes it from where the service does.
    assert_names(&service.cli_ok(&["task", "list"]), &["SHOP-001"]);
    let mut other = service.cli_command(&["task", "list"]);
    other.env("ORCH_API_TOKEN", "wrong");
    assert_names(super::ends(other).line(1), &["token is not this service's"]);
    let log = service.log();
    assert!(!log.contains("sesame"), "{log}");
}

/// The command line, told to look there.
fn at(service: &TestService, api: &Api, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orch"));
    let own = service.cli_command(&[]);
    command
        .args(["--api-url", &format!("http://{}", api.address)])
        .args(args);
    command
        .env_clear()
        .current_dir(service.home())
        .stdin(Stdio::null());
    command.env("ORCH_CONFIG", service.config());
    command.envs(own.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

/// An address of this machine that is not its loopback.
fn address_of_this_machine() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent: the system only says from where it would be.
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then_some(ip)
}

#[test]
fn other_machines_change_nothing_unless_the_operator_chose_a_token() {
    let Some(ip) = address_of_this_machine() else {
        return not_run(
            "asking from another machine",
            "this one has no address but its loopback",
        );
    };
    let repo = Repo::new();
    let setup = || {
        Setup::new()
            .env("ORCH_SERVER_LISTEN", "0.0.0.0:0")
            .project(Project::new("shop", &repo).then(TWO_STAGES))
    };
    let from_afar = |service: &TestService| {
        let port = service.api().address.parse::<SocketAddr>().unwrap().port();
        Api {
            address: SocketAddr::new(ip, port).to_string(),
            ..service.api()
        }
    };
    let service = setup().start();
    let (far, token) = (from_afar(&service), token(&service));
    assert_eq!(far.get("/health").status, 200);
    refused(&ask(&far, false, ""), 401, "read without a token");
    assert_eq!(ask(&far, false, &token).status, 200);
    assert_names(
        &refused(&ask(&far, true, &token), 403, "change with the file's token"),
        &["this machine only", "ORCH_API_TOKEN"],
    );
    // The command line does not send the file's token to another machine.
    let said = super::ends(at(&service, &far, &["task", "add", "x"]));
    assert_names(said.line(1), &["Authorization: Bearer"]);
    assert_eq!(count(&service), 0);

    let service = setup().env("ORCH_API_TOKEN", "sesame").start();
    let far = from_afar(&service);
    refused(&ask(&far, true, ""), 401, "without a token");
    assert_eq!(ask(&far, true, "Authorization: Bearer sesame\r\n").status, 201);
    let said = super::ends(at(&service, &far, &["task", "add", "x", "--hold"]));
    assert_eq!(said.code, 0, "{}", said.said);
    let added: Value = ask(&far, false, "Authorization: Bearer sesame\r\n").json();
    assert_eq!(added, json!([added[0], added[1]]));
}
