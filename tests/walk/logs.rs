//! What an agent prints can be followed while it works.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::support::{Agent, Answer, ONE_STAGE, Project, Repo, Setup};

fn next_offset(answer: &Answer) -> u64 {
    answer.header("x-next-offset").unwrap().parse().unwrap()
}

#[test]
fn a_log_is_followed_while_the_agent_works_and_ends_with_its_run() {
    let repo = Repo::new();
    let developer = "echo first line; here dev; until_told go; echo last line; echo x >x.txt; commit it";
    let agent = Agent::new().role("developer", developer);
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).agent(&agent).then(ONE_STAGE))
        .start();
    let id = service.add("Talk");
    service.wait_here("dev");

    let mut follower = service
        .cli_command(&["run", "logs", "-f", &id])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(follower.stdout.take().unwrap());
    let mut first = String::new();
    said.read_line(&mut first).unwrap();
    assert_eq!(first, "first line\n", "it is shown while the agent works");

    let run = service.runs(&id)[0].id;
    let path = |offset: u64| format!("/api/v1/runs/{run}/log?offset={offset}");
    let piece = service.api().get(&path(0));
    assert_eq!((piece.text().as_str(), next_offset(&piece)), ("first line\n", 11));
    assert_eq!(piece.header("x-run-finished"), Some("false"));
    service.tell("go");

    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert!(follower.wait().unwrap().success());
    assert_eq!(rest, "last line\n");
    service.wait_status(&id, "done");
    service.wait_idle();

    let piece = service.api().get(&path(6));
    assert_eq!(piece.text(), "line\nlast line\n");
    let piece = service.api().get(&path(next_offset(&piece)));
    assert_eq!(
        (piece.text().as_str(), piece.header("x-run-finished")),
        ("", Some("true"))
    );
    let beyond = service.api().get(&path(10_000));
    assert_eq!((beyond.text().as_str(), next_offset(&beyond)), ("", 21));
    assert_eq!(
        service.cli_ok(&["run", "logs", &run.to_string()]),
        "first line\nlast line\n"
    );
}
