//! What is wrong with project files, each with file and line.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong with a project's file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}:{line}: {problem}", path.display())]
pub struct ProjectProblem {
    /// The file.
    pub path: PathBuf,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// Project files that cannot be used: every problem found, one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProjectError {
    /// The problems, in the order of the files and their lines.
    pub problems: Vec<ProjectProblem>,
}

impl ProjectError {
    pub(super) fn one(path: &Path, line: usize, problem: String) -> Self {
        let mut error = Self::default();
        error.push(path, line, problem);
        error
    }

    pub(super) fn push(&mut self, path: &Path, line: usize, problem: String) {
        self.problems.push(ProjectProblem {
            path: path.to_owned(),
            line,
            problem,
        });
    }

    /// `value`, when nothing is wrong.
    pub(super) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.problems.is_empty() {
            Ok(value)
        } else {
            Err(self)
        }
    }
}

impl fmt::Display for ProjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.problems.iter().map(ProjectProblem::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ProjectError {}
