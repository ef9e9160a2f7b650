//! The exact command of each agent.

use std::collections::BTreeMap;
use std::path::Path;

use orch::agents::preset::{MAX_ARGUMENT, resolve};
use orch::agents::{AgentChoice, AgentCommand, AgentError, Presets, PromptDelivery, PromptInput};

fn run(choice: &AgentChoice, text: &str) -> Result<AgentCommand, AgentError> {
    let prompt = PromptInput {
        text,
        file: Path::new("/run/7/prompt.md"),
    };
    resolve(choice, &Presets::builtin().unwrap(), prompt, Path::new("/work/7"))
}

fn preset(name: &str) -> AgentChoice {
    AgentChoice {
        preset: Some(name.into()),
        ..AgentChoice::default()
    }
}

fn command(argv: &[&str]) -> AgentChoice {
    AgentChoice {
        command: Some(argv.iter().map(|a| (*a).to_owned()).collect()),
        ..AgentChoice::default()
    }
}

fn argv(command: &AgentCommand) -> Vec<&str> {
    let args = command.args.iter().map(String::as_str);
    std::iter::once(command.program.as_str()).chain(args).collect()
}

#[test]
fn every_preset_has_the_documented_command_for_every_way_of_passing_the_prompt() {
    let mut table = String::new();
    for name in ["claude", "codex", "gemini", "opencode", "cursor", "copilot"] {
        for (model, prompt) in [
            (None, None),
            (Some("m1"), Some(PromptDelivery::Stdin)),
            (Some("m1"), Some(PromptDelivery::File)),
            (Some("m1"), Some(PromptDelivery::Argument)),
        ] {
            let choice = AgentChoice {
                model: model.map(str::to_owned),
                prompt,
                ..preset(name)
            };
            let got = run(&choice, "Do it.").unwrap();
            let stdin = if got.stdin { " < prompt" } else { "" };
            table.push_str(&format!("{:?}{stdin} [{:?}]\n", argv(&got), got.usage_format));
        }
    }
    insta::assert_snapshot!(table, @r#"
    ["claude", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "bypassPermissions"] < prompt [Claude]
    ["claude", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "bypassPermissions", "--model", "m1"] < prompt [Claude]
    ["claude", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "bypassPermissions", "--model", "m1", "Read the file /run/7/prompt.md and do what it says."] [Claude]
    ["claude", "-p", "--output-format", "stream-json", "--verbose", "--permission-mode", "bypassPermissions", "--model", "m1", "Do it."] [Claude]
    ["codex", "exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "-"] < prompt [Codex]
    ["codex", "exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "--model", "m1", "-"] < prompt [Codex]
    ["codex", "exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "--model", "m1", "Read the file /run/7/prompt.md and do what it says."] [Codex]
    ["codex", "exec", "--json", "--dangerously-bypass-approvals-and-sandbox", "--model", "m1", "Do it."] [Codex]
    ["gemini", "--approval-mode", "yolo", "--output-format", "stream-json", "-p", "Do it."] [Gemini]
    ["gemini", "--approval-mode", "yolo", "--output-format", "stream-json", "--model", "m1"] < prompt [Gemini]
    ["gemini", "--approval-mode", "yolo", "--output-format", "stream-json", "--model", "m1", "-p", "Read the file /run/7/prompt.md and do what it says."] [Gemini]
    ["gemini", "--approval-mode", "yolo", "--output-format", "stream-json", "--model", "m1", "-p", "Do it."] [Gemini]
    ["opencode", "run", "--format", "json", "--dir", "/work/7", "Do it."] [Opencode]
    ["opencode", "run", "--format", "json", "--dir", "/work/7", "--model", "m1"] < prompt [Opencode]
    ["opencode", "run", "--format", "json", "--dir", "/work/7", "--model", "m1", "Read the file /run/7/prompt.md and do what it says."] [Opencode]
    ["opencode", "run", "--format", "json", "--dir", "/work/7", "--model", "m1", "Do it."] [Opencode]
    ["cursor-agent", "-p", "--output-format", "stream-json", "--force", "Do it."] [None]
    ["cursor-agent", "-p", "--output-format", "stream-json", "--force", "--model", "m1"] < prompt [None]
    ["cursor-agent", "-p", "--output-format", "stream-json", "--force", "--model", "m1", "Read the file /run/7/prompt.md and do what it says."] [None]
    ["cursor-agent", "-p", "--output-format", "stream-json", "--force", "--model", "m1", "Do it."] [None]
    ["copilot", "--allow-all-tools", "-p", "Do it."] [None]
    ["copilot", "--allow-all-tools", "--model", "m1"] < prompt [None]
    ["copilot", "--allow-all-tools", "--model", "m1", "-p", "Read the file /run/7/prompt.md and do what it says."] [None]
    ["copilot", "--allow-all-tools", "--model", "m1", "-p", "Do it."] [None]
    "#);
}

#[test]
fn the_presets_variables_come_with_it_and_the_projects_own_win() {
    let mut choice = AgentChoice {
        model: Some("m1".into()),
        ..preset("opencode")
    };
    let env = |c: &AgentChoice| run(c, "x").unwrap().env;
    assert_eq!(
        env(&choice),
        BTreeMap::from([
            ("OPENCODE_PERMISSION".to_owned(), r#"{"*":"allow"}"#.to_owned()),
            ("ORCH_MODEL".to_owned(), "m1".to_owned()),
            ("ORCH_PROMPT_FILE".to_owned(), "/run/7/prompt.md".to_owned()),
        ])
    );
    choice.env.insert("OPENCODE_PERMISSION".into(), "{}".into());
    assert_eq!(env(&choice)["OPENCODE_PERMISSION"], "{}");
}

#[test]
fn a_command_says_by_its_placeholders_how_it_takes_the_prompt() {
    type Case = (
        &'static [&'static str],
        Option<PromptDelivery>,
        &'static [&'static str],
        bool,
    );
    let table: &[Case] = &[
        (&["agent"], None, &["agent"], true),
        (&["agent", "-m={prompt}"], None, &["agent", "-m=Do it."], false),
        (
            &["agent", "{prompt_file}"],
            None,
            &["agent", "/run/7/prompt.md"],
            false,
        ),
        (
            &["agent"],
            Some(PromptDelivery::Argument),
            &["agent", "Do it."],
            false,
        ),
        (
            &["agent"],
            Some(PromptDelivery::File),
            &["agent", "/run/7/prompt.md"],
            false,
        ),
        (
            &["{workdir}/agent", "{prompt}"],
            Some(PromptDelivery::Stdin),
            &["/work/7/agent", "Do it."],
            true,
        ),
        (
            &["sh", "-c", "echo ${HOME} {} {other} {"],
            None,
            &["sh", "-c", "echo ${HOME} {} {other} {"],
            true,
        ),
    ];
    for (given, prompt, expected, stdin) in table {
        let choice = AgentChoice {
            prompt: *prompt,
            ..command(given)
        };
        let got = run(&choice, "Do it.").unwrap();
        assert_eq!(
            (argv(&got).as_slice(), got.stdin),
            (*expected, *stdin),
            "{given:?}"
        );
        assert_eq!(got.name, "command");
    }
    let named = AgentChoice {
        preset: Some("command".into()),
        ..command(&["agent"])
    };
    assert_eq!(run(&named, "x").unwrap().name, "command");
}

#[test]
fn a_command_beside_a_preset_keeps_its_name_and_usage() {
    let choice = AgentChoice {
        preset: Some("claude".into()),
        ..command(&["/opt/claude-next", "-p"])
    };
    let got = run(&choice, "x").unwrap();
    assert_eq!(argv(&got), ["/opt/claude-next", "-p"]);
    assert_eq!(
        (got.name.as_str(), got.usage_format),
        ("claude", orch::agents::UsageFormat::Claude)
    );
}

#[test]
fn a_wrapper_stands_before_the_program() {
    let choice = AgentChoice {
        wrapper: ["bwrap", "--bind", "{workdir}", "/w", "--"]
            .map(String::from)
            .to_vec(),
        ..preset("copilot")
    };
    let got = run(&choice, "x").unwrap();
    let expected = [
        "bwrap",
        "--bind",
        "/work/7",
        "/w",
        "--",
        "copilot",
        "--allow-all-tools",
        "-p",
        "x",
    ];
    assert_eq!(argv(&got), expected);
}

#[test]
fn a_prompt_stays_one_argument_whatever_it_holds() {
    let nasty = "'; rm -rf / #\n$(id) `id` {model} {prompt_file} {prompt} \"x\"";
    let got = run(&preset("cursor"), nasty).unwrap();
    assert_eq!(got.args.last().unwrap(), nasty);
    assert_eq!(
        run(&preset("cursor"), "--force").unwrap().args.last().unwrap(),
        "\n--force"
    );
    assert_eq!(
        run(&preset("cursor"), "a\0b").unwrap().args.last().unwrap(),
        "a\u{fffd}b"
    );
}

#[test]
fn a_prompt_too_long_for_an_argument_is_pointed_to() {
    let fits = "x".repeat(MAX_ARGUMENT);
    assert_eq!(
        run(&preset("gemini"), &fits).unwrap().args.last().unwrap().len(),
        MAX_ARGUMENT
    );
    let long = "x".repeat(MAX_ARGUMENT + 1);
    let got = run(&preset("gemini"), &long).unwrap();
    assert_eq!(
        got.args.last().unwrap(),
        "Read the file /run/7/prompt.md and do what it says."
    );
}

#[test]
fn what_cannot_be_started_says_what_to_set() {
    let no_program = AgentChoice {
        wrapper: vec![String::new()],
        ..preset("claude")
    };
    let table = [
        (
            preset("clade"),
            "there is no agent preset \"clade\"; known: claude, codex, copilot, cursor, gemini, opencode, command (or give agent.command)",
        ),
        (
            AgentChoice::default(),
            "no agent is chosen: set agent.preset to one of claude, codex, copilot, cursor, gemini, opencode, or agent.command",
        ),
        (
            preset("command"),
            "no agent is chosen: set agent.preset to one of claude, codex, copilot, cursor, gemini, opencode, or agent.command",
        ),
        (
            command(&[]),
            "agent.command is empty: its first element is the program to start",
        ),
        (
            command(&[" "]),
            "agent.command is empty: its first element is the program to start",
        ),
        (
            no_program,
            "agent.wrapper is empty: its first element is the program to start",
        ),
        (
            command(&["agent", "--model={model}"]),
            "the command of agent \"command\" uses {model}, but no model is set: set agent.model",
        ),
    ];
    for (choice, message) in table {
        assert_eq!(run(&choice, "x").unwrap_err().to_string(), message);
    }
}

#[test]
fn an_operators_file_changes_keys_and_adds_presets() {
    let text = "[claude]\nprogram = '/opt/claude'\n\n[aider]\nprogram = 'aider'\nargs = ['--yes']\nprompt = 'argument'\nargument_args = ['--message', '{prompt}']\n";
    let presets = Presets::builtin().unwrap().overlaid("agents.toml", text).unwrap();
    let prompt = PromptInput {
        text: "Do it.",
        file: Path::new("/p"),
    };
    let get = |name| resolve(&preset(name), &presets, prompt, Path::new("/w")).unwrap();
    assert_eq!(get("claude").program, "/opt/claude");
    assert!(get("claude").stdin && get("claude").args.contains(&"bypassPermissions".to_owned()));
    assert_eq!(argv(&get("aider")), ["aider", "--yes", "--message", "Do it."]);
    let table = [
        ("[claude]\nprogramm = 'x'", "[claude]: unknown field `programm`"),
        ("[new]\nargs = []", "[new]: missing field `program`"),
        ("[claude]\nprogram = ''", "[claude]: program is empty"),
        ("[claude]\nusage = 'clod'", "[claude]: unknown variant `clod`"),
        ("[claude", "line 1"),
        ("claude = 1", "[claude]: invalid type"),
    ];
    for (text, expected) in table {
        let error = Presets::builtin()
            .unwrap()
            .overlaid("my.toml", text)
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("the agent presets in my.toml cannot be read: "),
            "{error}"
        );
        assert!(error.contains(expected), "{text:?} said: {error}");
    }
}
