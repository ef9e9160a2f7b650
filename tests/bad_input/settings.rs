//! Wrong settings, and project files that cannot be used: told before anything starts, with file and line.

use std::fs;

use super::{assert_names, cli, refuses};
use crate::support::{Project, Repo, Setup, TestService};

fn wrong(setting: &str) -> (TestService, String) {
    let service = Setup::new().prepare();
    let mut text = fs::read_to_string(service.config()).unwrap();
    text.push_str(setting);
    fs::write(service.config(), text).unwrap();
    let said = refuses(&service).line(2).to_owned();
    assert!(
        !service.data().exists(),
        "something was made before the settings were read"
    );
    (service, said)
}

#[test]
fn a_wrong_setting_ends_serve_with_one_line_that_names_key_value_and_source() {
    let file = "orch.toml:";
    for (setting, parts) in [
        (
            "max_concurency = 2\n",
            [file, "unknown key", "did you mean \"max_concurrency\""],
        ),
        (
            "max_concurrency = \"four\"\n",
            [file, "max_concurrency = \"four\"", "whole number"],
        ),
        ("log.level = \"loud\"\n", [file, "log.level = \"loud\"", "debug"]),
        (
            "reaper.max_running_s = 10\n",
            [file, "reaper.max_running_s = 10", "raise"],
        ),
        (
            "agent.timeout_s = 9999\n",
            [file, "agent.timeout_s = 9999", "agent.timeout_cap_s"],
        ),
        ("broken = [\n", [file, "not valid TOML", ""]),
        (
            "agent.presets_file = \"none.toml\"\n",
            ["none.toml", "presets", ""],
        ),
    ] {
        let (_, said) = wrong(setting);
        assert_names(&said, &parts);
    }
}

#[test]
fn a_wrong_variable_is_named_and_an_unknown_one_only_warned_of() {
    let service = Setup::new().env("ORCH_MAX_CONCURRENCY", "many").prepare();
    let said = refuses(&service);
    assert_names(
        said.line(2),
        &["env ORCH_MAX_CONCURRENCY", "max_concurrency = \"many\""],
    );
    let service = Setup::new().env("ORCH_API_TOKEN_FILE", "/none/there").prepare();
    assert_names(
        refuses(&service).line(2),
        &["env ORCH_API_TOKEN_FILE", "api_token", "/none/there"],
    );

    let service = Setup::new()
        .env("ORCH_OF_OLD", "1")
        .env("ORCH_AGENT_TIMEOUT_OVERRIDES_JSON", "{")
        .start();
    let log = service.log();
    assert_names(
        &log,
        &["ORCH_OF_OLD", "unknown name", "agent.timeout_overrides_json"],
    );
    assert_eq!(service.api().get("/health").status, 200);
}

#[test]
fn every_mistake_is_told_at_once_and_doctor_tells_the_same() {
    let service = Setup::new().prepare();
    fs::write(
        service.config(),
        "max_concurrency = 0\n[server]\nlisten = \"here\"\n",
    )
    .unwrap();
    let said = refuses(&service).said;
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert_names(lines[0], &["orch.toml:1", "max_concurrency = 0"]);
    assert_names(
        lines[1],
        &["orch.toml:3", "server.listen = \"here\"", "127.0.0.1:8500"],
    );
    let doctor = service.cli(&["doctor"]);
    assert_eq!(doctor.status.code(), Some(1));
    let found = String::from_utf8(doctor.stdout).unwrap();
    for line in lines {
        assert_names(&found, &["fail", line.trim_start_matches("orch: ")]);
    }
}

fn project_file(text: &str) -> TestService {
    let repo = Repo::new();
    let service = Setup::new().project(Project::new("shop", &repo)).prepare();
    let text = text.replace("REPO", &repo.path.display().to_string());
    fs::write(service.data().join("projects/shop.toml"), text).unwrap();
    service
}

#[test]
fn a_wrong_project_file_ends_serve_with_its_line_and_doctor_finds_it_too() {
    const STAGES: &str = "[[stage]]\nname = \"development\"\nrole = \"developer\"\n";
    for (text, line, parts) in [
        (
            "repo = \"REPO\"\n[[stage]]\nname = \"a\"\ngates = [\"no_such\"]\n[[stage]]\nname = \"done\"\n",
            4,
            ["unknown gate \"no_such\"", "reviewer_verdict"],
        ),
        (
            "repo = \"REPO\"\n#\n#\nSTAGES[[stage]]\nname = \"done\"\n[[stage]]\nname = \"archive\"\n",
            9,
            ["\"archive\" is unreachable", "\"done\" before it"],
        ),
        (
            "repo = \"REPO\"\nSTAGESnext = \"done\"\n[[stage]]\nname = \"lost\"\nrole = \"tester\"\n[[stage]]\nname = \"done\"\n",
            6,
            ["\"lost\" is unreachable", "no stage names it as next"],
        ),
        ("repo = \"REPO\"\nSTAGES", 2, ["not terminal", "\"done\""]),
        (
            "repo = \"REPO\"\nSTAGESrollback_to = \"done\"\n[[stage]]\nname = \"done\"\n",
            2,
            ["rollback_to \"done\"", "later stage"],
        ),
        (
            "repo = \"REPO\"\nSTAGESgates = [{ name = \"../x\", command = [\"true\"] }]\n[[stage]]\nname = \"done\"\n",
            5,
            ["gate name \"../x\"", "not usable"],
        ),
        (
            "repo = \"REPO\"\n[agent]\ncommando = [\"sh\"]\n",
            3,
            ["unknown key \"agent.commando\"", "did you mean \"command\""],
        ),
        ("repo = 7\n", 1, ["repo = 7", "give a text"]),
        ("prefix = \"SHOP\"\n", 1, ["repo is missing", "folder or the URL"]),
        (
            "name = \"other\"\nrepo = \"REPO\"\n",
            1,
            ["called \"other\"", "name its file other.toml"],
        ),
    ] {
        let service = project_file(&text.replace("STAGES", STAGES));
        let ended = refuses(&service);
        assert_names(
            ended.line(2),
            &[&format!("projects/shop.toml:{line}:"), parts[0], parts[1]],
        );
        let doctor = service.cli(&["doctor"]);
        assert_eq!(doctor.status.code(), Some(1));
        let found = String::from_utf8(doctor.stdout).unwrap();
        assert_names(&found, &["fail", parts[0]]);
    }
}

#[test]
fn a_preset_that_nobody_knows_is_refused_with_the_file_and_the_known_ones() {
    let service =
        project_file("repo = \"REPO\"\n[agents.reviewer]\npreset = \"claud\"\n[agent]\ncommand = [\"sh\"]\n");
    let ended = refuses(&service);
    assert_names(
        ended.line(2),
        &[
            "projects/shop.toml",
            "preset = \"claud\"",
            "reviewer",
            "claude, codex",
        ],
    );
    assert_eq!(cli(&service, &["doctor"]).code, 1);
}

#[test]
fn two_projects_of_one_prefix_are_refused_with_the_line_of_the_second() {
    let repo = Repo::new();
    let service = Setup::new()
        .project(Project::new("one", &repo).top("prefix = \"SHOP\""))
        .project(Project::new("two", &repo).top("prefix = \"SHOP\""))
        .prepare();
    let ended = refuses(&service);
    let line = fs::read_to_string(service.data().join("projects/two.toml")).unwrap();
    let line = line.lines().position(|l| l.starts_with("prefix")).unwrap() + 1;
    let place = format!("projects/two.toml:{line}: prefix \"SHOP\"");
    assert_names(
        ended.line(2),
        &[&place, "projects/one.toml", "give each project its own"],
    );
}
