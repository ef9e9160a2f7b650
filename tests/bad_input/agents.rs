//! Agents that do not exist, do not end, leave processes behind, print too much or what is no text.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use orch::engine::views::AddTask;
use serde_json::{Value, json};

use super::{TWO_STAGES, add, assert_names, blocked, cli, kept, others_go_on};
use crate::support::{Agent, Project, Repo, Setup, TestService, lives, wait_until};

/// A developer who does what stands for the task's name beside writing a file.
fn developer(cases: &[(&str, &str)]) -> Agent {
    let mut script = "echo work >\"work-$ORCH_WORK_ITEM\"\ncase $ORCH_WORK_ITEM in\n".to_owned();
    for (name, what) in cases {
        script += &format!("{name}) {what} ;;\n");
    }
    Agent::new().role("developer", &(script + "esac\n"))
}

fn service(repo: &Repo, agent: &Agent) -> TestService {
    let project = Project::new("shop", repo).agent(agent).then(TWO_STAGES);
    Setup::new()
        .set("agent.log_cap_mib", 1)
        .set("queue.max_attempts", 1)
        .project(project)
        .start()
}

#[test]
fn a_program_that_does_not_exist_blocks_the_task_at_once_and_is_named_with_its_setting() {
    let (repo, other) = (Repo::new(), Repo::new());
    let home = tempfile::tempdir().unwrap();
    let program = home.path().join("my-agent");
    let section = format!("{TWO_STAGES}\n[agent]\ncommand = ['{}']\n", program.display());
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).then(&section))
        .project(Project::new("other", &other).then(TWO_STAGES))
        .start();
    let log = service.log();
    assert_names(&log, &["projects/shop.toml", "my-agent is not found"]);
    let doctor = String::from_utf8(service.cli(&["doctor"]).stdout).unwrap();
    assert_names(&doctor, &["fail", "project shop: agent", "my-agent is not found"]);

    let shop = |id: &str| AddTask {
        project: Some("shop".to_owned()),
        id: Some(id.to_owned()),
        title: "Work".to_owned(),
        ..AddTask::default()
    };
    service.add_task(&shop("SHOP-A"));
    let (detail, reason) = blocked(&mut service, "SHOP-A");
    let program_name = program.display().to_string();
    assert_names(
        &reason,
        &[
            "exit code 127",
            &program_name,
            "[agent] command",
            "projects/shop.toml",
        ],
    );
    assert_eq!(
        (detail.runs.len(), detail.jobs[0].attempts),
        (1, 1),
        "it was tried again"
    );
    service.add_task(&AddTask {
        project: Some("other".to_owned()),
        ..shop("OTHER-A")
    });
    service.wait_status("OTHER-A", "done");

    // One that may not be run may be made so in a moment: the attempts are spent, and no more than those.
    fs::write(&program, "#!/bin/sh\necho hello >hello.txt\n").unwrap();
    assert_eq!(cli(&service, &["task", "unblock", "SHOP-A"]).code, 0);
    let (detail, reason) = blocked(&mut service, "SHOP-A");
    assert_names(
        &reason,
        &["exit code 126", "Permission denied", "[agent] command"],
    );
    assert_eq!(detail.jobs[0].attempts, detail.jobs[0].max_attempts);

    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(cli(&service, &["task", "unblock", "SHOP-A"]).code, 0);
    service.wait_status("SHOP-A", "done");
    assert_eq!(repo.show("hello.txt"), "hello");
}

#[test]
fn who_chose_a_missing_program_is_named_role_wrapper_preset_or_task() {
    let repo = Repo::new();
    // No preset's program is found where there is nothing but what git and a shell need.
    let path = tempfile::tempdir().unwrap();
    for program in ["git", "sh", "cat"] {
        let real = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|p| p.join(program))
            .find(|p| p.exists());
        symlink(real.unwrap(), path.path().join(program)).unwrap();
    }
    let project = |name: &str, section: &str| {
        let project = Project::new(name, &repo).top(&format!("prefix = '{}'", name.to_uppercase()));
        project.then(&format!("{TWO_STAGES}\n{section}\n"))
    };
    let mut service = Setup::new()
        .env("PATH", path.path().to_str().unwrap())
        .project(project("role", "[agents.developer]\ncommand = ['none-such']"))
        .project(project(
            "wrapper",
            "[agent]\ncommand = ['sh']\nwrapper = ['no-wrap', '-x']",
        ))
        .project(project("preset", "[agent]\npreset = 'codex'"))
        .start();
    for (project, program, setting) in [
        ("role", "none-such", "[agents.developer] command in "),
        ("wrapper", "no-wrap", "[agent] wrapper in "),
        ("preset", "codex", "[agent] preset in "),
    ] {
        let task = AddTask {
            project: Some(project.to_owned()),
            title: "Work".to_owned(),
            ..AddTask::default()
        };
        let id = service.add_task(&task).id;
        let (_, reason) = blocked(&mut service, &id);
        assert_names(
            &reason,
            &["exit code 127", program, setting, &format!("{project}.toml")],
        );
    }
    let chosen = |executor: &str| json!({ "project": "role", "title": "x", "executor": executor });
    let refused = service.api().post("/api/v1/tasks", &chosen("claud"));
    assert_eq!(refused.status, 404);
    assert_names(&refused.text(), &["executor", "claud", "claude, codex"]);
    let added: Value = service.api().post("/api/v1/tasks", &chosen("gemini")).ok();
    let (_, reason) = blocked(&mut service, added["id"].as_str().unwrap());
    assert_names(&reason, &["gemini", "the task's executor"]);
}

#[test]
fn an_agent_that_prints_without_end_costs_the_middle_of_its_log_and_nothing_else() {
    let repo = Repo::new();
    let flood = "echo the beginning; yes 'a line of the flood' | head -c 5000000; echo; echo the end";
    let mut service = service(&repo, &developer(&[("FLOOD", flood)]));
    add(&service, "FLOOD");
    let done = service.wait_status("FLOOD", "done");
    let run = &service.runs("FLOOD")[0];
    let log = fs::metadata(service.data().join("runs/1-1/output.log")).unwrap();
    assert!(log.len() <= (1 << 20) + 200, "{}", log.len());
    let api = service.api().get(&format!("/api/v1/runs/{}/log", run.id));
    let text = api.text();
    assert_names(&text, &["the beginning\n", "the end\n", "bytes not kept"]);
    assert_names(
        &run.remarks.join("\n"),
        &["of its output were left out", "agent.log_cap_mib"],
    );
    assert_eq!(done.runs.len(), service.runs("FLOOD").len());
    others_go_on(&mut service, "OTHER");
}

#[test]
fn an_agent_that_ignores_term_is_killed_with_its_whole_tree_and_its_work_is_kept() {
    let (repo, other) = (Repo::new(), Repo::new());
    let stubborn = "trap '' TERM\n\
        setsid sh -c 'trap \"\" TERM; while :; do sleep 0.2; done' >/dev/null 2>&1 &\n\
        here stubborn; echo $! >\"$out/child\"; while :; do sleep 0.2; done";
    let slow = format!("{TWO_STAGES}\n[agents.developer]\ntimeout_s = 4\n");
    let mut service = Setup::new()
        .set("queue.max_attempts", 1)
        .set("max_concurrency", 2)
        .project(
            Project::new("shop", &repo)
                .agent(&developer(&[("STUBBORN", stubborn)]))
                .then(&slow),
        )
        .project(Project::new("other", &other).then(TWO_STAGES))
        .start();
    service.add_task(&AddTask {
        project: Some("shop".to_owned()),
        id: Some("STUBBORN".to_owned()),
        title: "Never ends".to_owned(),
        ..AddTask::default()
    });
    let (agent, _) = service.wait_here("stubborn");
    wait_until("its child is known", || !service.told("child").is_empty());
    let child: i32 = service.told("child").trim().parse().unwrap();
    let (detail, reason) = blocked(&mut service, "STUBBORN");
    assert_eq!(reason, "exit code 137 SIGKILL (timeout after 4s)");
    assert!(!lives(agent) && !lives(child), "something outlived the run");
    assert!(kept(&service, "shop", &detail).contains(&"work-STUBBORN".to_owned()));
    service.add_task(&AddTask {
        project: Some("other".to_owned()),
        id: Some("OTHER".to_owned()),
        title: "Other".to_owned(),
        ..AddTask::default()
    });
    service.wait_status("OTHER", "done");
}

#[test]
fn what_an_agent_leaves_running_is_ended_and_does_not_keep_its_run_from_ending() {
    let repo = Repo::new();
    let forks = "sleep 1000 & echo $! >\"$out/kids\"; setsid sleep 1000 & echo $! >>\"$out/kids\"\n\
        (setsid sh -c 'echo $$ >>\"$0\"; exec sleep 1000' \"$out/kids\" &)\n\
        while [ \"$(wc -l <\"$out/kids\")\" -lt 3 ]; do sleep 0.02; done; exit 0";
    let mut service = service(&repo, &developer(&[("FORKS", forks)]));
    add(&service, "FORKS");
    service.wait_status("FORKS", "done");
    let kids: Vec<i32> = service
        .told("kids")
        .lines()
        .map(|l| l.trim().parse().unwrap())
        .collect();
    assert_eq!(kids.len(), 3);
    assert!(!kids.iter().any(|&pid| lives(pid)), "{kids:?}");
    assert_names(&service.runs("FORKS")[0].remarks.join("\n"), &["left behind"]);
    others_go_on(&mut service, "OTHER");
}

#[test]
fn what_is_no_text_is_shown_as_it_is_and_never_breaks_an_answer() {
    let repo = Repo::new();
    let bytes = r"printf 'caf\303\251 \377\376 \033[31m\000 end\n'; printf '\377\n' >&2; exit 3";
    let mut service = service(&repo, &developer(&[("BYTES", bytes)]));
    add(&service, "BYTES");
    let (_, reason) = blocked(&mut service, "BYTES");
    assert_eq!(reason, "exit code 3");
    let run = service.runs("BYTES")[0].id;
    let log = service.api().get(&format!("/api/v1/runs/{run}/log"));
    let printed = b"caf\xc3\xa9 \xff\xfe \x1b[31m\0 end\n";
    assert!(
        log.body.windows(printed.len()).any(|w| w == printed),
        "{:?}",
        log.body
    );
    let plain = service.cli(&["run", "logs", "BYTES"]);
    assert!(plain.status.success());
    assert_eq!(plain.stdout, log.body, "redirected, every byte is there");
    let lines = service.cli_ok(&["--json", "run", "logs", "BYTES"]);
    let text: String = lines
        .lines()
        .map(|l| {
            serde_json::from_str::<Value>(l).unwrap()["text"]
                .as_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    assert_names(&text, &["café \u{fffd}\u{fffd} \u{1b}[31m\0 end\n"]);
    for page in [vec!["task", "show", "BYTES"], vec!["run", "show", "1"]] {
        assert!(!service.cli_ok(&page).contains('\u{1b}'));
    }
    others_go_on(&mut service, "OTHER");
}

#[test]
fn a_log_that_cannot_be_written_is_noted_and_the_run_is_finished() {
    let repo = Repo::new();
    let mut service = service(&repo, &developer(&[("FULL", "echo nobody will read this")]));
    let run_dir = service.data().join("runs/1-1");
    // A folder in its place refuses every byte; a full disk itself is tried where the shim is.
    fs::create_dir_all(run_dir.join("output.log")).unwrap();
    add(&service, "FULL");
    let done = service.wait_status("FULL", "done");
    let run = &service.runs("FULL")[0];
    assert_eq!(run.exit.as_deref(), Some("exit code 0"));
    assert_names(
        &run.remarks.join("\n"),
        &["could not be written", "directory", "data_dir"],
    );
    let told = |text: &str| text.contains("the log of run 1 could not be written: Is a directory");
    assert_eq!(done.events.iter().filter(|e| told(&e.text)).count(), 1);
    assert_names(&service.cli_ok(&["run", "show", "1"]), &["could not be written"]);
    others_go_on(&mut service, "OTHER");
}

#[test]
fn an_agent_that_dies_of_a_signal_is_told_by_its_name() {
    let repo = Repo::new();
    let mut service = service(&repo, &developer(&[("SIGNAL", "kill -SEGV $$")]));
    add(&service, "SIGNAL");
    let (detail, reason) = blocked(&mut service, "SIGNAL");
    assert_eq!(reason, "exit code 139 SIGSEGV");
    assert!(kept(&service, "shop", &detail).contains(&"work-SIGNAL".to_owned()));
    others_go_on(&mut service, "OTHER");
}
