//! Folders and addresses that cannot be used: told before anything is made, with the setting that names them.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use super::mounted::{Mount, not_run};
use super::{TWO_STAGES, assert_names, cli, others_go_on, refuses};
use crate::support::{Agent, Project, Repo, Setup, git, snapshot};

/// Setting, its variable.
const FOLDERS: [(&str, &str); 3] = [
    ("data_dir", "ORCH_DATA_DIR"),
    ("repos_dir", "ORCH_REPOS_DIR"),
    ("projects_dir", "ORCH_PROJECTS_DIR"),
];

#[test]
fn a_file_in_the_place_of_a_folder_is_named_with_its_setting_and_stays_as_it_is() {
    let room = tempfile::tempdir().unwrap();
    fs::write(room.path().join("file"), "mine").unwrap();
    symlink("/none/there", room.path().join("nowhere")).unwrap();
    let before = snapshot(room.path());
    for (key, variable) in FOLDERS {
        for (path, obstacle) in [
            ("file", "file"),
            ("file/below/it", "file"),
            ("nowhere", "nowhere"),
        ] {
            let path = room.path().join(path).display().to_string();
            let service = Setup::new().env(variable, &path).prepare();
            let obstacle = format!("{obstacle} is no folder");
            let ended = refuses(&service);
            assert_names(
                ended.line(2),
                &[&format!("{key} {path}"), &obstacle, "choose another"],
            );
            assert!(!service.data().exists(), "{key}: something was made");
            assert_eq!(snapshot(room.path()), before);
        }
    }
}

#[test]
fn a_folder_that_cannot_be_written_ends_serve_and_is_found_by_doctor() {
    let mount = Mount::tmpfs("1m");
    if mount.is_none() {
        not_run("folders on a read-only disk", "nothing may be mounted here");
    }
    let mut places = vec![("/proc/self/none".to_owned(), "cannot be")];
    if let Some(mount) = &mount {
        mount.read_only(true);
        places.push((mount.path().display().to_string(), "Read-only file system"));
        places.push((
            format!("{}/below", mount.path().display()),
            "Read-only file system",
        ));
    }
    for (key, variable) in [FOLDERS[0], FOLDERS[1]] {
        for (path, why) in &places {
            let service = Setup::new().env(variable, path).prepare();
            let ended = refuses(&service);
            assert_names(ended.line(1), &[key, path, "cannot be written", why]);
            assert_names(ended.line(1), &["give this user the right, or choose another"]);
            let doctor = String::from_utf8(service.cli(&["doctor"]).stdout).unwrap();
            assert_names(&doctor, &["fail", key, path]);
        }
    }
}

#[test]
fn folders_that_are_missing_are_made_and_relative_ones_begin_where_the_service_was_started() {
    let repo = Repo::new();
    let project = Project::new("shop", &repo).then(TWO_STAGES);
    let mut service = Setup::new()
        .env("ORCH_DATA_DIR", "data")
        .env("ORCH_REPOS_DIR", "deep/down/repos")
        .env("ORCH_PROJECTS_DIR", "./data/../data/projects")
        .project(project)
        .start();
    others_go_on(&mut service, "ONE");
    assert!(service.home().join("deep/down/repos/shop.git").is_dir());
    // The command line, started in the same folder, finds the same token.
    assert_names(&service.cli_ok(&["task", "list", "--all"]), &["ONE"]);

    let service = Setup::new().prepare();
    let inner = service.home().join("not/there/yet");
    let mut service = Setup::new().env("ORCH_DATA_DIR", inner.to_str().unwrap()).start();
    let mode = fs::metadata(&inner).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700, "prompts and logs are nobody else's business");
    service.stop();
}

#[test]
fn a_data_directory_inside_the_repository_never_shows_up_in_it() {
    // The service's home is the person's repository.
    let mut service = Setup::new().prepare();
    let home = service.home().to_owned();
    git(&home, &["init", "-q", "-b", "main"]);
    fs::write(home.join("check.sh"), "exit 0\n").unwrap();
    git(&home, &["add", "check.sh"]);
    git(&home, &["commit", "-q", "-m", "Begin"]);
    let agent = Agent::diligent();
    Project::at("shop", &home)
        .top("test_command = 'sh check.sh'")
        .agent(&agent)
        .then(TWO_STAGES)
        .write(&home, &service.out());
    service.start();
    others_go_on(&mut service, "INSIDE");
    assert!(service.data().join("repos/shop.git").is_dir());
    let untracked = git(&home, &["status", "--porcelain"]);
    assert!(!untracked.contains("data"), "{untracked}");
    let delivered = git(&home, &["ls-tree", "-r", "--name-only", "main"]);
    assert_names(&delivered, &["check.sh", "src/INSIDE.txt"]);
    assert!(!delivered.contains("data"), "{delivered}");
    // Whoever cleans up in their repository does not take the service's data with it.
    let gone = git(&home, &["clean", "-fdn"]);
    assert!(!gone.contains("data"), "{gone}");
}

#[test]
fn a_folder_that_holds_other_things_gets_no_file_that_hides_them() {
    let repo = Repo::new();
    let service = Setup::new()
        .env("ORCH_DATA_DIR", repo.path.to_str().unwrap())
        .start();
    assert!(repo.path.join("orch.db").exists());
    assert!(!repo.path.join(".gitignore").exists());
    drop(service);
}

#[test]
fn an_address_that_is_none_or_not_ours_ends_serve_with_what_would_do() {
    for listen in [
        "here",
        "127.0.0.1",
        ":8500",
        "127.0.0.1:99999",
        "localhost:8500",
        "127.0.0.1:-1",
    ] {
        let service = Setup::new().env("ORCH_SERVER_LISTEN", listen).prepare();
        let ended = refuses(&service);
        let given = format!("server.listen = \"{listen}\"");
        assert_names(
            ended.line(2),
            &["env ORCH_SERVER_LISTEN", &given, "such as 127.0.0.1:8500"],
        );
        assert!(!service.data().exists(), "{listen}");
    }
    // Of a network for documentation: nobody has it.
    let service = Setup::new()
        .env("ORCH_SERVER_LISTEN", "192.0.2.1:8500")
        .env("ORCH_API_TOKEN", "sesame")
        .prepare();
    let ended = refuses(&service);
    assert_names(
        ended.line(1),
        &[
            "cannot listen on 192.0.2.1:8500",
            "no such address",
            "server.listen",
        ],
    );
}

#[test]
fn an_address_that_is_taken_is_named_and_whoever_has_it_is_not_disturbed() {
    let repo = Repo::new();
    let mut first = Setup::new()
        .project(Project::new("shop", &repo).then(TWO_STAGES))
        .start();
    let taken = first.api().address;
    let second = Setup::new().env("ORCH_SERVER_LISTEN", &taken).prepare();
    let parts = [
        "cannot listen on",
        &taken,
        "another program listens there",
        "ORCH_SERVER_LISTEN",
    ];
    assert_names(refuses(&second).line(1), &parts);
    // It has a token of its own: the command line may not speak for the other's.
    let ended = cli(
        &second,
        &["--api-url", &format!("http://{taken}"), "task", "add", "x"],
    );
    assert_names(ended.line(1), &["token"]);
    others_go_on(&mut first, "ONE");

    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let third = Setup::new()
        .env("ORCH_SERVER_LISTEN", &other.local_addr().unwrap().to_string())
        .prepare();
    assert_names(refuses(&third).line(1), &["another program listens there"]);
    drop(other);
}

#[test]
fn a_token_that_cannot_be_sent_is_refused_without_showing_it() {
    for token in [" ", "sesame\nopen", "sesame\u{7f}"] {
        let service = Setup::new().env("ORCH_API_TOKEN", token).prepare();
        let ended = refuses(&service);
        assert_names(ended.line(2), &["env ORCH_API_TOKEN", "one line"]);
        assert!(!ended.said.contains("sesame"), "{}", ended.said);
    }
    type Spoil = fn(&Path);
    let spoilt: [Spoil; 2] = [
        |file| fs::create_dir(file).unwrap(),
        |file| fs::write(file, b"\xff\xfe").unwrap(),
    ];
    for spoil in spoilt {
        let service = Setup::new().prepare();
        fs::create_dir_all(service.data()).unwrap();
        spoil(&service.data().join("api-token"));
        assert_names(refuses(&service).line(1), &["data/api-token", "ORCH_DATA_DIR"]);
    }
}

#[test]
fn listening_for_others_without_a_token_is_warned_of() {
    let open = Setup::new().env("ORCH_SERVER_LISTEN", "0.0.0.0:0").start();
    assert_names(
        &open.log(),
        &["server.listen = ", "there is no api_token", "ORCH_API_TOKEN"],
    );
    let guarded = Setup::new()
        .env("ORCH_SERVER_LISTEN", "0.0.0.0:0")
        .env("ORCH_API_TOKEN", "sesame")
        .start();
    assert!(!guarded.log().contains("api_token") && !guarded.log().contains("sesame"));
}
