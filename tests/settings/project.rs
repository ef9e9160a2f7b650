//! Project files: what is accepted, what it means, and which line is named when it is not.

use std::path::PathBuf;
use std::time::Duration;

use insta::assert_snapshot;
use orch::domain::forge::MergeStyle;
use orch::domain::id::StageName;
use orch::domain::pipeline::{GateKind, Pipeline, Role};
use orch::domain::task::{TaskStatus, TrackerKind};
use orch::settings::Project;
use orch::settings::project::{
    Ci, DeployBy, ForgeKind, NewAgent, NewProject, PromptDelivery, RevisionSource, load_all,
};

use super::Start;

fn parse(text: &str) -> Result<Project, String> {
    parse_with(&Start::new(), text)
}

fn parse_with(start: &Start, text: &str) -> Result<Project, String> {
    let source = PathBuf::from("/x/projects/shop.toml");
    Project::parse(text, &source, &start.settings()).map_err(|e| e.to_string())
}

fn refused(text: &str) -> String {
    parse(text).unwrap_err()
}

/// Stage and gates per line, with what else a stage does.
fn walk(pipeline: &Pipeline) -> String {
    let mut lines = Vec::new();
    for stage in pipeline.stages() {
        let gates: Vec<_> = stage.gates.iter().map(|g| g.name.as_str()).collect();
        let mut line = [&[stage.name.as_str()], &gates[..]].concat().join(" ");
        if stage.merges {
            line.push_str(" (merges)");
        }
        if stage.confirm {
            line.push_str(" (confirm)");
        }
        lines.push(line);
    }
    lines.join("\n")
}

const THREE_STAGES: &str = r#"
repo = "../src/shop"
test_command = "make test"

[[stage]]
name = "development"
role = "developer"
gates = ["ci_green", { name = "secrets", command = ["sh", "-c", "exit 0"], timeout_s = 60 }]

[[stage]]
name = "review"
role = "reviewer"
gates = ["reviewer_verdict"]
rollback_to = "development"

[[stage]]
name = "done"
"#;

#[test]
fn a_repository_alone_makes_a_project_with_the_default_pipeline() {
    let project = parse("repo = \"../src/./my-shop\"").unwrap();
    assert_eq!((project.name.as_str(), project.prefix.as_str()), ("shop", "SHOP"));
    assert_eq!(project.repo, "/x/projects/../src/my-shop");
    assert_eq!(project.main.as_str(), "main");
    assert_eq!(
        (project.ci, project.forge, project.tracker),
        (Ci::None, ForgeKind::Local, TrackerKind::Local)
    );
    assert_eq!(
        (project.max_concurrency, project.max_developer_retries),
        (None, 3)
    );
    assert!(!project.merge_gate, "nothing would be tested");
    assert!(project.deploy.require_manual_approve && !project.self_hosting);
    assert_eq!(project.deploy.by, DeployBy::Merge);
    assert_snapshot!(walk(&project.pipeline), @"
    created
    analysis analysis_complete analysis_approved
    architecture architecture_done
    development
    review reviewer_verdict
    testing tests_passed
    deploy-staging
    deploy (merges) (confirm)
    done
    ");
}

#[test]
fn a_test_command_stands_for_ci_where_the_forge_is_local() {
    let project =
        parse("repo = \"/src/shop\"\ntest_command = \"make test\"\n[deploy]\nby = \"agent\"").unwrap();
    assert_eq!(project.ci, Ci::Tests);
    let gates = |name: &str| {
        let stage = project
            .pipeline
            .stages()
            .iter()
            .find(|s| s.name.as_str() == name)
            .unwrap();
        stage.gates.iter().map(|g| g.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(gates("development"), ["ci_green", "tests_local"]);
    assert_eq!(gates("deploy"), ["deploy_status"]);
}

#[test]
fn three_stages_of_its_own() {
    let project = parse(THREE_STAGES).unwrap();
    assert_snapshot!(walk(&project.pipeline), @"
    created
    development ci_green secrets
    review reviewer_verdict (merges)
    done
    ");
    let command = &project.pipeline.stages()[1].gates[1].kind;
    let argv = ["sh", "-c", "exit 0"].map(str::to_owned).to_vec();
    assert_eq!(*command, GateKind::Command { argv, timeout_s: 60 });
    // A pipeline of its own asks for Confirm Deploy only where it says so.
    assert!(!project.deploy.require_manual_approve);
    let confirmed = THREE_STAGES.replace("rollback_to", "confirm = true\nrollback_to");
    assert!(parse(&confirmed).unwrap().deploy.require_manual_approve);
}

#[test]
fn what_agents_may_cost_is_as_the_settings_say_unless_the_project_does() {
    let start = Start::new().file("[budget]\ntask_usd = \"2.50\"\nproject_day_usd = 20\n");
    let budget = |own: &str| {
        let limits = parse_with(&start, &format!("repo = \"/srv/shop\"\n{own}"))
            .unwrap()
            .budget;
        (limits.task, limits.project_day)
    };
    assert_eq!(budget(""), (Some(2_500_000), Some(20_000_000)));
    assert_eq!(budget("[budget]\ntask_usd = \"0\"\n"), (None, Some(20_000_000)));
    assert_eq!(
        budget("[budget]\nproject_day_usd = \"0.000001\"\n"),
        (Some(2_500_000), Some(1))
    );
    assert_snapshot!(refused("repo = \"/srv/shop\"\n[budget]\ntask_usd = \"much\"\n"), @r#"/x/projects/shop.toml:3: budget.task_usd = "much": give USD as a decimal number, such as "2.50""#);
    let refused = Start::new().env("ORCH_BUDGET_TASK_USD", "-1");
    assert_snapshot!(refused.error(), @r#"env ORCH_BUDGET_TASK_USD: budget.task_usd = "-1": give USD as a decimal number in quotes, such as "2.50""#);
}

#[test]
fn what_a_stage_may_take_in_all_must_end_before_the_reaper_may_take_it() {
    let with = |timeout_s: u64, top: &str| {
        let gate = format!("timeout_s = {timeout_s}");
        format!("{top}{}", THREE_STAGES.replace("timeout_s = 60", &gate))
    };
    // 3600 - 300, of which the developer may take 1800 + 10, the tests 540 + 10, and the gate the rest and 10.
    parse(&with(929, "")).unwrap();
    let refused = refused(&with(930, ""));
    assert_snapshot!(refused, @"/x/projects/shop.toml:5: the agent and the checks of this stage may take 3300 s, and the reaper ends them after 3300: lower a timeout_s, or raise reaper.max_running_s by 1");
    let quick = "[agents.developer]\ntimeout_s = 1799\n";
    parse(&format!("{}\n{quick}", with(930, ""))).unwrap();
}

#[test]
fn agents_fill_in_from_the_default_one() {
    let project = parse(
        r#"repo = "/src/shop"
[agent]
preset = "claude"
model = "big"
timeout_s = 600
env = { A = "1", B = "2" }
wrapper = ["nice"]
[agents.reviewer]
command = ["judge", "--strict"]
prompt = "file"
env = { B = "3" }
[agents.tester]
timeout_s = 60
wrapper = []
"#,
    )
    .unwrap();
    let reviewer = project.agent(Role::Reviewer);
    assert_eq!(reviewer.command.as_deref().unwrap(), ["judge", "--strict"]);
    assert_eq!(
        (reviewer.preset.as_deref(), reviewer.model.as_deref()),
        (None, None)
    );
    assert_eq!(
        (reviewer.prompt, reviewer.timeout),
        (Some(PromptDelivery::File), Some(Duration::from_secs(600)))
    );
    assert_eq!(
        (reviewer.env["A"].as_str(), reviewer.env["B"].as_str()),
        ("1", "3")
    );
    let tester = project.agent(Role::Tester);
    assert_eq!(
        (tester.preset.as_deref(), tester.model.as_deref()),
        (Some("claude"), Some("big"))
    );
    assert_eq!(tester.wrapper.len(), 0);
    assert_eq!(project.agent(Role::Developer), &project.default_agent);

    let settings = Start::new().settings();
    assert_eq!(project.timeout(Role::Tester, &settings), Duration::from_secs(60));
    let plain = parse("repo = \"/src/shop\"").unwrap();
    assert_eq!(plain.timeout(Role::Tester, &settings), Duration::from_secs(1800));
}

#[test]
fn every_mistake_is_named_with_its_line_and_all_at_once() {
    assert_snapshot!(refused(
        r#"name = "Shop"
prefix = "shop-1"
repo = "-oProxyCommand=x"
mian = "main"
test_command = ""
max_concurrency = 0
tracker = "jira"
self_hosting = "yes"
prompts = { reviewer = "nowhere.md" }
agents.revewer.preset = "claude"

[agent]
command = []
timeout_s = 9999
env = { "A B" = "1" }

[deploy]
by = "hand"

[stagign]
url = "x"
"#
    ), @r#"
    /x/projects/shop.toml:1: name = "Shop": use 1 to 40 lower-case letters, digits and dashes, beginning with a letter
    /x/projects/shop.toml:2: prefix = "shop-1": use 1 to 10 capital letters and digits, beginning with a letter
    /x/projects/shop.toml:3: repo = "-oProxyCommand=x": must not begin with '-'; write ./ before it
    /x/projects/shop.toml:4: unknown key "mian"; did you mean "main"?
    /x/projects/shop.toml:5: test_command = "": give a text, in quotes and not empty
    /x/projects/shop.toml:6: max_concurrency = 0: give a whole number of at least 1
    /x/projects/shop.toml:7: tracker = "jira": give one of local, plane
    /x/projects/shop.toml:8: self_hosting = "yes": give true or false
    /x/projects/shop.toml:9: prompts.reviewer: there is no file /x/projects/nowhere.md
    /x/projects/shop.toml:10: unknown key "agents.revewer"; did you mean "reviewer"?
    /x/projects/shop.toml:13: command is empty: give a program and its arguments, or leave it out
    /x/projects/shop.toml:14: timeout_s is above agent.timeout_cap_s (2700): lower it or raise the cap
    /x/projects/shop.toml:15: env: "A B" is no variable name: use letters, digits and '_'
    /x/projects/shop.toml:18: deploy.by = "hand": give one of merge, agent, hook
    /x/projects/shop.toml:20: unknown key "stagign"; did you mean "staging"?
    "#);
}

#[test]
fn a_mistake_in_a_pipeline_is_named_with_the_line_of_its_stage_or_gate() {
    let broken = |from: &str, to: &str| refused(&THREE_STAGES.replace(from, to));
    let all = [
        broken("\"ci_green\"", "\n  \"ci_gren\""),
        broken("\"ci_green\"", "\"ci_green\",\n\"ci_green\""),
        broken("name = \"secrets\"", "name = \"tests_passed\""),
        broken("command = [\"sh\", \"-c\", \"exit 0\"]", "command = []"),
        broken("\"developer\"", "\"develper\""),
        broken("rollback_to = \"development\"", "rollback_to = \"done\""),
        broken("rollback_to", "rolback_to"),
        broken("name = \"review\"\n", ""),
        broken("name = \"review\"", "name = \"review\"\nnext = \"nowhere\""),
        broken("[[stage]]\nname = \"done\"\n", ""),
        broken("name = \"done\"", "name = \"done\"\nmerge = true"),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    /x/projects/shop.toml:9: unknown gate "ci_gren"; did you mean "ci_green"? (known: analysis_complete, analysis_approved, human_approved, architecture_done, ci_green, tests_local, review_approved, reviewer_verdict, tests_passed, branch_mergeable, staging_status, staging_image_fresh, deploy_status, or a table with name and command)
    /x/projects/shop.toml:9: gate "ci_green" stands twice in this stage
    /x/projects/shop.toml:8: gate "tests_passed" is one of Orch's own: give the command another name
    /x/projects/shop.toml:8: command is empty: give a program and its arguments, or leave it out
    /x/projects/shop.toml:7: stage.role = "develper": give one of analyst, architect, developer, reviewer, tester, deployer
    /x/projects/shop.toml:10: stage "review": rollback_to "done" is a later stage; name an earlier one
    /x/projects/shop.toml:14: unknown key "stage.rolback_to"; did you mean "rollback_to"?
    /x/projects/shop.toml:10: stage.name is missing: give the stage a name
    /x/projects/shop.toml:10: stage "review": next "nowhere" is no stage of this pipeline
    /x/projects/shop.toml:10: the pipeline ends in "review", which is not terminal: end it in a stage with neither role nor gates, such as "done"
    /x/projects/shop.toml:16: stage "done" is terminal and cannot merge
    "#);
    assert_snapshot!(refused("repo = \"/r\"\nstage = []"), @"/x/projects/shop.toml:2: the pipeline has no stages: write at least one [[stage]] and a terminal one");
    assert_snapshot!(refused("repo = \"/r\"\n[stage]\nname = \"x\""), @"/x/projects/shop.toml:2: stage = a table: write each as [[stage]]");
}

#[test]
fn a_gate_that_could_never_be_green_is_refused() {
    let with = |top: &str, gate: &str| {
        refused(&format!(
            "repo = \"/src/shop\"\n{top}\n[[stage]]\nname = \"work\"\nrole = \"developer\"\ngates = [\n\"{gate}\"]\n[[stage]]\nname = \"done\""
        ))
    };
    let all = [
        with("", "tests_local"),
        with("", "ci_green"),
        with("ci = \"tests\"", "ci_green"),
        with("ci = \"forge\"", "ci_green"),
        with("", "review_approved"),
        with("", "staging_status"),
        with("", "staging_image_fresh"),
        with("", "deploy_status"),
        with("", "branch_mergeable"),
        with(
            "test_command = \"x\"\nmerge = { gate = false }",
            "branch_mergeable",
        ),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    /x/projects/shop.toml:7: gate "tests_local" can never be green: the project has no test_command; set one
    /x/projects/shop.toml:7: gate "ci_green" can never be green: the project has no CI; set test_command, which then stands for it, or ci = "forge"
    /x/projects/shop.toml:2: ci = "tests": there is no test_command to stand for CI; set one, or ci = "none"
    /x/projects/shop.toml:2: ci = "forge": the local forge has no CI; set test_command and ci = "tests", or ci = "none"
    /x/projects/shop.toml:7: gate "review_approved" can never be green: the local forge has no reviews; use "reviewer_verdict" or "human_approved"
    /x/projects/shop.toml:7: gate "staging_status" can never be green: the project has no [staging]; write that section, or remove the gate
    /x/projects/shop.toml:7: gate "staging_image_fresh" can never be green: the project has no [staging]; write that section, or remove the gate
    /x/projects/shop.toml:7: gate "deploy_status" can never be green: nobody writes a deploy log; set [deploy] hook or by = "agent", or give a stage the role "deployer"
    /x/projects/shop.toml:7: gate "branch_mergeable" can never be green: the project has no test_command; set one
    /x/projects/shop.toml:8: gate "branch_mergeable" can never be green: the merge gate is off for this project; set [merge] gate = true or remove it
    "#);
}

/// A pipeline of its own whose last stage merges, with the lines of that stage, and a hook.
fn hooked(stage: &str, deploy: &str) -> String {
    format!(
        "repo = \"/srv/shop\"\ntest_command = \"make test\"\n\n[[stage]]\nname = \"work\"\nrole = \"developer\"\n\n\
         [[stage]]\nname = \"deploy\"\n{stage}\n\n[[stage]]\nname = \"done\"\n\n[deploy]\nhook = [\"./deploy.sh\"]\n{deploy}"
    )
}

#[test]
fn a_hook_deploys_without_confirm_deploy_only_where_that_is_waived() {
    let gates = "gates = [\"deploy_status\"]";
    let confirmed = format!("{gates}\nconfirm = true");
    let approve = |text: &str| parse(text).unwrap().deploy.require_manual_approve;
    assert!(approve(&hooked(&confirmed, "")));
    assert!(approve(&hooked(&confirmed, "require_manual_approve = true")));
    assert!(!approve(&hooked(gates, "require_manual_approve = false")));
    // The setting waives it for every project that says nothing itself.
    let waived = Start::new().env("ORCH_DEPLOY_REQUIRE_MANUAL_APPROVE", "false");
    let project = parse_with(&waived, &hooked(gates, "")).unwrap();
    assert!(!project.deploy.require_manual_approve);
    let all = [
        refused(&hooked(gates, "")),
        refused(&hooked(gates, "require_manual_approve = true")),
        parse_with(&waived, &hooked(gates, "require_manual_approve = true")).unwrap_err(),
        refused(&format!("self_hosting = true\n{}", hooked(gates, ""))),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    /x/projects/shop.toml:15: deploy.hook deploys, and nobody is asked before; set confirm = true in stage "deploy", which merges, or waive it with [deploy] require_manual_approve = false
    /x/projects/shop.toml:17: require_manual_approve = true, but no [[stage]] has confirm = true; set it in the stage that merges
    /x/projects/shop.toml:17: require_manual_approve = true, but no [[stage]] has confirm = true; set it in the stage that merges
    /x/projects/shop.toml:5: self_hosting = true needs confirm = true in the [[stage]] that merges
    "#);
}

#[test]
fn after_the_deploy_nothing_is_looked_at_that_could_change_the_candidate() {
    let with = |gates: &str| hooked(&format!("confirm = true\ngates = [{gates}]"), "");
    let smoke = "{ name = \"smoke\", command = [\"./smoke.sh\"] }";
    for gates in [
        "\"branch_mergeable\", \"tests_local\", \"deploy_status\"".to_owned(),
        format!("\"branch_mergeable\", {smoke}, \"deploy_status\", \"human_approved\""),
        format!("\"deploy_status\", {smoke}"),
    ] {
        assert_eq!(parse(&with(&gates)).err(), None, "{gates}");
    }
    let all = [
        refused(&with("\"deploy_status\", \"branch_mergeable\"")),
        refused(&with(
            "\"branch_mergeable\", \"deploy_status\", \"tests_local\", \"ci_green\"",
        )),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    /x/projects/shop.toml:8: gate "branch_mergeable" stands after "deploy_status" in stage "deploy", where production has the candidate already; put it before "deploy_status"
    /x/projects/shop.toml:8: gate "tests_local" stands after "deploy_status" in stage "deploy", where production has the candidate already; put it before "deploy_status"
    /x/projects/shop.toml:8: gate "ci_green" stands after "deploy_status" in stage "deploy", where production has the candidate already; put it before "deploy_status"
    "#);
}

#[test]
fn staging_stands_before_the_stage_that_asks_for_confirm_deploy() {
    let gates = "\"staging_status\", \"staging_image_fresh\"";
    let with = |before: &str, deploy: &str| {
        format!(
            "{STAGING}timeout_s = 60\nrevision_command = \"./revision.sh\"\n\n[[stage]]\nname = \"work\"\nrole = \"developer\"\n\
             gates = [{before}]\n\n[[stage]]\nname = \"deploy\"\nrole = \"deployer\"\n{deploy}\n\n[[stage]]\nname = \"done\"\n"
        )
    };
    assert_eq!(parse(&with(gates, "confirm = true")).err(), None);
    assert_eq!(parse(&with("", &format!("gates = [{gates}]"))).err(), None);
    assert_snapshot!(refused(&with("", &format!("gates = [{gates}]\nconfirm = true"))), @r#"
    /x/projects/shop.toml:16: gate "staging_status" stands in a stage with confirm = true, and each new try at staging would ask for Confirm Deploy again; put it in a stage before this one
    /x/projects/shop.toml:16: gate "staging_image_fresh" stands in a stage with confirm = true, and each new try at staging would ask for Confirm Deploy again; put it in a stage before this one
    "#);
}

const STAGING: &str = r#"
repo = "/srv/shop"
test_command = "make test"

[staging]
deploy_command = "./staging.sh"
check_command = "./check.sh"
"#;

#[test]
fn staging_adds_its_gates_to_the_default_pipeline_and_provenance_where_something_tells() {
    let gates = |text: &str| {
        let project = parse(text).unwrap();
        let walk = walk(&project.pipeline);
        let staging = walk.lines().find(|line| line.starts_with("deploy-staging"));
        (staging.unwrap().to_owned(), project.staging.unwrap())
    };
    let (walk, staging) = gates(STAGING);
    assert_eq!(walk, "deploy-staging branch_mergeable staging_status");
    assert_eq!(staging.timeout, Duration::from_secs(900));
    assert!(!staging.tolerate_infra && staging.required.is_empty() && staging.revision.is_none());
    let (walk, staging) = gates(&format!(
        "{STAGING}timeout_s = 60\ninfra_allowed = [\"dns\"]\ntolerate_infra = true\nrequired = [\"login\"]\n\
         revision_url = \"https://staging.example.org/version\"\n"
    ));
    assert_eq!(
        walk,
        "deploy-staging branch_mergeable staging_status staging_image_fresh"
    );
    assert!(
        staging.tolerate_infra && staging.infra_allowed.contains("dns") && staging.required.contains("login")
    );
    let url = "https://staging.example.org/version".to_owned();
    assert_eq!(staging.revision, Some(RevisionSource::Url(url)));
    let (_, staging) = gates(&format!("{STAGING}revision_command = \"./revision.sh\""));
    let command = "./revision.sh".to_owned();
    assert_eq!(staging.revision, Some(RevisionSource::Command(command)));
    // What is borne is as the settings say, unless the project does.
    let start = Start::new().env("ORCH_STAGING_INFRA_TOLERANCE_ENABLED", "true");
    let tolerates = |text: &str| parse_with(&start, text).unwrap().staging.unwrap().tolerate_infra;
    assert!(tolerates(STAGING));
    assert!(!tolerates(&format!("{STAGING}tolerate_infra = false")));
}

#[test]
fn mistakes_in_staging_are_named() {
    let with = |more: &str| refused(&format!("{STAGING}{more}"));
    let all = [
        refused("repo = \"/srv/shop\"\n[staging]\nurl = \"x\""),
        with("timeout_s = 0"),
        with("timeout_s = 2000"),
        with("tolerate_infra = true"),
        with("required = [\"\"]"),
        with("revision_url = \"ftp://x\""),
        with("revision_url = \"https://me:secret@x\""),
        with("revision_url = \"https://x\"\nrevision_command = \"x\""),
        with("[[stage]]\nname = \"work\"\nrole = \"developer\"\n[[stage]]\nname = \"done\""),
        with(
            "[[stage]]\nname = \"work\"\nrole = \"developer\"\ngates = [\"staging_status\", \"staging_image_fresh\"]\n[[stage]]\nname = \"done\"",
        ),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    /x/projects/shop.toml:2: staging.deploy_command is missing: give the command that deploys ORCH_REVISION to staging
    /x/projects/shop.toml:2: staging.check_command is missing: give the command that checks staging and prints its report
    /x/projects/shop.toml:3: unknown key "staging.url"; here can stand: deploy_command, check_command, timeout_s, infra_allowed, tolerate_infra, required, revision_command, revision_url
    /x/projects/shop.toml:8: staging.timeout_s = 0: give a whole number of at least 1
    /x/projects/shop.toml:5: staging and its checks may take 4640 s, and the reaper ends them after 3300: lower a timeout_s, or raise reaper.max_running_s by 1341
    /x/projects/shop.toml:8: tolerate_infra = true, but infra_allowed names no check that may fail; name them
    /x/projects/shop.toml:8: staging.required: the name of a check is not empty
    /x/projects/shop.toml:8: revision_url: give an http:// or https:// address, without user and password
    /x/projects/shop.toml:8: revision_url: give an http:// or https:// address, without user and password
    /x/projects/shop.toml:9: revision_command and revision_url: keep one of them
    /x/projects/shop.toml:5: [staging] is never used: no [[stage]] has the gate "staging_status"; add it, or remove the section
    /x/projects/shop.toml:8: the agent and the checks of this stage may take 3630 s, and the reaper ends them after 3300: lower a timeout_s, or raise reaper.max_running_s by 331
    /x/projects/shop.toml:11: gate "staging_image_fresh" can never be green: nothing says what staging runs; set revision_command or revision_url in [staging]
    "#);
}

#[test]
fn records_go_onto_a_ref_that_is_not_main() {
    let with = |text: &str, main: &str| {
        parse(&format!(
            "repo = \"/r\"\nmain = \"{main}\"\nrecords_ref = \"{text}\""
        ))
    };
    let records = with("refs/heads/orch-records", "main").unwrap().records_ref;
    assert_eq!(records.unwrap().as_str(), "refs/heads/orch-records");
    assert_eq!(parse("repo = \"/r\"").unwrap().records_ref, None);
    let all = [
        with("refs/heads/trunk", "trunk").unwrap_err(),
        with("orch-records", "main").unwrap_err(),
        with("refs/orch/records", "main").unwrap_err(),
        with("refs/tags/x", "main").unwrap_err(),
        with("refs/heads/a b", "main").unwrap_err(),
    ];
    assert_snapshot!(all.join("\n"), @r#"
    /x/projects/shop.toml:3: records_ref = "refs/heads/trunk" is the main branch, which receives nothing but merges; give another one, such as "refs/heads/orch-records"
    /x/projects/shop.toml:3: records_ref = "orch-records": give a full ref such as "refs/heads/orch-records"
    /x/projects/shop.toml:3: records_ref = "refs/orch/records": refs/orch/ is Orch's own; give a full ref such as "refs/heads/orch-records"
    /x/projects/shop.toml:3: records_ref = "refs/tags/x": refs/tags/ holds nothing that grows; give a full ref such as "refs/heads/orch-records"
    /x/projects/shop.toml:3: records_ref = "refs/heads/a b": git does not take that name; give a full ref such as "refs/heads/orch-records"
    "#);
}

#[test]
fn a_self_hosting_project_is_never_deployed_without_confirm_deploy() {
    let waived = "repo = \"/r\"\nself_hosting = true\n[deploy]\nrequire_manual_approve = false";
    assert_snapshot!(refused(waived), @"/x/projects/shop.toml:4: self_hosting = true, but deploy.require_manual_approve = false here: a self-hosting project is never deployed without Confirm Deploy; set [deploy] require_manual_approve = true");
    let by_setting = Start::new().env("ORCH_DEPLOY_REQUIRE_MANUAL_APPROVE", "false");
    assert_snapshot!(parse_with(&by_setting, "repo = \"/r\"\nself_hosting = true").unwrap_err(), @"/x/projects/shop.toml:2: self_hosting = true, but the setting deploy.require_manual_approve is false: a self-hosting project is never deployed without Confirm Deploy; set [deploy] require_manual_approve = true");
    assert_snapshot!(refused(&format!("self_hosting = true{THREE_STAGES}")), @"/x/projects/shop.toml:5: self_hosting = true needs confirm = true in the [[stage]] that merges");
    let own = THREE_STAGES.replace("rollback_to", "confirm = true\nrollback_to");
    assert!(parse(&format!("self_hosting = true{own}")).is_ok());
    let contradiction = own + "[deploy]\nrequire_manual_approve = false";
    assert_snapshot!(refused(&contradiction), @"/x/projects/shop.toml:20: require_manual_approve = false, but a [[stage]] has confirm = true; keep one of them");
}

#[test]
fn a_project_in_plane_names_it_and_may_name_its_states() {
    const ID: &str = "466f86a0-188f-422a-9829-30cfab484979";
    let start = Start::new()
        .env("ORCH_PLANE_URL", "https://plane.example.org")
        .env("ORCH_PLANE_API_TOKEN", "t")
        .env("ORCH_PLANE_WORKSPACE", "w");
    let plane = "repo = \"/r\"\ntracker = \"plane\"\n";
    let states = "[tracker_states]\ndone = \"Shipped\"\ndevelopment = \"Coding\"";
    let project = parse_with(&start, &format!("{plane}plane_project = \"{ID}\"\n{states}")).unwrap();
    assert_eq!(project.plane_project.as_deref(), Some(ID));
    let stage = StageName::trusted("development");
    assert_eq!(project.board.state(TaskStatus::Done, &stage), "Shipped");
    assert_eq!(project.board.state(TaskStatus::Active, &stage), "Coding");
    let wrong = format!("{plane}plane_project = \"shop\"\n[tracker_states]\ndon = \"x\"\nblocked = \" \"");
    assert_snapshot!(parse_with(&start, &wrong).unwrap_err(), @r#"
    /x/projects/shop.toml:3: plane_project = "shop": give the id, such as "466f86a0-188f-422a-9829-30cfab484979"
    /x/projects/shop.toml:4: tracker_states.blocked is empty: give the name of a state
    /x/projects/shop.toml:4: tracker_states: "don" is neither a stage nor one of created, in_progress, in_review, needs_input, blocked, cancelled, done, approved, rejected, confirm_deploy
    "#);
    let clash = format!("{plane}plane_project = \"{ID}\"\n[tracker_states]\ndevelopment = \"approved\"");
    assert_snapshot!(parse_with(&start, &clash).unwrap_err(), @r#"/x/projects/shop.toml:4: tracker_states: "Approved" is what a person decides and something else too; give each a name of its own"#);
    assert_snapshot!(refused(&format!("repo = \"/r\"\nplane_project = \"{ID}\"")), @r#"/x/projects/shop.toml:2: plane_project is for tracker = "plane": set that, or remove this"#);
}

#[test]
fn forge_and_tracker_need_their_settings() {
    assert_snapshot!(refused("repo = \"/r\"\nforge = \"gitea\"\ntracker = \"plane\""), @r#"
    /x/projects/shop.toml:1: plane_project is missing: give the id of the project at Plane; it stands in the address of its page
    /x/projects/shop.toml:2: forge = "gitea" needs settings that are not set: gitea.url, gitea.token
    /x/projects/shop.toml:3: tracker = "plane" needs settings that are not set: plane.url, plane.api_token, plane.workspace
    "#);
    assert_snapshot!(refused("repo = \"git@git.example.org:team/shop.git\"\nforge = \"local\""), @r#"/x/projects/shop.toml:2: forge = "local" needs a repository on this machine: give its path, or set forge = "gitea""#);
    let start = Start::new()
        .env("ORCH_GITEA_URL", "https://git.example.org")
        .env("ORCH_GITEA_TOKEN", "t");
    let project = parse_with(&start, "repo = \"git@git.example.org:team/shop.git\"").unwrap();
    assert_eq!((project.forge, project.ci), (ForgeKind::Gitea, Ci::Forge));
    assert_eq!(project.repo, "git@git.example.org:team/shop.git");
    assert_eq!(project.forge_repository.unwrap().to_string(), "team/shop");
    let elsewhere = parse_with(&start, "repo = \"https://other.example.org/team/shop.git\"").unwrap_err();
    assert_snapshot!(elsewhere, @r#"/x/projects/shop.toml:1: repo, with forge = "gitea": is not below gitea.url: give https://git.example.org/<owner>/<repository>.git, or the same for ssh"#);
}

#[test]
fn a_repository_that_git_would_run_as_a_program_is_refused() {
    for bad in [
        "ext::sh -c id",
        "--upload-pack=x",
        "fd::3",
        "rsync://h/x",
        "https://",
        "ssh://-oProxyCommand=x/y",
    ] {
        assert!(parse(&format!("repo = {bad:?}")).is_err(), "{bad} was accepted");
    }
}

#[test]
fn the_setting_for_gated_repositories_limits_the_merge_gate() {
    let with_tests = |start: &Start, text: &str| parse_with(start, &format!("test_command = \"x\"\n{text}"));
    let start = Start::new().env("ORCH_MERGE_GATE_REPOS", "team/web");
    assert!(!with_tests(&start, "repo = \"/src/shop\"").unwrap().merge_gate);
    assert!(
        with_tests(&start, "repo = \"/src/team/web.git\"")
            .unwrap()
            .merge_gate
    );
    assert!(
        !with_tests(&start, "repo = \"/src/otherteam/web\"")
            .unwrap()
            .merge_gate
    );
    assert_snapshot!(with_tests(&start, "repo = \"/src/shop\"\n[merge]\ngate = true").unwrap_err(), @"/x/projects/shop.toml:4: merge.gate = true, but the setting merge.gate_repos does not name this repository; add it there");
    let off = Start::new().env("ORCH_MERGE_GATE_ENABLED", "false");
    assert!(!with_tests(&off, "repo = \"/src/shop\"").unwrap().merge_gate);
    assert!(
        with_tests(&off, "repo = \"/src/shop\"\nmerge.gate = true")
            .unwrap()
            .merge_gate
    );
}

#[test]
fn a_folder_of_projects_is_read_by_name_and_every_bad_file_is_told() {
    let start = Start::new();
    let settings = start.settings();
    let dir = settings.projects_dir.clone();
    assert_eq!(load_all(&dir, &settings).unwrap(), []);

    start.write("data/projects/web.toml", "repo = \"/src/web\"");
    start.write(
        "data/projects/api.toml",
        "repo = \"/src/api\"\n[prompts]\nreviewer = \"review.md\"",
    );
    start.write("data/projects/review.md", "Look closely.");
    start.write("data/projects/.api.toml.swp.toml", "half written");
    let projects = load_all(&dir, &settings).unwrap();
    let names: Vec<_> = projects.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["api", "web"]);
    assert_eq!(projects[0].prompts[&Role::Reviewer], dir.join("review.md"));

    start.write("data/projects/bad.toml", "repo = \"/src/bad\"\nname = \"good\"");
    start.write(
        "data/projects/twin.toml",
        "prefix = \"API\"\nrepo = \"/src/twin\"",
    );
    start.write("data/projects/torn.toml", "repo = \"/src/torn\"\n[agent\n");
    let error = load_all(&dir, &settings).unwrap_err().to_string();
    assert_snapshot!(start.plain(&error), @r#"
    /x/data/projects/bad.toml:2: the project is called "good": name its file good.toml, or give it the name of this one
    /x/data/projects/torn.toml:2: not valid TOML: unclosed table, expected `]`
    /x/data/projects/twin.toml:1: prefix "API" is also that of /x/data/projects/api.toml: give each project its own
    "#);
}

#[test]
fn the_file_that_init_writes_is_accepted_and_says_what_was_given() {
    let command = ["my agent".to_owned(), "--say={prefix} \"hi\"".to_owned()];
    let new = NewProject {
        name: "shop",
        prefix: "SHP",
        repo: "/src/o'brien \"shop\" {main}",
        main: "trunk",
        plane_project: None,
        test_command: Some("test 'a' = \"a\""),
        agent: NewAgent::Command(&command),
    };
    let project = parse(&Project::render_new(&new)).unwrap();
    assert_eq!(
        (
            project.name.as_str(),
            project.prefix.as_str(),
            project.main.as_str()
        ),
        ("shop", "SHP", "trunk")
    );
    assert_eq!(project.repo, new.repo);
    assert_eq!(project.test_command.as_deref(), new.test_command);
    assert_eq!(project.default_agent.command.as_deref(), Some(&command[..]));

    let new = NewProject {
        plane_project: None,
        test_command: None,
        agent: NewAgent::Preset("claude"),
        ..new
    };
    let text = Project::render_new(&new);
    let project = parse(&text).unwrap();
    assert_eq!(
        (project.test_command, project.default_agent.preset.as_deref()),
        (None, Some("claude"))
    );
    // The pipeline it shows as a comment is a pipeline.
    let (head, shown) = text.split_once("#\n# [[stage]]").unwrap();
    let own = format!(
        "{head}[[stage]]{}",
        shown.replace("\n# ", "\n").replace("\n#\n", "\n")
    );
    let own = own.replace("# test_command", "test_command");
    assert_eq!(parse(&own).unwrap().pipeline.stages().len(), 4);
}

#[test]
fn how_a_candidate_gets_into_main_is_one_of_four_words_and_for_merges_by_orch() {
    let style = |text: &str| {
        let text = format!("repo = \"/src/shop\"\ntest_command = \"x\"\n[merge]\n{text}");
        parse_with(&Start::new(), &text).map(|project| project.merge_style)
    };
    for (text, wanted) in [
        ("", MergeStyle::FastForward),
        ("style = 'fast-forward'", MergeStyle::FastForward),
        ("style = 'merge'", MergeStyle::Merge),
        ("style = 'squash'", MergeStyle::Squash),
        ("style = 'rebase'", MergeStyle::Rebase),
    ] {
        assert_eq!(style(text).unwrap(), wanted, "{text}");
    }
    assert_snapshot!(style("style = 'octopus'").unwrap_err(), @r#"/x/projects/shop.toml:4: merge.style = "octopus": give one of fast-forward, merge, squash, rebase"#);
    assert_snapshot!(style("gate = false\nstyle = 'squash'").unwrap_err(), @"/x/projects/shop.toml:5: merge.style is for merges by Orch, and with merge.gate = false a person merges; remove one of them");
}

#[test]
fn how_production_is_watched_has_defaults() {
    let watched = parse("repo = \"/r\"\n[post_deploy]\nurl = \"https://shop.example/health\"");
    let watched = watched.unwrap().post_deploy.unwrap();
    assert_eq!(watched.url, "https://shop.example/health");
    assert_eq!(
        (watched.plan.probes, watched.plan.interval()),
        (30, Duration::from_secs(30))
    );
    assert_eq!(watched.plan.warm_up, Duration::from_secs(30));
    assert_eq!((watched.expect.status, watched.expect.revision), (200, false));
    assert!(!watched.auto_rollback && watched.timeout() == Duration::from_secs(10));
    let by_setting = Start::new()
        .env("ORCH_POST_DEPLOY_BASE_URL", "https://shop.example")
        .env("ORCH_POST_DEPLOY_AUTO_ROLLBACK", "true");
    let with = |text: &str| {
        let text = format!("repo = \"/r\"\n{text}\n[post_deploy]\npath = \"/up\"");
        parse_with(&by_setting, &text).unwrap().post_deploy.unwrap()
    };
    assert_eq!(with("").url, "https://shop.example/up");
    assert!(!with("").auto_rollback, "nothing can roll back");
    assert!(with("[deploy]\nhook = [\"./deploy.sh\"]").auto_rollback);
    assert!(!with("self_hosting = true\n[deploy]\nhook = [\"./deploy.sh\"]").auto_rollback);
    assert_eq!(parse("repo = \"/r\"").unwrap().post_deploy, None);
}

#[test]
fn mistakes_in_watching_production_are_named_with_their_line() {
    let url = "url = \"http://shop\"";
    let table = [
        ("", 2, "post_deploy.url is missing"),
        ("path = \"/up\"", 3, "needs the setting post_deploy.base_url"),
        ("url = \"ftp://shop\"", 3, "http:// or https://"),
        ("url = \"http://ann:secret@shop\"", 3, "without user and password"),
        (&format!("{url}\npath = \"/up\""), 4, "keep one of them"),
        (&format!("{url}\nprobes = 4"), 4, "at least 5"),
        (&format!("{url}\nprobes = 501"), 4, "at most 500"),
        (
            &format!("{url}\nprobes = 500\nwindow_s = 49"),
            5,
            "leave at least 100 ms",
        ),
        (&format!("{url}\nwindow_s = 90000"), 4, "at most 86400 s"),
        (&format!("{url}\nexpect_status = 600"), 4, "HTTP status"),
        (&format!("{url}\nexpect_body = \"(\""), 4, "no regular expression"),
        (
            &format!("{url}\nexpect_body = \"a{{1000}}{{1000}}\""),
            4,
            "too large",
        ),
        (
            &format!("{url}\nauto_rollback = true"),
            4,
            "no hook that can roll back",
        ),
        (&format!("{url}\nurls = 1"), 4, "unknown key"),
    ];
    for (text, line, why) in table {
        let said = refused(&format!("repo = \"/r\"\n[post_deploy]\n{text}"));
        assert!(
            said.contains(&format!("shop.toml:{line}: ")) && said.contains(why),
            "{text}: {said}"
        );
    }
    let hosts_itself = format!(
        "repo = \"/r\"\nself_hosting = true\n[deploy]\nhook = [\"./d\"]\n[post_deploy]\n{url}\nauto_rollback = true"
    );
    let said = refused(&hosts_itself);
    assert!(
        said.contains(":7: ") && said.contains("never rolled back by itself"),
        "{said}"
    );
}
