//! Names of states, as written and as usual.

use super::*;

fn board(written: &[(&str, &str)]) -> Board {
    let owned = written.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    Board::new(owned.collect())
}

#[test]
fn a_standing_has_the_name_that_the_project_gives_it_or_else_the_usual_one() {
    let own = board(&[
        ("done", "Shipped"),
        ("development", "Coding"),
        ("in_review", "Check"),
    ]);
    let stage = StageName::trusted("development");
    let table = [
        (TaskStatus::Active, "Coding", "In Progress"),
        (TaskStatus::WaitingHuman, "Check", "In Review"),
        (TaskStatus::Done, "Shipped", "Done"),
        (TaskStatus::Blocked, "Blocked", "Blocked"),
    ];
    for (status, named, usual) in table {
        assert_eq!(own.state(status, &stage), named);
        assert_eq!(Board::default().state(status, &stage), usual);
    }
    let created = StageName::trusted(CREATED);
    assert_eq!(own.state(TaskStatus::Active, &created), "Todo");
}

#[test]
fn a_state_that_orch_alone_gives_is_no_gesture() {
    let own = board(&[("approved", "Go")]);
    let table = [
        ("go ", Some(Gesture::Approved)),
        ("Approved", None),
        ("Confirm Deploy", Some(Gesture::ConfirmDeploy)),
        ("In Review", None),
        ("Done", None),
        ("Todo", None),
    ];
    for (name, gesture) in table {
        assert_eq!(own.gesture(name), gesture, "{name}");
    }
}

#[test]
fn a_decision_has_a_name_of_its_own() {
    assert_eq!(Board::default().clash(), None);
    assert_eq!(
        board(&[("approved", "Go"), ("development", "Approved")]).clash(),
        None
    );
    for (key, name) in [
        ("rejected", "approved "),
        ("in_review", "Rejected"),
        ("development", "Confirm Deploy"),
        ("confirm_deploy", "Done"),
    ] {
        assert!(board(&[(key, name)]).clash().is_some(), "{key} {name}");
    }
}
