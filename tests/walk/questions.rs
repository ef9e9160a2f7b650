//! An agent asks, a person answers.

use crate::support::{Agent, ONE_STAGE, Project, Repo, Setup};

#[test]
fn a_question_parks_the_task_and_the_answer_reaches_the_next_prompt() {
    let repo = Repo::new();
    let developer = r#"
if [ "$nth" = 1 ]; then
    asked "Which colour?"
else
    echo blue >colour.txt; commit "choose a colour"
fi
"#;
    let agent = Agent::new().role("developer", developer);
    let mut service = Setup::new()
        .project(Project::new("shop", &repo).agent(&agent).then(ONE_STAGE))
        .start();
    let id = service.add("Paint it");

    let parked = service.wait_status(&id, "needs_input");
    assert!(parked.task.reason.unwrap().contains("Which colour?"));
    assert!(service.queue().live.is_empty());
    let asked = service.wait_task(&id, "has its question posted", |d| {
        d.comments.iter().any(|c| c.body.contains("Which colour?"))
    });
    assert_eq!(asked.task.stage, "development");

    service.cli_ok(&["task", "unblock", &id, "--comment", "Blue, like the sea"]);
    service.wait_status(&id, "done");
    assert!(service.prompt(&id, "developer", 2).contains("Blue, like the sea"));
    assert_eq!(repo.show("colour.txt"), "blue");
    assert!(
        !repo
            .path
            .join(format!("docs/work-items/{id}/question.md"))
            .exists(),
        "an answered question is gone"
    );
}
