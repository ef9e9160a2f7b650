//! Without a service: who needs one says so; the others work.

use std::net::TcpListener;
use std::process::Stdio;

use super::Orch;

#[test]
fn without_a_service_it_says_where_it_looked_and_how_to_start_one() {
    let orch = Orch::new();
    for command in [
        &["task", "list"][..],
        &["task", "add", "x"],
        &["queue"],
        &["job", "show", "1"],
        &["run", "logs", "1"],
        &["project", "list"],
        &["events"],
        &["healed"],
    ] {
        let ended = orch.run(command);
        assert_eq!((ended.code, ended.out.as_str()), (3, ""), "{command:?}");
        assert_eq!(ended.err.lines().count(), 1, "{command:?}: {}", ended.err);
        for part in [
            "http://127.0.0.1:1 ",
            "server.listen",
            "orch serve",
            "--api-url",
            "ORCH_API_URL",
        ] {
            assert!(
                ended.err.contains(part),
                "{command:?} does not say {part}: {}",
                ended.err
            );
        }
    }
}

#[test]
fn with_json_an_error_is_json_on_stderr() {
    let ended = Orch::new().run(&["--json", "task", "list"]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""));
    let problem: serde_json::Value = serde_json::from_str(&ended.err).unwrap();
    assert_eq!(problem["title"], "No service answers");
    assert!(problem["detail"].as_str().unwrap().contains("orch serve"));
}

#[test]
fn wrong_usage_ends_with_two() {
    let orch = Orch::new();
    for command in [
        &["frobnicate"][..],
        &["task", "show"],
        &["task", "add"],
        &["task", "add", "x", "--file", "y"],
        &["task", "list", "--limit", "0"],
        &["job", "retry", "seven"],
        &["--api-url", "https://127.0.0.1:1", "task", "list"],
        &["--api-url", "127.0.0.1:1", "task", "list"],
        &["--config", "missing.toml", "config", "show"],
        &["task", "add", "--file", "missing.toml"],
    ] {
        let ended = orch.run(command);
        assert_eq!(
            (ended.code, ended.out.as_str()),
            (2, ""),
            "{command:?}: {}",
            ended.err
        );
        assert!(!ended.err.is_empty());
    }
}

#[test]
fn an_open_port_in_the_settings_cannot_be_looked_for() {
    let ended = Orch::new()
        .env("ORCH_SERVER_LISTEN", "127.0.0.1:0")
        .run(&["queue"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("--api-url"), "{}", ended.err);
}

#[test]
fn the_settings_are_shown_with_their_sources_and_without_secrets() {
    let orch = Orch::new()
        .env("ORCH_API_TOKEN", "hunter2")
        .env("ORCH_NO_SUCH", "1");
    std::fs::write(orch.path().join("orch.toml"), "max_concurrency = 3\n").unwrap();
    let ended = orch.run(&["--config", "orch.toml", "config", "show"]);
    assert_eq!(ended.code, 0);
    let line = |key: &str| ended.out.lines().find(|l| l.starts_with(key)).unwrap().to_owned();
    assert!(line("max_concurrency").contains('3') && line("max_concurrency").contains("orch.toml"));
    assert!(line("server.listen").contains("env ORCH_SERVER_LISTEN"));
    assert!(
        line("queue.tick_s").ends_with("default"),
        "{}",
        line("queue.tick_s")
    );
    assert!(line("api_token").contains("***"));
    assert!(!ended.out.contains("hunter2") && !ended.err.contains("hunter2"));
    assert!(
        ended.err.contains("ORCH_NO_SUCH"),
        "the warning is missing: {}",
        ended.err
    );

    let json = orch
        .run(&[
            "--config",
            "orch.toml",
            "--json",
            "config",
            "show",
            "max_concurrency",
        ])
        .json();
    assert_eq!(json[0]["key"], "max_concurrency");
    assert_eq!(json[0]["value"], "3");
}

#[test]
fn wrong_settings_are_listed_one_per_line_before_anything_starts() {
    let orch = Orch::new()
        .env("ORCH_MAX_CONCURRENCY", "many")
        .env("ORCH_LOG_LEVEL", "loud");
    let ended = orch.run(&["serve"]);
    assert_eq!(ended.code, 2);
    let lines: Vec<_> = ended.err.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines
            .iter()
            .any(|l| l.contains("max_concurrency") || l.contains("ORCH_MAX_CONCURRENCY"))
    );
}

#[test]
fn the_doctor_names_what_is_wrong_and_fails() {
    let orch = Orch::new();
    let healthy = orch.run(&["doctor"]);
    assert_eq!(healthy.code, 0, "{}", healthy.out);
    assert!(healthy.out.contains("orch init") && healthy.out.contains("orch serve"));

    let projects = orch.path().join("data/projects");
    std::fs::create_dir_all(&projects).unwrap();
    std::fs::write(
        projects.join("shop.toml"),
        "name = \"shop\"\nrepo = \"/no/such/repository\"\n[agent]\ncommand = [\"no-such-agent\"]\n",
    )
    .unwrap();
    let ended = orch.run(&["doctor", "--json"]);
    assert_eq!(ended.code, 1, "{}", ended.out);
    let failed: Vec<_> = ended
        .json()
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["state"] == "fail")
        .map(|c| c["found"].as_str().unwrap().to_owned())
        .collect();
    assert!(
        failed.iter().any(|f| f.contains("/no/such/repository")),
        "{failed:?}"
    );
    assert!(failed.iter().any(|f| f.contains("no-such-agent")), "{failed:?}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let orch = Orch::new();
    for command in [&["completions", "bash"][..], &["config", "show"], &["--help"]] {
        let mut child = orch
            .command(command)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{command:?}");
        assert!(
            output.stderr.is_empty(),
            "{command:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn what_answers_but_is_not_orch_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = crate::support::FakeService::on(listener, |_| {
        crate::support::Reply::new(404, "<html>nothing here</html>").header("Content-Type", "text/html")
    });
    let ended = Orch::new().run(&["--api-url", &url, "queue"]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("is not Orch"), "{}", ended.err);
    drop(other);
}
