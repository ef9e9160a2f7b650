//! What an agent leaves in other places than its HEAD and its files is kept as well.

use std::fs;
use std::path::{Path, PathBuf};

use orch::domain::id::{RunId, Sha, WorkItemId};
use orch::git::{Repository, WipName, WipRef};

use super::repo::{SampleRepo, git, main, orch, sha, succeeds, write};

struct AtWork {
    repo: SampleRepo,
    clone: Repository,
    start: Sha,
    path: PathBuf,
}

fn name(run: i64) -> WipName {
    WipName::new(&WorkItemId::trusted("ORCH-1"), RunId(run))
}

fn at_work() -> AtWork {
    let repo = SampleRepo::new();
    let start = repo.commit(&[("a", "one\n"), (".gitignore", "ignored\n")], "files");
    let clone = repo.clone();
    let path = repo.path("w");
    clone.prepare_worktree(&path, &start).unwrap();
    AtWork {
        repo,
        clone,
        start,
        path,
    }
}

impl AtWork {
    fn try_save(&self, run: i64) -> Result<Option<WipRef>, orch::git::GitError> {
        self.clone.save_wip(&self.path, &name(run), "Unfinished", &orch())
    }

    fn save(&self, run: i64) -> WipRef {
        self.try_save(run).unwrap().unwrap()
    }

    fn commit(&self, file: &str) -> Sha {
        write(&self.path, &[(file, "x\n")]);
        git(&self.path, &["add", "-A"]);
        git(&self.path, &["commit", "-q", "-m", file]);
        sha(&self.path, "HEAD")
    }

    fn bare(&self) -> &Path {
        self.clone.bare()
    }

    fn parents(&self, wip: &WipRef) -> Vec<String> {
        let parents = git(self.bare(), &["log", "-1", "--format=%P", wip.sha.as_str()]);
        parents.split(' ').map(str::to_owned).collect()
    }

    fn files(&self, wip: &WipRef) -> Vec<String> {
        let files = git(self.bare(), &["ls-tree", "-r", "--name-only", wip.sha.as_str()]);
        files.lines().map(str::to_owned).collect()
    }

    /// As at the end of a run, and long after it.
    fn put_away(&self) {
        self.clone.remove_worktree(&self.path).unwrap();
        git(self.bare(), &["reflog", "expire", "--expire=now", "--all"]);
        git(self.bare(), &["gc", "--quiet", "--prune=now"]);
        assert_eq!(self.clone.list_worktrees().unwrap(), []);
    }
}

#[test]
fn commits_that_the_agent_walked_away_from_are_kept_beside_its_head() {
    let it = at_work();
    git(&it.path, &["checkout", "-q", "-b", "side"]);
    it.commit("first");
    let side = it.commit("second");
    git(&it.path, &["checkout", "-q", "--detach", it.start.as_str()]);
    let detached = it.commit("nowhere");
    git(&it.path, &["checkout", "-q", "--detach", it.start.as_str()]);
    git(&it.path, &["branch", "-D", "-q", "side"]);
    write(&it.path, &[("open", "x\n")]);
    let wip = it.save(1);
    let mut parents = it.parents(&wip);
    assert_eq!(parents.remove(0), it.start.as_str());
    parents.sort();
    let mut left = [side.to_string(), detached.to_string()];
    left.sort();
    assert_eq!(parents, left);
    assert!(it.files(&wip).contains(&"open".to_owned()));
    let told = git(it.bare(), &["log", "-1", "--format=%B", wip.sha.as_str()]);
    assert!(told.contains("second") && told.contains("nowhere"), "{told}");
    it.put_away();
    assert_eq!(git(it.bare(), &["show", &format!("{side}:first")]), "x");
    assert_eq!(git(it.bare(), &["show", &format!("{detached}:nowhere")]), "x");
}

#[test]
fn what_the_agent_took_back_itself_or_took_along_is_not_kept_beside_its_head() {
    let it = at_work();
    it.commit("taken-back");
    git(&it.path, &["reset", "-q", "--hard", it.start.as_str()]);
    git(&it.path, &["checkout", "-q", "-b", "side"]);
    it.commit("merged");
    git(&it.path, &["checkout", "-q", "--detach", it.start.as_str()]);
    git(&it.path, &["merge", "-q", "side"]);
    git(&it.path, &["checkout", "-q", "--detach", "origin/main"]);
    assert_eq!(it.parents(&it.save(1)).len(), 2, "walked away from the merge");
    git(&it.path, &["checkout", "-q", "--detach", "side"]);
    assert_eq!(it.save(2).sha, sha(&it.path, "side"));
}

#[test]
fn stashes_are_kept_each_once_and_by_the_run_that_made_them() {
    let it = at_work();
    let other = it.repo.path("other");
    let elsewhere = it.repo.commit(&[("b", "b\n")], "later");
    it.clone.fetch().unwrap();
    it.clone.prepare_worktree(&other, &elsewhere).unwrap();
    for (path, content) in [
        (&it.path, "first\n"),
        (&it.path, "second\n"),
        (&other, "theirs\n"),
    ] {
        write(path, &[("a", content), ("untracked", content)]);
        git(path, &["stash", "push", "-q", "--include-untracked"]);
    }
    let wip = it.save(1);
    let kept = it.parents(&wip);
    assert_eq!(kept.len(), 3, "{kept:?}");
    let again = it.save(1);
    assert_eq!(again, wip, "a second settle keeps the same");
    let theirs = it
        .clone
        .save_wip(&other, &name(2), "x", &orch())
        .unwrap()
        .unwrap();
    assert_eq!(it.parents(&theirs).len(), 2);
    git(&other, &["stash", "clear"]);
    it.clone.remove_worktree(&other).unwrap();
    it.put_away();
    for (stash, content) in [(&kept[1], ["first", "second"]), (&kept[2], ["first", "second"])] {
        let stashed = git(it.bare(), &["show", &format!("{stash}:a")]);
        assert!(content.contains(&stashed.as_str()), "{stashed}");
        assert_eq!(
            git(it.bare(), &["show", &format!("{stash}^3:untracked")]),
            stashed
        );
    }
}

#[test]
fn of_a_run_that_was_delivered_only_what_lies_beside_is_kept() {
    let it = at_work();
    it.commit("delivered");
    let rest = || it.clone.save_rest(&it.path, &name(1), "x", &orch()).unwrap();
    assert_eq!(rest(), None);
    write(&it.path, &[("a", "tried\n")]);
    git(&it.path, &["stash", "-q"]);
    let kept = rest().unwrap();
    assert_eq!(it.parents(&kept).len(), 2);
}

/// A repository that the agent could clone.
fn library(it: &AtWork) -> PathBuf {
    let library = it.repo.path("library");
    git(it.repo.room.path(), &["init", "-q", "-b", "main", "library"]);
    write(&library, &[("lib.c", "old\n"), (".gitignore", "*.o\n")]);
    git(&library, &["add", "-A"]);
    git(&library, &["commit", "-q", "-m", "library"]);
    library
}

#[test]
fn files_of_a_cloned_repository_are_kept_when_the_agent_worked_there_and_else_not() {
    let it = at_work();
    let url = library(&it).display().to_string();
    for name in ["looked-at", "changed", "committed", "deep"] {
        git(&it.path, &["clone", "-q", &url, name]);
    }
    write(&it.path, &[("changed/lib.c", "new\n"), ("changed/x.o", "x")]);
    write(&it.path, &[("committed/lib.c", "new\n")]);
    git(&it.path.join("committed"), &["commit", "-q", "-a", "-m", "mine"]);
    git(&it.path.join("deep"), &["clone", "-q", &url, "inner"]);
    write(&it.path, &[("deep/inner/more", "x\n")]);
    let kept = it.save(1);
    let files = it.files(&kept);
    let has = |name: &str| files.iter().any(|file| file == name);
    for name in [
        "changed/lib.c",
        "committed/lib.c",
        "deep/lib.c",
        "deep/inner/more",
    ] {
        assert!(has(name), "{name}: {files:?}");
    }
    assert!(!has("looked-at/lib.c") && !has("changed/x.o"), "{files:?}");
    for name in ["changed", "committed"] {
        let content = git(it.bare(), &["show", &format!("{}:{name}/lib.c", kept.sha)]);
        assert_eq!(content, "new");
    }
    assert!(it.path.join("changed/.git").is_dir());
    let links = git(it.bare(), &["ls-tree", "-r", kept.sha.as_str()]);
    assert!(!links.contains("160000"), "{links}");
}

#[test]
fn files_of_a_submodule_are_kept_when_the_agent_worked_there() {
    let it = at_work();
    let url = library(&it).display().to_string();
    git(&it.path, &["submodule", "--quiet", "add", &url, "sub"]);
    git(&it.path, &["commit", "-q", "-m", "with a submodule"]);
    let with_it = it.save(1);
    assert!(git(it.bare(), &["ls-tree", with_it.sha.as_str()]).contains("160000"));
    write(&it.path, &[("sub/lib.c", "new\n")]);
    let dirty = it.save(2);
    assert_eq!(
        git(it.bare(), &["show", &format!("{}:sub/lib.c", dirty.sha)]),
        "new"
    );
    git(&it.path.join("sub"), &["commit", "-q", "-a", "-m", "mine"]);
    let committed = it.save(3);
    assert_eq!(
        git(it.bare(), &["show", &format!("{}:sub/lib.c", committed.sha)]),
        "new"
    );
}

#[test]
fn worktrees_that_the_agent_made_inside_of_its_own_are_kept_and_go_with_it() {
    let it = at_work();
    for name in ["open", "ignored/done"] {
        git(&it.path, &["worktree", "add", "-q", "--detach", name]);
    }
    write(&it.path, &[("open/fresh", "x\n"), ("ignored/done/f", "x\n")]);
    let inner = it.path.join("ignored/done");
    git(&inner, &["add", "-A"]);
    git(&inner, &["commit", "-q", "-m", "there"]);
    let done = sha(&inner, "HEAD");
    write(&inner, &[("and-more", "x\n")]);
    let wip = it.save(1);
    let files = it.files(&wip);
    for name in ["open/fresh", "ignored/done/and-more"] {
        assert!(files.iter().any(|file| file == name), "{name}: {files:?}");
    }
    assert_eq!(it.parents(&wip)[1..], [done.to_string()]);
    it.put_away();
}

#[test]
fn nothing_is_noted_as_kept_while_the_disk_does_not_take_all_of_it() {
    let it = at_work();
    write(&it.path, &[("fresh", "x\n"), ("deep/er", "y\n")]);
    let blob = git(&it.path, &["hash-object", "fresh"]);
    let all: Vec<String> = (0..256).map(|n| format!("{n:02x}")).collect();
    // One object that does not fit any more, among others that do; and then not a single one.
    for full in [&[blob[..2].to_owned()], &all[..]] {
        let folders: Vec<PathBuf> = full
            .iter()
            .map(|name| it.bare().join("objects").join(name))
            .collect();
        for folder in &folders {
            if folder.exists() {
                fs::rename(folder, folder.with_extension("aside")).unwrap();
            }
            // A file where a folder belongs: nothing can be written there.
            fs::write(folder, "").unwrap();
        }
        it.try_save(1).unwrap_err();
        assert_eq!(it.clone.list_wip().unwrap(), []);
        for folder in &folders {
            fs::remove_file(folder).unwrap();
            if folder.with_extension("aside").exists() {
                fs::rename(folder.with_extension("aside"), folder).unwrap();
            }
        }
    }
    let files = it.files(&it.save(1));
    assert_eq!(files, [".gitignore", "README.md", "a", "deep/er", "fresh"]);
}

#[test]
fn a_file_whose_name_git_refuses_does_not_keep_the_others_from_being_kept() {
    let it = at_work();
    write(&it.path, &[("fresh", "x\n"), ("git~1", "x\n")]);
    assert!(it.files(&it.save(1)).contains(&"fresh".to_owned()));
}

#[test]
fn an_object_that_a_power_cut_left_empty_is_written_again() {
    let it = at_work();
    write(&it.path, &[("fresh", "content\n")]);
    git(&it.path, &["add", "fresh"]);
    let blob = git(&it.path, &["rev-parse", ":fresh"]);
    let (folder, file) = blob.split_at(2);
    let object = it.bare().join("objects").join(folder).join(file);
    fs::remove_file(&object).unwrap();
    fs::write(&object, "").unwrap();
    let wip = it.save(1);
    it.clone.remove_worktree(&it.path).unwrap();
    assert_eq!(
        git(it.bare(), &["show", &format!("{}:fresh", wip.sha)]),
        "content"
    );
}

#[test]
fn a_head_that_a_power_cut_left_empty_costs_no_files() {
    let it = at_work();
    it.commit("done");
    write(&it.path, &[("fresh", "x\n")]);
    assert!(!it.clone.is_beheaded(&it.path));
    fs::write(it.bare().join("worktrees/w/HEAD"), "").unwrap();
    it.try_save(1).unwrap_err();
    assert!(it.clone.is_beheaded(&it.path));
    it.clone.readopt_worktree(&it.path, &it.start).unwrap();
    assert_eq!(
        it.files(&it.save(1)),
        [".gitignore", "README.md", "a", "done", "fresh"]
    );
    git(&it.path, &["checkout", "-q", "--orphan", "fresh"]);
    assert!(!it.clone.is_beheaded(&it.path), "an unborn branch is a HEAD");
}

#[test]
fn work_that_was_kept_under_the_same_name_is_put_aside_and_not_replaced() {
    let it = at_work();
    write(&it.path, &[("first", "x\n")]);
    let first = it.save(1);
    // Another database begins to count at one again.
    it.clone.prepare_worktree(&it.path, &it.start).unwrap();
    write(&it.path, &[("second", "x\n")]);
    let second = it.save(1);
    assert_ne!(first.sha, second.sha);
    it.put_away();
    assert_eq!(it.clone.list_wip().unwrap(), [second]);
    let aside = format!("refs/orch/stray/wip%ORCH-1%1@{}", first.sha.short());
    assert_eq!(git(it.bare(), &["rev-parse", &aside]), first.sha.as_str());
    assert_eq!(git(it.bare(), &["show", &format!("{aside}:first")]), "x");
}

#[test]
fn a_settle_that_is_repeated_keeps_the_commit_that_it_kept() {
    let it = at_work();
    write(&it.path, &[("fresh", "x\n")]);
    let first = it.save(1);
    // The next second, and so another commit of the same work.
    let old = git(it.bare(), &["log", "-1", "--format=%ct", first.sha.as_str()]);
    while git(&it.path, &["log", "-1", "--format=%ct", &stamp(&it)]) == old {
        std::thread::yield_now();
    }
    assert_eq!(it.save(1), first);
    assert!(!succeeds(
        it.bare(),
        &["rev-parse", "--verify", "-q", "refs/orch/stray"]
    ));
    let refs = git(it.bare(), &["for-each-ref", "refs/orch"]);
    assert_eq!(refs.lines().count(), 1, "{refs}");
}

fn stamp(it: &AtWork) -> String {
    git(&it.path, &["commit-tree", "-m", "x", "HEAD^{tree}"])
}

#[test]
fn branches_of_one_name_that_several_agents_made_are_all_kept() {
    let it = at_work();
    let mut heads = Vec::new();
    for file in ["one", "two", "three"] {
        git(&it.path, &["checkout", "-q", "-b", "wip"]);
        heads.push(it.commit(file));
        it.clone.prepare_worktree(&it.path, &it.start).unwrap();
    }
    it.put_away();
    for head in heads {
        git(it.bare(), &["cat-file", "-e", head.as_str()]);
    }
}

#[test]
fn kept_work_outlives_its_clone_in_its_copy() {
    let it = at_work();
    let branch = super::repo::branch("feature/x");
    it.clone.ensure_branch(&branch).unwrap();
    it.commit("committed");
    write(&it.path, &[("open", "x\n")]);
    let wip = it.save(1);
    let copy = it.repo.path("run/wip.bundle");
    fs::create_dir(it.repo.path("run")).unwrap();
    it.clone.copy_wip(&wip, &copy).unwrap();
    it.clone.copy_wip(&wip, &copy).unwrap();
    assert_eq!(fs::read_dir(it.repo.path("run")).unwrap().count(), 1);
    fs::remove_dir_all(it.bare()).unwrap();
    it.repo.commit(&[("later", "x\n")], "main went on");

    let again = it.repo.clone();
    assert_eq!(again.wip(&name(1)).unwrap(), None);
    assert_eq!(again.wip_or_copy(&name(2), &it.repo.path("none")).unwrap(), None);
    assert_eq!(again.wip_or_copy(&name(1), &copy).unwrap(), Some(wip.clone()));
    assert_eq!(again.list_wip().unwrap(), std::slice::from_ref(&wip));
    assert_eq!(it.files(&wip).len(), 5);
    let main = again.remote_head(&main()).unwrap().unwrap();
    assert_ne!(main, it.start);
}

#[test]
fn kept_work_is_shown_with_what_lies_beside_it_and_cut_where_it_is_long() {
    let it = at_work();
    git(&it.path, &["checkout", "-q", "-b", "side"]);
    it.commit("beside");
    git(&it.path, &["checkout", "-q", "--detach", it.start.as_str()]);
    write(&it.path, &[("a", "changed ä\n")]);
    let wip = it.save(1);
    assert_eq!(it.clone.wip_files(&it.start, &wip.sha).unwrap(), 1);
    let shown = it.clone.wip_text(&it.start, &wip.sha, 10_000).unwrap();
    for part in ["Unfinished", "1 file changed", "+changed ä", "beside | 1 +"] {
        assert!(shown.text.contains(part), "{part}: {}", shown.text);
    }
    assert!(!shown.cut);
    for max in 0..shown.text.len() {
        let short = it.clone.wip_text(&it.start, &wip.sha, max).unwrap();
        assert!(short.cut && shown.text.starts_with(&short.text));
        if max > 40 {
            break;
        }
    }
}
