//! What leaves the process stands in a `deed!`, so that the crash suite dies there, or in a function that is named here
//! with the reason why nothing has to.

use std::sync::LazyLock;

use regex::Regex;

use super::source::{Finding, Source, balanced};

/// A program started, a request sent, a file or folder moved or removed with all in it, a process signalled.
static EFFECT: LazyLock<Regex> = LazyLock::new(|| {
    let effects = [
        r"\.\s*(?:spawn|output|status|exec|kill)\s*\(\s*\)",
        r"\.\s*send\s*\(\s*\)\s*\.\s*await",
        r"\.\s*send_(?:body|json|form|stream)\s*\(",
        r"\bfs\s*::\s*(?:rename|remove_dir_all)\b",
        r"\blibc\s*::\s*(?:kill|killpg|tgkill|SYS_pidfd_send_signal)\b",
        r"\b(?:signal_held|signal_pid)\s*\(",
        r"\btree\s*::\s*(?:kill|terminate)\s*\(",
    ];
    Regex::new(&effects.join("|")).unwrap()
});
static DEED: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bdeed!\s*\(").unwrap());
static FUNCTION: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\bfn\s+(\w+)").unwrap());

/// Where no service dies: a process of its own, which the next start finds as it finds every process.
const ELSEWHERE: [(&str, &str); 4] = [
    ("src/cli/", "a client of the API, and the demo, which is one"),
    ("src/process/shim/", "the shim outlives the service"),
    (
        "src/process/far/drive.rs",
        "a program of its own below the shim, which is found with it",
    ),
    ("src/process/init.rs", "PID 1 of a container only hands on"),
];

/// Functions that do such a thing outside of a `deed!`, how often, and why.
pub const HARMLESS: &[(&str, &str, usize, &str)] = &[
    (
        "src/git/command.rs",
        "answer",
        1,
        "is called in the deed `git`, which names what git is asked for",
    ),
    (
        "src/engine/repair/audit.rs",
        "set_aside",
        1,
        "a file that is a copy of a table: whoever dies here finds it in its place, or writes it anew",
    ),
    (
        "src/git/child.rs",
        "kill_group",
        2,
        "ends a git that took too long, inside of the deed `git`",
    ),
    (
        "src/git/reader.rs",
        "start",
        1,
        "a git that only reads, and ends with its pipe",
    ),
    ("src/git/reader.rs", "drop", 1, "a git that only reads"),
    (
        "src/git/sample.rs",
        "git",
        1,
        "makes the demo's repository, before there is a service",
    ),
    (
        "src/git/upkeep.rs",
        "clone_aside",
        1,
        "what a clone left aside that died is swept before the next one; its placing is a deed",
    ),
    (
        "src/git/upkeep.rs",
        "sweep_interrupted",
        1,
        "the sweep itself, which the next clone begins with too",
    ),
    (
        "src/git/upkeep.rs",
        "pin_config",
        1,
        "our clone's own configuration, looked at whenever it is opened",
    ),
    (
        "src/engine/check.rs",
        "end_all",
        1,
        "a sweep: what is left is found by the next",
    ),
    (
        "src/engine/spare.rs",
        "remove",
        1,
        "a sweep: what is left is found by the next",
    ),
    (
        "src/engine/prune/folders.rs",
        "delete",
        1,
        "a sweep: a folder that is half gone is found by the next",
    ),
    (
        "src/engine/prune/command.rs",
        "one",
        1,
        "what a service that died has left is answered once by the next sweep, and gone then",
    ),
    (
        "src/integrations/exchange.rs",
        "once",
        3,
        "is called in the deeds that change something in Plane or at Gitea; what else it asks changes nothing",
    ),
    (
        "src/integrations/probe.rs",
        "asked",
        2,
        "a question, which changes nothing",
    ),
    (
        "src/integrations/notify/exchange.rs",
        "post",
        2,
        "is called in the deeds `tell the webhook` and `tell Telegram`",
    ),
    (
        "src/process/exit.rs",
        "record",
        1,
        "the shim's, which outlives the service",
    ),
    (
        "src/process/files.rs",
        "write_json",
        1,
        "the launch is read back before the deed `start a shim`; the rest is the shim's",
    ),
    (
        "src/process/orphans.rs",
        "kill_marked",
        1,
        "is called in the deed `kill orphans`",
    ),
    (
        "src/process/stop.rs",
        "signal",
        2,
        "the first of a tree's signals is the deed `stop a tree`; after it the tree is looked at anew",
    ),
    (
        "src/process/stop.rs",
        "kill_descendants",
        1,
        "goes on until none is left, and is begun anew by whoever finds the shim alive",
    ),
    (
        "src/process/tree.rs",
        "kill",
        1,
        "is called by the shim and by `kill_descendants`",
    ),
    (
        "src/process/tree.rs",
        "signal",
        2,
        "is called by the shim and by `kill_descendants`",
    ),
    (
        "src/process/sys.rs",
        "signal_held",
        1,
        "the system call, for those above",
    ),
    (
        "src/process/sys.rs",
        "signal_pid",
        1,
        "the system call, for those above",
    ),
    (
        "src/process/service.rs",
        "spawn",
        1,
        "the demo's service, which the demo owns",
    ),
    (
        "src/process/service.rs",
        "end",
        1,
        "the demo's service, which the demo owns",
    ),
    (
        "src/process/service.rs",
        "kill",
        1,
        "the demo's service, which the demo owns",
    ),
    (
        "src/process/service.rs",
        "ask_to_end",
        1,
        "the demo's service, which the demo owns",
    ),
    (
        "src/settings/token.rs",
        "store",
        1,
        "before there is a service: the next start finds a whole file or makes one",
    ),
];

/// Whether this place is inside of a `deed!`.
fn is_in_a_deed(code: &str, at: usize) -> bool {
    DEED.find_iter(&code[..at]).any(|deed| {
        let open = deed.end() - 1;
        at < open + balanced(&code[open..], '(', ')')
    })
}

/// Effects outside of a `deed!`, each with the function around it.
fn undeclared(source: &Source) -> Vec<(usize, String)> {
    if ELSEWHERE.iter().any(|(path, _)| source.path.starts_with(path)) {
        return Vec::new();
    }
    let code = &source.production;
    let effects = EFFECT.find_iter(code).map(|found| found.start());
    effects
        .filter(|at| !is_in_a_deed(code, *at))
        // A function of that name is declared here, and not called.
        .filter(|at| !code[..*at].trim_end().ends_with("fn"))
        .map(|at| {
            let around = FUNCTION.captures_iter(&code[..at]).last();
            (at, around.map_or_else(String::new, |name| name[1].to_owned()))
        })
        .collect()
}

pub fn deeds(source: &Source) -> Vec<Finding> {
    let found = undeclared(source);
    let excused = |function: &str| {
        let times = found.iter().filter(|(_, around)| around == function).count();
        HARMLESS
            .iter()
            .any(|(path, name, most, _)| *path == source.path && *name == function && times <= *most)
    };
    let findings = found.iter().filter(|(_, function)| !excused(function));
    findings
        .map(|(at, function)| {
            let what =
                format!("`{function}` leaves the process outside of a deed!: declare it, or name why not");
            source.found_at(*at, what)
        })
        .collect()
}

/// An exception that nothing needs any more.
pub fn stale_exceptions(sources: &[Source]) -> Vec<Finding> {
    let times = |path: &str, name: &str| {
        let of_path = sources.iter().filter(|source| source.path == path);
        let found = of_path.flat_map(undeclared);
        found.filter(|(_, function)| function == name).count()
    };
    let stale = HARMLESS
        .iter()
        .filter(|(path, name, most, _)| times(path, name) < *most);
    stale
        .map(|(path, name, ..)| Finding {
            rule: "what leaves the process is a deed",
            path: (*path).to_owned(),
            line: 1,
            what: format!("{name} does no such thing any more, or less of it: correct the list"),
        })
        .collect()
}
