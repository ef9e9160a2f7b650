//! `--help` teaches: every command has one, and those that do something show how.

use super::Orch;

const COMMANDS: &[&str] = &[
    "serve",
    "demo",
    "init",
    "task",
    "task add",
    "task list",
    "task show",
    "task approve",
    "task reject",
    "task confirm-deploy",
    "task cancel",
    "task unblock",
    "task start",
    "task needs-input",
    "task block",
    "queue",
    "queue show",
    "queue pause",
    "queue resume",
    "job",
    "job show",
    "job retry",
    "job cancel",
    "job prioritise",
    "deploy",
    "deploy list",
    "deploy release",
    "deploy settle",
    "lease",
    "lease list",
    "lease release",
    "repair",
    "repair check",
    "repair list",
    "repair stats",
    "repair reload",
    "breaker",
    "breaker list",
    "breaker reset",
    "budget",
    "node",
    "node list",
    "node blacklist",
    "node clear",
    "reap",
    "prune",
    "run",
    "run list",
    "run show",
    "run logs",
    "run rescue",
    "project",
    "project list",
    "events",
    "healed",
    "config",
    "config show",
    "doctor",
    "migrate",
    "completions",
];

/// Commands whose help shows at least one line to copy.
const WITH_EXAMPLES: &[&str] = &[
    "serve",
    "init",
    "task add",
    "task list",
    "task show",
    "task approve",
    "task reject",
    "task confirm-deploy",
    "task cancel",
    "task unblock",
    "queue",
    "job retry",
    "job cancel",
    "job prioritise",
    "deploy release",
    "deploy settle",
    "lease release",
    "repair check",
    "breaker reset",
    "node blacklist",
    "node clear",
    "reap",
    "run list",
    "run logs",
    "run rescue",
    "events",
    "healed",
    "config show",
    "doctor",
    "migrate",
    "completions",
];

#[test]
fn every_command_explains_itself() {
    let orch = Orch::new();
    for command in COMMANDS {
        let args: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let ended = orch.run(&args);
        assert_eq!(ended.code, 0, "{command}");
        assert!(
            ended.out.contains(&format!("Usage: orch {command}")),
            "{command}: {}",
            ended.out
        );
        assert!(ended.err.is_empty(), "{command}");
    }
}

#[test]
fn help_shows_lines_to_copy() {
    let orch = Orch::new();
    for command in WITH_EXAMPLES {
        let args: Vec<_> = command.split(' ').chain(["--help"]).collect();
        let help = orch.run(&args).out;
        let shown = help
            .lines()
            .any(|l| l.starts_with("  orch ") && l.contains(command));
        assert!(shown, "{command} shows no example:\n{help}");
    }
}

#[test]
fn the_exit_codes_are_documented() {
    let help = Orch::new().run(&["--help"]).out;
    for code in ["  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  70"] {
        assert!(
            help.lines().any(|l| l.starts_with(code)),
            "{code} is missing:\n{help}"
        );
    }
}

#[test]
fn without_a_command_the_help_is_shown_and_the_usage_is_wrong() {
    let ended = Orch::new().run(&[]);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("Usage: orch"));
}

#[test]
fn there_are_completions_for_three_shells() {
    let orch = Orch::new();
    for (shell, sign) in [
        ("bash", "complete -F _orch"),
        ("zsh", "#compdef orch"),
        ("fish", "complete -c orch"),
    ] {
        let ended = orch.run(&["completions", shell]);
        assert_eq!(ended.code, 0);
        assert!(
            ended.out.contains(sign) && ended.out.contains("confirm-deploy"),
            "{shell}"
        );
    }
    assert_eq!(orch.run(&["completions", "cmd"]).code, 2);
}
