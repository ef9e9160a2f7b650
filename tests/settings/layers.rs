//! Layers, sources, secrets, and what a person is told.

use std::time::Duration;

use insta::assert_snapshot;
use orch::domain::pipeline::Role;
use orch::settings::{LogFormat, ShutdownMode};

use super::Start;

#[test]
fn the_defaults_run() {
    let start = Start::new();
    let s = start.settings();
    assert_eq!(s.server.listen.to_string(), "127.0.0.1:8500");
    assert_eq!(s.data_dir, start.path().join("data"));
    assert_eq!(s.repos_dir, start.path().join("data/repos"));
    assert_eq!(s.projects_dir, start.path().join("data/projects"));
    assert_eq!(
        s.database.url,
        format!("sqlite:{}/data/orch.db", start.path().display())
    );
    assert_eq!(
        (s.node.as_str(), s.max_concurrency, s.queue.max_attempts),
        ("local", 1, 2)
    );
    assert_eq!((s.shutdown, s.log.format), (ShutdownMode::Leave, LogFormat::Auto));
    assert_eq!(s.agent.log_cap_bytes, 64 << 20);
    assert_eq!(start.warnings(), "");
}

#[test]
fn the_environment_wins_over_the_file_and_the_file_over_the_defaults() {
    let start = Start::new()
        .file("max_concurrency = 4\nnode = \"a\"\n[queue]\nmax_attempts = 3\n")
        .env("ORCH_MAX_CONCURRENCY", "7")
        .env("PATH", "/bin");
    let s = start.settings();
    assert_eq!(
        (
            s.max_concurrency,
            s.queue.max_attempts,
            s.queue.max_transient_attempts
        ),
        (7, 3, 5)
    );
    assert_eq!(start.shown("max_concurrency"), "7 from env ORCH_MAX_CONCURRENCY");
    assert_eq!(start.shown("queue.max_attempts"), "3 from file /x/orch.toml:4");
    assert_eq!(start.shown("queue.max_transient_attempts"), "5 from default");
    assert_eq!(start.shown("repos_dir"), "\"/x/data/repos\" from default");
}

#[test]
fn the_file_may_be_named_by_the_environment_and_the_command_line_wins() {
    let start = Start::new();
    start.write("by-env.toml", "max_concurrency = 2");
    let mut start = start.env("ORCH_CONFIG", "by-env.toml");
    assert_eq!(start.settings().max_concurrency, 2);
    start.options.config_file = Some(start.write("by-option.toml", "max_concurrency = 3"));
    assert_eq!(start.settings().max_concurrency, 3);

    let missing = Start::new().env("ORCH_CONFIG", "nowhere.toml");
    assert_snapshot!(missing.error(), @"env ORCH_CONFIG: cannot read /x/nowhere.toml: No such file or directory (os error 2); name a readable file or none");
}

#[test]
fn every_name_that_older_installations_use_still_works() {
    let texts = [
        ("ORCH_DB_PATH", "db_path", "/srv/orch.db"),
        ("ORCH_REPOS_DIR", "repos_dir", "/srv/repos"),
        ("ORCH_GITEA_URL", "gitea.url", "https://git.example.org"),
        ("ORCH_GITEA_TOKEN", "gitea.token", "t"),
        ("ORCH_GITEA_OWNER", "gitea.owner", "o"),
        ("ORCH_GITEA_WEBHOOK_SECRET", "gitea.webhook_secret", "s"),
        ("ORCH_PLANE_URL", "plane.url", "https://plane.example.org"),
        ("ORCH_PLANE_API_TOKEN", "plane.api_token", "t"),
        ("ORCH_PLANE_WORKSPACE", "plane.workspace", "w"),
        ("ORCH_PLANE_WEBHOOK_SECRET", "plane.webhook_secret", "s"),
        ("ORCH_TELEGRAM_BOT_TOKEN", "telegram.bot_token", "t"),
        ("ORCH_TELEGRAM_CHAT_ID", "telegram.chat_id", "-100123"),
        (
            "ORCH_POST_DEPLOY_BASE_URL",
            "post_deploy.base_url",
            "https://shop.example.org",
        ),
        (
            "ORCH_RECONCILE_GRACE_OVERRIDES_JSON",
            "reconcile.grace_overrides_json",
            "{\"review\":300}",
        ),
        (
            "ORCH_AGENT_TIMEOUT_OVERRIDES_JSON",
            "agent.timeout_overrides_json",
            "{\"tester\":60}",
        ),
    ];
    let plain = [
        ("ORCH_MAX_CONCURRENCY", "max_concurrency", "3"),
        ("ORCH_RECONCILE_ENABLED", "reconcile.enabled", "false"),
        ("ORCH_RECONCILE_PLANE_ENABLED", "reconcile.plane_enabled", "false"),
        ("ORCH_RECONCILE_INTERVAL_S", "reconcile.interval_s", "61"),
        (
            "ORCH_RECONCILE_GRACE_DEFAULT_S",
            "reconcile.grace_default_s",
            "62",
        ),
        (
            "ORCH_RECONCILE_NOTIFY_UNBLOCK",
            "reconcile.notify_unblock",
            "false",
        ),
        (
            "ORCH_RECONCILE_SKIP_BLOCKED_ENABLED",
            "reconcile.skip_blocked_enabled",
            "false",
        ),
        ("ORCH_REAPER_ENABLED", "reaper.enabled", "false"),
        ("ORCH_REAPER_INTERVAL_S", "reaper.interval_s", "63"),
        ("ORCH_REAPER_DEAD_TICKS", "reaper.dead_ticks", "3"),
        ("ORCH_REAPER_MAX_RUNNING_S", "reaper.max_running_s", "7200"),
        ("ORCH_REAPER_FINALIZE_GRACE_S", "reaper.finalize_grace_s", "64"),
        ("ORCH_LEASE_RECLAIM_ENABLED", "lease_reclaim.enabled", "false"),
        ("ORCH_MERGE_LOCK_TIMEOUT_S", "merge.lock_timeout_s", "65"),
        (
            "ORCH_STAGING_INFRA_TOLERANCE_ENABLED",
            "staging.infra_tolerance_enabled",
            "true",
        ),
        (
            "ORCH_DEPLOY_REQUIRE_MANUAL_APPROVE",
            "deploy.require_manual_approve",
            "false",
        ),
        (
            "ORCH_POST_DEPLOY_AUTO_ROLLBACK",
            "post_deploy.auto_rollback",
            "true",
        ),
    ];
    let mut start = Start::new().env("ORCH_MERGE_GATE_REPOS", "orch, our-team/shop,");
    for (name, _, value) in texts.iter().chain(&plain) {
        start = start.env(name, value);
    }
    assert_eq!(start.warnings(), "");
    let secret = |key: &str| key.contains("token") || key.contains("secret");
    for (name, key, value) in texts {
        let value = if secret(key) {
            "***".to_owned()
        } else {
            format!("{value:?}")
        };
        assert_eq!(start.shown(key), format!("{value} from env {name}"));
    }
    for (name, key, value) in plain {
        assert_eq!(start.shown(key), format!("{value} from env {name}"));
    }
    let s = start.settings();
    assert_eq!(s.merge.gate_repos, ["orch", "our-team/shop"]);
    assert_eq!(s.database.url, "sqlite:/srv/orch.db");
    assert_eq!(s.agent.timeout_of(Role::Tester), Duration::from_secs(60));
    assert_eq!(s.agent.timeout_of(Role::Developer), Duration::from_secs(1800));
    assert_eq!(s.reconcile.grace_of("review"), Duration::from_secs(300));
}

#[test]
fn everything_wrong_in_a_file_is_told_at_once_with_key_value_and_line() {
    let start = Start::new().file(
        r#"max_concurency = 2
max_concurrency = "two"
shutdown = "later"
queue = 5
[server]
listen = "8500"
[plane]
api_token = 12345
url = "plane.example.org"
[gitea]
tokn = "s3cret"
[agent]
timeout_s = 0
env_allow = "PATH"
[reapr]
enabled = true
"#,
    );
    assert_snapshot!(start.error(), @r#"
    file /x/orch.toml:1: unknown key "max_concurency"; did you mean "max_concurrency"?
    file /x/orch.toml:4: queue = 5: is a section; write its keys below [queue]
    file /x/orch.toml:11: unknown key "gitea.tokn"; did you mean "gitea.token"?
    file /x/orch.toml:16: unknown key "reapr.enabled"; did you mean "reaper.enabled"?
    file /x/orch.toml:2: max_concurrency = "two": give a whole number from 1 to 1000000
    file /x/orch.toml:3: shutdown = "later": give one of leave, drain, stop
    file /x/orch.toml:6: server.listen = "8500": give an IP address and a port, such as 127.0.0.1:8500
    file /x/orch.toml:13: agent.timeout_s = 0: give whole seconds, at least 1 and at most 31622400
    file /x/orch.toml:14: agent.env_allow = "PATH": give a list of texts
    file /x/orch.toml:9: plane.url = "plane.example.org": give an http:// or https:// address, without user and password
    file /x/orch.toml:8: plane.api_token = ***: give a text of one line, in quotes
    "#);
}

#[test]
fn a_file_that_is_not_toml_names_the_line() {
    let start = Start::new().file("node = \"a\"\nmax_concurrency = = 2\n");
    assert_snapshot!(start.error(), @"file /x/orch.toml:2: not valid TOML: extra `=`, expected nothing");
}

#[test]
fn a_wrong_type_in_the_environment_names_the_variable() {
    let start = Start::new()
        .env("ORCH_MAX_CONCURRENCY", "many")
        .env("ORCH_REAPER_ENABLED", "perhaps")
        .env("ORCH_DATABASE_URL", "mysql://root:hunter2@h/db")
        .env("ORCH_NODE", "../x")
        .env("ORCH_LOG_LEVEL", "loud");
    assert_snapshot!(start.error(), @r#"
    env ORCH_MAX_CONCURRENCY: max_concurrency = "many": give a whole number from 1 to 1000000
    env ORCH_DATABASE_URL: database.url = ***: give sqlite:<file> or postgres://user:password@host/name
    env ORCH_REAPER_ENABLED: reaper.enabled = "perhaps": give true or false
    env ORCH_LOG_LEVEL: log.level = "loud": give one of error, warn, info, debug, trace
    env ORCH_NODE: node = "../x": use 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit, without '..' and not ending in '.' or '.lock'
    "#);
}

#[test]
fn combinations_that_cannot_work_name_every_key_and_its_source() {
    let start = Start::new()
        .file("db_path = \"old.db\"\n[agent]\ntimeout_cap_s = 3500\n")
        .env("ORCH_DATABASE_URL", "postgres://orch:hunter2@db/orch")
        .env("ORCH_AGENT_TIMEOUT_S", "4000")
        .env(
            "ORCH_AGENT_TIMEOUT_OVERRIDES_JSON",
            r#"{"developer": 3600, "tester": 60}"#,
        );
    assert_snapshot!(start.error(), @r#"
    database.url = "postgres://orch:***@db/orch" (env ORCH_DATABASE_URL), db_path = "old.db" (file /x/orch.toml:1): both name the database; keep one of them
    agent.timeout_s = 4000 (env ORCH_AGENT_TIMEOUT_S), agent.timeout_cap_s = 3500 (file /x/orch.toml:3): the timeout is above its cap; lower it or raise the cap
    agent.timeout_overrides_json = "{\"developer\": 3600, \"tester\": 60}" (env ORCH_AGENT_TIMEOUT_OVERRIDES_JSON), agent.timeout_cap_s = 3500 (file /x/orch.toml:3): the developer's 3600 s are above the cap; lower them or raise the cap
    reaper.max_running_s = 3600 (default), agent.timeout_cap_s = 3500 (file /x/orch.toml:3), agent.check_timeout_s = 540 (default), agent.kill_grace_s = 10 (default), reaper.finalize_grace_s = 300 (default): a run within its timeouts could be reaped; raise reaper.max_running_s above 4360, the sum of the others (the grace twice)
    "#);
}

#[test]
fn people_must_be_told_of_a_disk_before_claims_stop() {
    let start = |alert, stop| {
        Start::new()
            .env("ORCH_HOST_DISK_ALERT_PERCENT", alert)
            .env("ORCH_HOST_DISK_STOP_PERCENT", stop)
    };
    start("99", "100").settings();
    assert_snapshot!(start("90", "90").error(), @"host.disk_alert_percent = 90 (env ORCH_HOST_DISK_ALERT_PERCENT), host.disk_stop_percent = 90 (env ORCH_HOST_DISK_STOP_PERCENT): people must be told before claims stop: make the first the smaller one");
    let never = Start::new().env("ORCH_RETENTION_JOBS_DAYS", "0").settings();
    let keep = never.retention.keep;
    assert_eq!(
        (keep.jobs, keep.logs),
        (None, Some(Duration::from_secs(14 * 86_400)))
    );
}

#[test]
fn the_longest_run_must_end_before_the_reaper_may_take_it() {
    // 2700 + 10, then 540 + 10, then 300
    let exact = Start::new().env("ORCH_REAPER_MAX_RUNNING_S", "3560");
    assert!(exact.error().contains("reaper.max_running_s"));
    Start::new().env("ORCH_REAPER_MAX_RUNNING_S", "3561").settings();
}

#[test]
fn what_is_only_odd_is_ignored_with_a_warning() {
    let start = Start::new()
        .file("[reconcile]\ngrace_overrides_json = '{\"review\": 60, \"a b\": 1, \"testing\": \"x\"}'\n")
        .env("ORCH_MAX_CONCURENCY", "2")
        .env("ORCH_LEGACY_THING", "x")
        .env("ORCH_API_URL", "http://127.0.0.1:1")
        .env("ORCH_LOG", "debug")
        .env("ORCH_QUEUE_TICK_S", "")
        .env("ORCH_GITEA_URL", "")
        .env("ORCH_TELEGRAM_BOT_TOKEN", "t")
        .env("ORCH_RECONCILE_GRACE_OVERRIDES_JSON", "{review: 60")
        .env(
            "ORCH_AGENT_TIMEOUT_OVERRIDES_JSON",
            r#"{"developper": 60, "developer": -1, "tester": 60}"#,
        );
    assert_snapshot!(start.warnings(), @r#"
    env ORCH_MAX_CONCURENCY: unknown name: ignored; did you mean "ORCH_MAX_CONCURRENCY"?
    env ORCH_LEGACY_THING: unknown name: ignored
    env ORCH_QUEUE_TICK_S: is empty: ignored, queue.tick_s is taken from the layer below
    env ORCH_RECONCILE_GRACE_OVERRIDES_JSON: reconcile.grace_overrides_json is not a JSON object: ignored (key must be a string at line 1 column 2)
    env ORCH_AGENT_TIMEOUT_OVERRIDES_JSON: agent.timeout_overrides_json: "developer" is ignored: -1 is not a whole number of seconds above 0
    env ORCH_AGENT_TIMEOUT_OVERRIDES_JSON: agent.timeout_overrides_json: "developper" is ignored: the roles are analyst, architect, developer, reviewer, tester, deployer
    file /x/orch.toml:2: reconcile.grace_overrides_json: "testing" is ignored: "x" is not a whole number of seconds above 0
    file /x/orch.toml:2: reconcile.grace_overrides_json: "a b" is ignored: stage name "a b" is not usable: use 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit, without '..' and not ending in '.' or '.lock'
    env ORCH_TELEGRAM_BOT_TOKEN: telegram.chat_id is not set: no messages are sent
    "#);
    let s = start.settings();
    assert_eq!(s.agent.timeout_overrides.len(), 1);
    // The broken text in the environment lets the file's show through.
    assert_eq!(s.reconcile.grace_of("review"), Duration::from_secs(60));
}

#[test]
fn a_secret_can_stand_in_a_file_of_its_own() {
    let start =
        Start::new().file("[gitea]\ntoken_file = \"gitea-token\"\n[telegram]\nbot_token_file = \"unread\"\n");
    start.write("plane-token", "from-plane\n");
    start.write("gitea-token", "from-gitea");
    let start = start
        .env("ORCH_PLANE_API_TOKEN_FILE", "plane-token")
        // A higher layer wins: the file below is not even looked for.
        .env("ORCH_TELEGRAM_BOT_TOKEN", "direct")
        .env("ORCH_TELEGRAM_CHAT_ID", "1");
    let s = start.settings();
    assert_eq!(s.plane.api_token.unwrap().expose(), "from-plane");
    assert_eq!(s.gitea.token.unwrap().expose(), "from-gitea");
    assert_eq!(s.telegram.bot_token.unwrap().expose(), "direct");
    assert_eq!(
        start.shown("plane.api_token"),
        "*** from file named by ORCH_PLANE_API_TOKEN_FILE"
    );
    assert_eq!(
        start.shown("gitea.token"),
        "*** from file named by gitea.token_file (file /x/orch.toml:2)"
    );
}

#[test]
fn a_secret_file_that_gives_nothing_names_the_variable() {
    let start = Start::new().file("[gitea]\ntoken = \"a\"\ntoken_file = \"b\"\n");
    start.write("empty", "\n");
    let start = start
        .env("ORCH_PLANE_API_TOKEN_FILE", "/nowhere/plane")
        .env("ORCH_API_TOKEN_FILE", "empty")
        .env("ORCH_TELEGRAM_BOT_TOKEN", "x")
        .env("ORCH_TELEGRAM_BOT_TOKEN_FILE", "y");
    assert_snapshot!(start.error(), @r#"
    file /x/orch.toml:2: gitea.token and gitea.token_file are both set: keep one of them
    env ORCH_TELEGRAM_BOT_TOKEN: ORCH_TELEGRAM_BOT_TOKEN and ORCH_TELEGRAM_BOT_TOKEN_FILE are both set: keep one of them
    env ORCH_API_TOKEN_FILE: api_token: the file "empty" that should hold it is empty
    env ORCH_PLANE_API_TOKEN_FILE: plane.api_token: cannot read the file "/nowhere/plane" that should hold it: No such file or directory (os error 2)
    "#);
}

#[test]
fn no_secret_is_ever_shown() {
    let start = Start::new()
        .env("ORCH_API_TOKEN", "hunter2")
        .env("ORCH_GITEA_TOKEN", "hunter2")
        .env("ORCH_PLANE_WEBHOOK_SECRET", "hunter2")
        .env("ORCH_DATABASE_URL", "postgres://orch:hunter2@db/orch");
    let s = start.settings();
    assert!(!format!("{:?}", s.describe()).contains("hunter2"));
    assert!(!format!("{:?} {:?} {:?}", s.api_token, s.database, s.plane).contains("hunter2"));
    assert_eq!(
        start.shown("database.url"),
        "\"postgres://orch:***@db/orch\" from env ORCH_DATABASE_URL"
    );
    assert_eq!(s.database.url, "postgres://orch:hunter2@db/orch");
    assert_eq!(s.secrets().len(), 3);
    let refused = Start::new()
        .env("ORCH_GITEA_URL", "https://me:hunter2@git.example.org/")
        .env("ORCH_AGENT_ENV_ALLOW", "PATH,ORCH_GITEA_TOKEN");
    assert_snapshot!(refused.error(), @r#"
    env ORCH_GITEA_URL: gitea.url = "https://me:***@git.example.org/": give an http:// or https:// address, without user and password
    env ORCH_AGENT_ENV_ALLOW: agent.env_allow = ["PATH", "ORCH_GITEA_TOKEN"]: ORCH_GITEA_TOKEN is a secret of the service: remove it
    "#);
}

#[test]
fn relative_paths_begin_in_the_folder_of_the_start() {
    let start = Start::new().file("data_dir = \"state\"\n[database]\nurl = \"sqlite:./db/x.db\"\n");
    let s = start.settings();
    assert_eq!(s.repos_dir, start.path().join("state/repos"));
    assert_eq!(
        s.database.url,
        format!("sqlite:{}/db/x.db", start.path().display())
    );
}

#[test]
fn on_a_shared_database_a_node_without_the_program_is_refused() {
    let shared = "[database]\nurl = \"postgres://u:p@db/orch\"\n[nodes.mill]\nhost = \"mill\"\n";
    let error = Start::new().file(shared).error();
    assert!(
        error.contains("nodes.mill.orch is missing") && error.contains("install this program there"),
        "{error}"
    );
    let there = format!("{shared}orch = \"/usr/bin/orch\"\n");
    assert_eq!(Start::new().file(&there).settings().nodes.ssh.len(), 1);
}

#[test]
fn nodes_are_sections_of_a_file_and_shown_as_they_count() {
    let start = Start::new().file(
        "max_concurrency = 4\nnode_slots = 2\nnode_labels = [\"x86\"]\n[nodes.mill]\nhost = \"me@mill\"\nport = 2222\nslots = 3\n\
         labels = [\"gpu\"]\nidentity_file = \"mill.key\"\norch = \"/usr/bin/orch\"\n[nodes.bare]\nhost = \"10.0.0.7\"\n",
    );
    let nodes = start.settings().nodes;
    assert_eq!((nodes.own_slots, nodes.own_labels.len()), (2, 1));
    let names: Vec<_> = nodes
        .ssh
        .iter()
        .map(|n| (n.name.as_str(), n.slots, n.root.as_str()))
        .collect();
    assert_eq!(names, [("bare", 1, ".orch-node"), ("mill", 3, ".orch-node")]);
    assert_eq!(
        nodes.ssh[1].identity_file.as_deref(),
        Some(start.path().join("mill.key").as_path())
    );
    assert_eq!(
        start.shown("nodes.mill"),
        "host = \"me@mill\", port = 2222, identity_file = \"/x/mill.key\", slots = 3, labels = {\"gpu\"}, \
         root = \".orch-node\", offline_s = 300, orch = \"/usr/bin/orch\" from file /x/orch.toml:4"
    );
}

#[test]
fn a_node_that_cannot_be_names_key_value_and_line() {
    let start = Start::new().file(
        "[nodes.mill]\nhost = \"-oProxyCommand=sh\"\nslts = 2\nport = 70000\nroot = \"~/x\"\norch = \"orch\"\nlabels = [\"a b\"]\n\
         [nodes.\"a b\"]\nhost = \"a\"\n[nodes.empty]\n[nodes.local]\nhost = \"two words\"\n",
    );
    let error = start.error();
    for expected in [
        "file /x/orch.toml:2: nodes.mill.host = \"-oProxyCommand=sh\": give a host or user@host",
        "file /x/orch.toml:3: unknown key \"nodes.mill.slts\"; did you mean \"slots\"?",
        "file /x/orch.toml:4: nodes.mill.port = 70000: give a port",
        "file /x/orch.toml:5: nodes.mill.root = \"~/x\": give a folder",
        "file /x/orch.toml:6: nodes.mill.orch = \"orch\": give the absolute path",
        "file /x/orch.toml:7: labels: \"a b\" is no label",
        "file /x/orch.toml:8: nodes.a b: use 1 to 64 letters",
        "file /x/orch.toml:10: nodes.empty.host is missing",
        "file /x/orch.toml:12: nodes.local.host = \"two words\"",
        "file /x/orch.toml:11: nodes.local is called like the service's own node",
    ] {
        assert!(error.contains(expected), "{expected}\n---\n{error}");
    }
    let other = Start::new().file("nodes = 5\n");
    assert!(other.error().contains("nodes = 5"), "{}", other.error());
}
