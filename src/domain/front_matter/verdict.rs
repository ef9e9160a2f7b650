//! What an artifact's front matter means for its gate. Never fetches the artifact.

use super::FrontMatterError;
use crate::domain::gate::Verdict;
use crate::domain::quoted;

/// An artifact whose front matter decides a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerdictArtifact {
    /// File name in the task's artifact folder.
    pub file: &'static str,
    /// The key that decides.
    pub key: &'static str,
    /// The value that is green.
    pub green: &'static str,
    /// The values that are red on purpose.
    pub red: &'static [&'static str],
}

/// The reviewer's verdict.
pub const REVIEW: VerdictArtifact = VerdictArtifact {
    file: "12-review.md",
    key: "verdict",
    green: "APPROVED",
    red: &["REQUEST_CHANGES"],
};
/// The tester's result.
pub const TEST_REPORT: VerdictArtifact = VerdictArtifact {
    file: "13-test-report.md",
    key: "result",
    green: "PASS",
    red: &["FAIL"],
};
/// How the deploy ended.
pub const DEPLOY_LOG: VerdictArtifact = VerdictArtifact {
    file: "14-deploy-log.md",
    key: "deploy_status",
    green: "SUCCESS",
    red: &["FAILED"],
};
/// How staging did.
pub const STAGING_LOG: VerdictArtifact = VerdictArtifact {
    file: "15-staging-log.md",
    key: "staging_status",
    green: "SUCCESS",
    red: &["FAILED"],
};

impl VerdictArtifact {
    /// [`verdict_of`] for this artifact, shown under the path `shown_as`.
    pub fn judge(&self, shown_as: &str, blob: Option<&[u8]>) -> Verdict {
        verdict_of(shown_as, blob, self.key, self.green, self.red)
    }
}

/// Judges an artifact by one key of its front matter.
///
/// A value counts only when it is exactly one of the allowed words, in their case, white space around it aside:
/// `approved` is not `APPROVED`, because a word that is nearly right may be nearly anything. All that is not
/// plainly green is red and names what to write. An artifact that asks a question is pending.
pub fn verdict_of(
    artifact_name: &str,
    blob: Option<&[u8]>,
    key: &str,
    green_value: &str,
    red_values: &[&str],
) -> Verdict {
    let Some(blob) = blob else {
        return Verdict::red(format!("{artifact_name} is missing"));
    };
    let front = match super::parse(blob) {
        Ok(front) => front,
        Err(e) => return Verdict::red(problem(artifact_name, &e)),
    };
    if let Some(question) = front.asks() {
        let question = quoted::one_line(&question, 200);
        return Verdict::pending(format!("{artifact_name} asks: {question}"));
    }
    let allowed = || {
        let mut words = vec![green_value];
        words.extend(red_values);
        words.join(" or ")
    };
    match front.get(key) {
        Some(value) if value == green_value => Verdict::green(format!("{artifact_name}: {key} is {value}")),
        Some(value) if red_values.contains(&value) => {
            Verdict::red(format!("{artifact_name}: {key} is {value}{}", summary(&front)))
        }
        Some(value) => Verdict::red(format!(
            "{artifact_name}: {key} is {:?}, which is not {}",
            quoted::one_line(value, 60),
            allowed()
        )),
        None if front.value(key).is_some() => Verdict::red(format!(
            "{artifact_name}: {key} has no single value: write {key}: {}",
            allowed()
        )),
        None => Verdict::red(format!(
            "{artifact_name}: {key} is missing in the front matter: write {key}: {}",
            allowed()
        )),
    }
}

/// The `findings:` of an artifact; none when it has no readable front matter.
pub fn findings_of(blob: Option<&[u8]>) -> Vec<String> {
    let front = blob.and_then(|b| super::parse(b).ok());
    front.map(|f| f.list("findings")).unwrap_or_default()
}

fn problem(artifact_name: &str, error: &FrontMatterError) -> String {
    format!("{artifact_name}: {error}")
}

fn summary(front: &super::FrontMatter) -> String {
    let findings = front.list("findings");
    match findings.split_first() {
        None => String::new(),
        Some((first, [])) => format!(": {}", quoted::one_line(first, 200)),
        Some((first, more)) => format!(": {} (and {} more)", quoted::one_line(first, 200), more.len()),
    }
}
