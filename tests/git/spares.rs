//! A spare worktree is as good as one made for the run, or it is not used.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use orch::git::Repository;

use super::repo::{SampleRepo, branch, git, main, sha, snapshot, write};

/// A repository with a folder, a program, a link, an ignored name and line ends that git changes.
fn repo() -> SampleRepo {
    let repo = SampleRepo::with_a_person();
    let desk = &repo.origin;
    fs::write(desk.join("run.sh"), "echo\n").unwrap();
    fs::set_permissions(desk.join("run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("run.sh", desk.join("link")).unwrap();
    let files = [
        (".gitignore", "cache\n"),
        (".gitattributes", "*.bat eol=crlf\n"),
        ("a.bat", "one\ntwo\n"),
        ("deep/er/file.txt", "text\n"),
    ];
    repo.commit(&files, "More");
    repo
}

/// All files below, with mode and content; what only says where the worktree is left out.
fn content(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let found = snapshot(root).into_iter();
    let mut found: BTreeMap<_, _> = found
        .map(|(path, seen)| (path.strip_prefix(root).unwrap().to_owned(), seen))
        .collect();
    found.remove(Path::new(".git"));
    found
}

fn inode(worktree: &Path) -> u64 {
    fs::metadata(worktree.join("README.md")).unwrap().ino()
}

/// It is what `git worktree add` makes at the same commit, and git sees nothing changed in it.
fn assert_is_fresh(repo: &SampleRepo, clone: &Repository, worktree: &Path) {
    let fresh = repo.path("compared");
    let head = clone.head_of(worktree).unwrap().unwrap();
    clone.prepare_worktree(&fresh, &head).unwrap();
    assert_eq!(content(worktree), content(&fresh));
    clone.remove_worktree(&fresh).unwrap();
    assert_eq!(git(worktree, &["status", "--porcelain", "--ignored"]), "");
    assert_eq!(git(worktree, &["branch", "--show-current"]), "");
    assert_eq!(sha(worktree, "HEAD"), head);
    let top = git(worktree, &["rev-parse", "--show-toplevel"]);
    assert_eq!(Path::new(&top), fs::canonicalize(worktree).unwrap());
}

/// The clone knows these worktrees and no other; no administration is left that leads nowhere.
fn assert_known(clone: &Repository, worktrees: &[&Path]) {
    let listed = clone.list_worktrees().unwrap();
    let mut paths: Vec<&Path> = listed.iter().map(|w| w.path.as_path()).collect();
    let mut expected = worktrees.to_vec();
    paths.sort();
    expected.sort();
    assert_eq!(paths, expected);
    let admins = fs::read_dir(clone.bare().join("worktrees")).map_or(0, Iterator::count);
    assert_eq!(admins, worktrees.len());
}

#[test]
fn a_run_begins_in_the_spare_worktree_as_in_one_of_its_own() {
    let repo = repo();
    let clone = repo.clone();
    let (spare, run) = (repo.path("spare"), repo.path("runs/1"));
    clone.make_spare(&spare).unwrap();
    let made = inode(&spare);
    // Asked for again while it is there: it stays.
    clone.make_spare(&spare).unwrap();
    assert_eq!(inode(&spare), made);
    clone
        .prepare_from_spare(&run, &sha(&repo.origin, "main"))
        .unwrap();
    assert_eq!(inode(&run), made);
    assert!(!spare.exists());
    assert_is_fresh(&repo, &clone, &run);
    assert_known(&clone, &[&run]);
    // The next one is another.
    clone.make_spare(&spare).unwrap();
    assert_ne!(inode(&spare), made);
    assert_known(&clone, &[&run, &spare]);
    clone.remove_worktree(&run).unwrap();
    clone.remove_spare(&spare).unwrap();
    assert_known(&clone, &[]);
}

#[test]
fn of_runs_that_begin_at_once_one_takes_the_spare_and_none_shares_it() {
    let repo = repo();
    let clone = repo.clone();
    let (spare, tip) = (repo.path("spare"), sha(&repo.origin, "main"));
    clone.make_spare(&spare).unwrap();
    let made = inode(&spare);
    let runs = [repo.path("runs/1"), repo.path("runs/2"), repo.path("runs/3")];
    std::thread::scope(|scope| {
        for run in &runs {
            scope.spawn(|| clone.prepare_from_spare(run, &tip).unwrap());
        }
        // Also while the next one is made.
        scope.spawn(|| clone.make_spare(&spare).unwrap());
    });
    let mut inodes: Vec<u64> = runs.iter().map(|run| inode(run)).collect();
    assert!(inodes.contains(&made));
    inodes.sort_unstable();
    inodes.dedup();
    assert_eq!(inodes.len(), runs.len());
    for run in &runs {
        assert_is_fresh(&repo, &clone, run);
    }
}

#[test]
fn a_spare_that_was_touched_in_any_way_is_not_used() {
    let repo = repo();
    let clone = repo.clone();
    let (spare, run, tip) = (repo.path("spare"), repo.path("runs/1"), sha(&repo.origin, "main"));
    let file = spare.join("README.md");
    let admin = || fs::canonicalize(git(&spare, &["rev-parse", "--git-dir"])).unwrap();
    let damages: [(&str, &dyn Fn()); 12] = [
        ("a new file", &|| write(&spare, &[("deep/er/new", "x")])),
        ("an ignored file", &|| write(&spare, &[("cache", "x")])),
        ("an empty folder", &|| {
            fs::create_dir(spare.join("deep/empty")).unwrap()
        }),
        ("a file removed", &|| fs::remove_file(&file).unwrap()),
        ("a mode", &|| {
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap()
        }),
        ("other content of the same size and time", &|| {
            let before = fs::metadata(&file).unwrap();
            fs::write(&file, "HELLO\n").unwrap();
            let file = fs::File::options().write(true).open(&file).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
        }),
        ("a deep file", &|| {
            write(&spare, &[("deep/er/file.txt", "TEXT\n")])
        }),
        ("another commit", &|| {
            drop(git(
                &spare,
                &["commit", "-q", "--allow-empty", "-m", "by an agent"],
            ))
        }),
        ("the index", &|| {
            drop(git(&spare, &["rm", "-q", "--cached", "run.sh"]))
        }),
        ("a file of its administration", &|| {
            fs::write(admin().join("config.worktree"), "").unwrap()
        }),
        ("its administration gone", &|| {
            fs::remove_dir_all(admin()).unwrap()
        }),
        ("its folder gone", &|| fs::remove_dir_all(&spare).unwrap()),
    ];
    for (what, damage) in damages {
        clone.make_spare(&spare).unwrap();
        damage();
        clone.prepare_from_spare(&run, &tip).unwrap();
        assert_eq!(clone.head_of(&run).unwrap(), Some(tip.clone()), "{what}");
        assert_is_fresh(&repo, &clone, &run);
        assert!(!spare.exists(), "{what}");
        assert_known(&clone, &[&run]);
        clone.remove_worktree(&run).unwrap();
    }
}

#[test]
fn a_spare_is_moved_to_the_commit_of_a_branch_and_only_what_differs_is_written() {
    let repo = repo();
    let clone = repo.clone();
    let (spare, run) = (repo.path("spare"), repo.path("runs/1"));
    let changes = [
        ("README.md", "news\n"),
        ("deep/new/file.txt", "x\n"),
        ("run.sh", "exit\n"),
    ];
    repo.commit_on("feature/x", &changes, "Work");
    git(&repo.origin, &["checkout", "-q", "feature/x"]);
    git(&repo.origin, &["rm", "-q", "deep/er/file.txt"]);
    git(&repo.origin, &["commit", "-q", "-m", "Less"]);
    git(&repo.origin, &["checkout", "-q", "main"]);
    let head = clone.start_of(&branch("feature/x")).unwrap();
    clone.make_spare(&spare).unwrap();
    let untouched = fs::metadata(spare.join("a.bat")).unwrap().ino();
    clone.prepare_from_spare(&run, &head).unwrap();
    assert_eq!(fs::metadata(run.join("a.bat")).unwrap().ino(), untouched);
    assert_eq!(sha(&run, "HEAD"), head);
    assert!(!run.join("deep/er").exists());
    assert_is_fresh(&repo, &clone, &run);
    assert_known(&clone, &[&run]);
    // Back again, from a main that moved meanwhile.
    let tip = repo.commit(&[("README.md", "more news\n")], "News");
    assert_eq!(clone.start_of(&branch("new")).unwrap(), tip);
    clone.remove_worktree(&run).unwrap();
    clone.make_spare(&spare).unwrap();
    clone.prepare_from_spare(&run, &head).unwrap();
    assert_is_fresh(&repo, &clone, &run);
}

/// git does not write a file anew because the rules of how it is written are others.
#[test]
fn a_spare_is_not_moved_to_where_files_are_written_by_other_rules() {
    let repo = repo();
    let clone = repo.clone();
    let (spare, run) = (repo.path("spare"), repo.path("runs/1"));
    let head = repo.commit_on(
        "feature/x",
        &[("deep/.gitattributes", "*.txt eol=crlf\n")],
        "Rules",
    );
    clone.make_spare(&spare).unwrap();
    let made = inode(&spare);
    clone.start_of(&branch("feature/x")).unwrap();
    clone.prepare_from_spare(&run, &head).unwrap();
    assert_ne!(inode(&run), made);
    assert_eq!(fs::read(run.join("deep/er/file.txt")).unwrap(), b"text\r\n");
    assert_is_fresh(&repo, &clone, &run);
    // It stays for another.
    assert_eq!(inode(&spare), made);
    assert_known(&clone, &[&run, &spare]);
}

/// The two moves of a taking are no one deed: this is what each leaves of a process that dies after it.
#[test]
fn whoever_dies_while_it_takes_the_spare_leaves_nothing_behind_and_nothing_for_use() {
    let repo = repo();
    let (spare, run, tip) = (repo.path("spare"), repo.path("runs/1"), sha(&repo.origin, "main"));
    fs::create_dir(repo.path("runs")).unwrap();
    let moved = |_: &Repository| fs::rename(&spare, &run).unwrap();
    let taken = |clone: &Repository| clone.prepare_from_spare(&run, &tip).unwrap();
    let made = |_: &Repository| ();
    let half_made = |_: &Repository| fs::remove_file(spare.join("README.md")).unwrap();
    let deaths: [&dyn Fn(&Repository); 4] = [&made, &half_made, &moved, &taken];
    for death in deaths {
        let died = repo.clone();
        died.make_spare(&spare).unwrap();
        death(&died);
        drop(died);
        let left = if spare.exists() { &spare } else { &run };
        write(left, &[("left-behind", "x")]);
        let clone = repo.clone();
        // By the run that is prepared anew, or by what tidies up after it; and by whoever makes the next.
        clone.prepare_from_spare(&run, &tip).unwrap();
        clone.make_spare(&spare).unwrap();
        assert_known(&clone, &[&run, &spare]);
        assert_is_fresh(&repo, &clone, &run);
        clone.remove_worktree(&run).unwrap();
        clone.prepare_from_spare(&run, &tip).unwrap();
        assert_is_fresh(&repo, &clone, &run);
        assert_known(&clone, &[&run]);
        clone.remove_worktree(&run).unwrap();
    }
}

#[test]
fn a_branch_that_origin_does_not_have_begins_at_the_tip_of_main_and_is_not_made() {
    let repo = SampleRepo::new();
    let clone = repo.clone();
    let name = branch("feature/x");
    let tip = clone.remote_head(&main()).unwrap().unwrap();
    assert_eq!(clone.start_of(&name).unwrap(), tip);
    assert_eq!(clone.remote_head(&name).unwrap(), None);
    let head = repo.commit_on("feature/x", &[("x", "x")], "By a person");
    assert_eq!(clone.start_of(&name).unwrap(), head);
    clone.prepare_worktree(&repo.path("w"), &head).unwrap();
    assert!(clone.start_of(&main()).is_err());
}
