//! Judges a report of checks against staging, and writes it down. Never runs a check.
//!
//! The report is what the project's check command prints: one JSON object for each check, on a line of its own. Whatever
//! could hide a failure makes the report a bad one: it is never green then.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::id::Sha;
use super::quoted;

/// Most checks of a report.
pub const MOST_CHECKS: usize = 500;
const MAX_NAME: usize = 120;
const MAX_DETAIL: usize = 300;
/// Most problems of a report that are told.
const MAX_PROBLEMS: usize = 20;
/// As much of the output stands in the log.
const MAX_OUTPUT: usize = 16 * 1024;

/// What a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// What staging stands on: a name server, another team's service.
    Infra,
    /// The candidate itself.
    Real,
}

impl Class {
    fn as_str(self) -> &'static str {
        match self {
            Self::Infra => "infra",
            Self::Real => "real",
        }
    }
}

/// One check and how it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What it looks at.
    pub class: Class,
    /// Its writer holds it for critical.
    pub critical: bool,
    /// It passed.
    pub ok: bool,
    /// What it says, in one line.
    pub detail: String,
}

/// What the check command printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Its checks, each name once, in the order of their first line.
    pub checks: Vec<Check>,
    /// Why it cannot be relied on.
    pub problems: Vec<String>,
}

/// How the check command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code.
    Code(i32),
    /// Otherwise, in words: a signal, its time was over.
    Otherwise(String),
}

/// What a project bears and what it wants.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Infrastructure checks that may fail.
    pub infra_allowed: &'a BTreeSet<String>,
    /// They may indeed.
    pub tolerate_infra: bool,
    /// Checks that have to be in the report.
    pub required: &'a BTreeSet<String>,
}

/// What a report comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The candidate passed.
    pub success: bool,
    /// Why, in one line.
    pub reason: String,
    /// Its checks.
    pub checks: Vec<Check>,
    /// How many failed or did not run, waived ones included.
    pub failed: usize,
    /// Failed checks that are borne, by name.
    pub waived: Vec<String>,
    /// What stands against it, one line each.
    pub findings: Vec<String>,
}

impl Report {
    /// Reads what was printed. `whole` is false where a part of it is lost.
    pub fn read(output: &str, whole: bool) -> Self {
        let mut report = Self::default();
        if !whole {
            report.problem("the report is longer than 64 KiB: print less".to_owned());
        }
        let mut places: BTreeMap<String, usize> = BTreeMap::new();
        for line in output.lines().map(str::trim) {
            let check = match serde_json::from_str(line) {
                Ok(Value::Object(fields)) => check_of(&fields),
                // Two programs that print at once can tear a line apart: the rest of it may have been a failure.
                Err(_) if line.starts_with("{\"") => {
                    Err("a line that begins like a check is no JSON".to_owned())
                }
                // What else a program prints.
                Ok(_) | Err(_) => continue,
            };
            match check {
                Err(why) => report.problem(format!("{why}: {}", quoted::one_line(line, 100))),
                Ok(check) => match places.get(&check.name) {
                    Some(place) => report.checks[*place].worsen(check),
                    None if report.checks.len() == MOST_CHECKS => {
                        report.problem(format!("more than {MOST_CHECKS} checks"));
                        break;
                    }
                    None => {
                        places.insert(check.name.clone(), report.checks.len());
                        report.checks.push(check);
                    }
                },
            }
        }
        report
    }

    fn problem(&mut self, why: String) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(why);
        }
    }
}

impl Check {
    /// Of two lines with one name the worse counts.
    fn worsen(&mut self, other: Self) {
        if self.ok && !other.ok {
            self.detail = other.detail;
        }
        self.ok &= other.ok;
        self.critical |= other.critical;
        self.class = self.class.max(other.class);
    }

    fn said(&self) -> String {
        let (class, name) = (self.class.as_str(), &self.name);
        let critical = if self.critical { "critical " } else { "" };
        match self.detail.is_empty() {
            true => format!("{critical}{class} check {name:?} failed"),
            false => format!("{critical}{class} check {name:?} failed: {}", self.detail),
        }
    }
}

fn check_of(fields: &Map<String, Value>) -> Result<Check, String> {
    let name = match fields.get("name") {
        Some(Value::String(name)) if !name.trim().is_empty() && name.chars().count() <= MAX_NAME => {
            quoted::one_line(name, MAX_NAME)
        }
        Some(_) | None => return Err(format!("a check needs a name of 1 to {MAX_NAME} characters")),
    };
    let class = match fields.get("class").and_then(Value::as_str) {
        Some("real") => Class::Real,
        Some("infra") => Class::Infra,
        Some(_) | None => return Err("a check needs class \"real\" or \"infra\"".to_owned()),
    };
    let critical = match fields.get("critical") {
        None => false,
        Some(Value::Bool(critical)) => *critical,
        Some(_) => return Err("critical is true or false".to_owned()),
    };
    let Some(Value::Bool(ok)) = fields.get("ok") else {
        return Err("a check needs ok = true or false".to_owned());
    };
    let detail = match fields.get("detail") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(detail)) => quoted::one_line(detail, MAX_DETAIL),
        Some(_) => return Err("detail is a text".to_owned()),
    };
    Ok(Check {
        name,
        class,
        critical,
        ok: *ok,
        detail,
    })
}

/// What a report means. Green needs a real check that passed, a command that ended as its checks say, every required check,
/// and no failure but those of the infrastructure that are allowed and borne.
pub fn judge(report: Report, ended: &Ended, policy: &Policy<'_>) -> Outcome {
    let borne = |check: &&Check| {
        policy.tolerate_infra && check.class == Class::Infra && policy.infra_allowed.contains(&check.name)
    };
    let failures: Vec<&Check> = report.checks.iter().filter(|c| !c.ok).collect();
    let missing: Vec<&String> = policy
        .required
        .iter()
        .filter(|name| !report.checks.iter().any(|c| c.name == **name))
        .collect();
    let mut findings = report.problems.clone();
    findings.extend(failures.iter().filter(|c| !borne(c)).map(|c| c.said()));
    findings.extend(
        missing
            .iter()
            .map(|n| format!("required check {n:?} did not run")),
    );
    let waived: Vec<String> = failures
        .iter()
        .filter(|c| borne(c))
        .map(|c| c.name.clone())
        .collect();
    let real_passed = report.checks.iter().any(|c| c.class == Class::Real && c.ok);
    if report.checks.is_empty() {
        findings.push("no checks were executed".to_owned());
    } else if !real_passed {
        findings.push("no real check passed".to_owned());
    }
    match ended {
        Ended::Code(0) => {}
        // What a command says whose checks failed.
        Ended::Code(1) if !failures.is_empty() => {}
        Ended::Code(code) => findings.push(format!(
            "check_command ended with exit code {code}, which its checks do not explain"
        )),
        Ended::Otherwise(how) => findings.push(format!("check_command did not end by itself: {how}")),
    }
    let failed = failures.len() + missing.len();
    let total = report.checks.len() + missing.len();
    let success = findings.is_empty();
    let reason = match (&findings[..], &waived[..]) {
        ([], []) => format!("all {total} checks passed"),
        ([], waived) => format!(
            "{} of {total} checks passed; waived: {}",
            total - failed,
            waived.join(", ")
        ),
        ([one], _) => one.clone(),
        ([first, more @ ..], _) => format!("{first} (and {} more)", more.len()),
    };
    Outcome {
        success,
        reason: quoted::one_line(&reason, 400),
        checks: report.checks,
        failed,
        waived,
        findings,
    }
}

impl Outcome {
    /// The candidate was not even deployed.
    pub fn not_deployed(why: String) -> Self {
        Self {
            reason: why.clone(),
            findings: vec![why],
            ..Self::default()
        }
    }

    /// `15-staging-log.md`. `output` is the end of what the commands printed.
    pub fn log(&self, revision: &Sha, output: &str) -> String {
        let status = if self.success { "SUCCESS" } else { "FAILED" };
        let total = self.checks.len() + self.missing();
        let mut log = format!(
            "---\nstaging_status: {status}\nrevision: {:?}\nchecks_total: {total}\nchecks_failed: {}\nwaived: {}\nfindings: {}\n---\n\n# Staging\n\n{}\n",
            revision.as_str(),
            self.failed,
            list(&self.waived),
            list(&self.findings),
            quoted::code_span(&self.reason),
        );
        if !self.checks.is_empty() {
            log.push_str("\n| check | class | critical | result | detail |\n|---|---|---|---|---|\n");
        }
        for check in &self.checks {
            let result = match (check.ok, self.waived.contains(&check.name)) {
                (true, _) => "ok",
                (false, true) => "failed, waived",
                (false, false) => "failed",
            };
            let critical = if check.critical { "yes" } else { "" };
            // Foreign words: nothing of theirs ends the cell.
            let cell = |text: &str| match text {
                "" => String::new(),
                text => quoted::code_span(&text.replace('|', "/")),
            };
            let _ = writeln!(
                log,
                "| {} | {} | {critical} | {result} | {} |",
                cell(&check.name),
                check.class.as_str(),
                cell(&check.detail)
            );
        }
        let output = quoted::clean_tail(output, MAX_OUTPUT);
        if !output.trim().is_empty() {
            let _ = write!(log, "\nEnd of the output:\n\n{}\n", quoted::fenced(&output));
        }
        log
    }

    /// Checks that are counted and have no line.
    fn missing(&self) -> usize {
        self.failed - self.checks.iter().filter(|c| !c.ok).count()
    }
}

/// A list in YAML's flow style, whose texts are JSON.
fn list(texts: &[String]) -> String {
    let texts: Vec<String> = texts
        .iter()
        .map(|t| Value::from(quoted::one_line(t, MAX_DETAIL)).to_string())
        .collect();
    format!("[{}]", texts.join(", "))
}

#[cfg(test)]
mod tests;
