//! The sample project: a small tool in POSIX sh with tests that really run, and an agent in sh for every role.
//! Never needs a network, a compiler, or anything beside sh and git.

use crate::git::sample::SampleCommit;

/// The project's name.
pub const PROJECT: &str = "tally";
/// Prefix of its work items.
pub const PREFIX: &str = "DEMO";
/// The branch it delivers to.
pub const MAIN: &str = "main";
/// Its test command, for `sh -c` in a checkout.
pub const TESTS: &str = "sh tests/run.sh";
/// What is asked for.
pub const TITLE: &str = "Show the most frequent words";
/// What is asked for, at length.
pub const DESCRIPTION: &str =
    "Writers repeat themselves. `tally --top N FILE` should show them the N words they use most.";

/// The agent's script.
pub const AGENT: &str = include_str!("sample/agent.sh");

/// How the project came to be, before the task.
pub const HISTORY: [SampleCommit<'static>; 3] = [
    SampleCommit {
        message: "Count the words of a text",
        files: &[
            ("bin/tally", include_str!("sample/tally_words.sh")),
            ("README.md", include_str!("sample/readme.md")),
        ],
    },
    SampleCommit {
        message: "Test it",
        files: &[
            ("tests/run.sh", include_str!("sample/tests_run.sh")),
            ("tests/words_test.sh", include_str!("sample/words_test.sh")),
        ],
    },
    SampleCommit {
        message: "Count lines with --lines",
        files: &[
            ("bin/tally", include_str!("sample/tally_lines.sh")),
            ("tests/lines_test.sh", include_str!("sample/lines_test.sh")),
        ],
    },
];
