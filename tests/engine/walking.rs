//! A task's plain way through, as the engine goes it.

use super::house::House;

#[tokio::test]
async fn a_task_walks_to_done_and_leaves_nothing_behind() {
    let house = House::short().await;
    let task = house.add("Say hello").await;
    house.run_all().await;
    assert_eq!(house.stands(task).await, "done done");
    assert_eq!(
        house.job_words(task).await,
        ["developer done", "reviewer done", "deploy-finalizer done"]
    );
    assert_eq!(house.leftovers(), [""; 0]);
    let head = house.task(task).await.candidate.unwrap();
    assert_eq!(house.main(), head);
    assert!(house.tested().contains(&house.trees_of_main()[0]));
}
