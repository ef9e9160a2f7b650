//! A service that deploys itself: the hook puts another binary in place and has it started, and that one finishes what the
//! first began.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use super::deploys::TWO_STAGES;
use crate::support::{Project, Repo, Setup, git, lives, wait_until};

/// Runs `$bin/orch`, and again when it ends; its pid stands in `$bin/pid`. TERM ends both.
const SUPERVISOR: &str = r#"
bin=BIN
trap 'echo >"$bin/over"; kill -TERM "$(cat "$bin/pid")" 2>/dev/null' TERM
while [ ! -e "$bin/over" ]; do
  "$bin/orch" "$@" &
  echo $! >"$bin/pid"
  while kill -0 $! 2>/dev/null; do wait $!; done
done
"#;

/// Puts the new version in place, has the old one end, and waits until the new one answers.
const HOOK: &str = r#"
bin=BIN
[ "$1" = deploy ] || exit 1
echo "$ORCH_ATTEMPT $ORCH_REVISION" >>"$bin/calls"
old=$(cat "$bin/pid")
cp "$bin/orch" "$bin/orch.new"
# Another binary: what follows the program is not looked at.
printf %s "$ORCH_REVISION" >>"$bin/orch.new"
echo "$ORCH_REVISION" >"$bin/revision"
mv "$bin/orch.new" "$bin/orch"
kill -TERM "$old"
while [ "$(cat "$bin/pid")" = "$old" ] || ! kill -0 "$(cat "$bin/pid")" 2>/dev/null; do sleep 0.05; done
echo "$(cat "$bin/pid") runs in place of $old"
"#;

fn script(bin: &Path, name: &str, text: &str) -> String {
    let path = bin.join(name);
    fs::write(&path, text.replace("BIN", &format!("'{}'", bin.display()))).unwrap();
    path.display().to_string()
}

fn pid(bin: &Path) -> i32 {
    fs::read_to_string(bin.join("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn a_service_that_deploys_itself_is_finished_by_the_new_one() {
    let repo = Repo::new();
    let room = tempfile::tempdir().unwrap();
    let bin = room.path().canonicalize().unwrap();
    fs::copy(env!("CARGO_BIN_EXE_orch"), bin.join("orch")).unwrap();
    fs::write(bin.join("revision"), "0".repeat(40)).unwrap();
    // The new one has to be found where the old one was.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let rest = format!(
        "[deploy]\nhook = ['sh', '{}']\nrevision_command = 'cat {}'\n\n[post_deploy]\nurl = 'http://127.0.0.1:{port}/health'\n\
         expect_body = '\"status\":\"ok\"'\nprobes = 5\nwindow_s = 5\nwarm_up_s = 1\n",
        script(&bin, "hook.sh", HOOK),
        bin.join("revision").display(),
    );
    let project = Project::new("orch", &repo)
        .top("self_hosting = true")
        .top("records_ref = 'refs/heads/orch-records'")
        .then(TWO_STAGES)
        .then(&rest);
    let mut service = Setup::new()
        .set("server.listen", format!("127.0.0.1:{port}"))
        .project(project)
        .prepare();
    service.supervised(Path::new(&script(&bin, "supervisor.sh", SUPERVISOR)));
    service.start();
    let first = pid(&bin);
    let id = service.add("Be better");
    service.wait_status(&id, "waiting_human");
    let seen = service.log().len();
    service.gesture(&id, "confirm-deploy", None);
    // The old one ends, and the new one answers.
    wait_until("the new one to run", || pid(&bin) != first && !lives(first));
    wait_until("the new one to be ready", || service.is_ready(seen));
    service.wait_status(&id, "done");
    let main = repo.sha("main");
    let calls = fs::read_to_string(bin.join("calls")).unwrap();
    assert_eq!(calls, format!("1 {main}\n"), "the hook ran once");
    let exe = fs::read_link(format!("/proc/{}/exe", pid(&bin))).unwrap();
    assert_eq!(exe, bin.join("orch"), "the binary that was put in place");
    assert!(
        fs::read(&exe).unwrap().ends_with(main.as_bytes()),
        "the new version"
    );

    // It wrote the verdict, and watches itself.
    let shown = |name: &str| {
        let path = format!("orch-records:docs/work-items/{id}/{name}");
        crate::support::git_ok(&repo.path, &["cat-file", "-e", &path])
            .then(|| git(&repo.path, &["show", &path]))
    };
    wait_until("the deploy log", || shown("14-deploy-log.md").is_some());
    let log = shown("14-deploy-log.md").unwrap();
    assert!(
        log.contains("deploy_status: SUCCESS") && log.contains("runs in place of"),
        "{log}"
    );
    wait_until("the log of the time after it", || {
        shown("16-post-deploy-log.md").is_some()
    });
    let log = shown("16-post-deploy-log.md").unwrap();
    assert!(
        log.contains("post_deploy_status: HEALTHY") && log.contains("action_taken: NONE"),
        "{log}"
    );
    assert_eq!(repo.sha("main"), main);
    service.stop();
    wait_until("nothing of it to live", || !lives(pid(&bin)));
}
