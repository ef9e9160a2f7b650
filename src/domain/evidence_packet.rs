//! What the next developer is told about why the task came back. Never holds more than fits into a prompt.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::id::{Sha, StageName};
use super::quoted;

/// Why a task was rolled back, for the role that has to repair it. Stored as JSON with the task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidencePacket {
    /// The gate that was red.
    pub gate: String,
    /// Its reason.
    pub reason: String,
    /// The failing artifact's findings.
    #[serde(default)]
    pub findings: Vec<String>,
    /// The end of the log that shows the failure; may be empty.
    #[serde(default)]
    pub log_tail: String,
    /// What the candidate changes against `main`; may be empty.
    #[serde(default)]
    pub diff_summary: String,
    /// The stage that the task came back from.
    pub from_stage: StageName,
    /// The branch head that was judged.
    #[serde(default)]
    pub at_candidate: Option<Sha>,
}

const MAX_GATE: usize = 100;
const MAX_REASON: usize = 2_000;
const MAX_FINDING: usize = 1_000;
const MAX_FINDINGS: usize = 50;
const MAX_LOG: usize = 16 * 1024;
const MAX_DIFF: usize = 8 * 1024;

impl EvidencePacket {
    /// The packet with each part cleaned of control characters and cut to its size.
    #[must_use]
    pub fn capped(self) -> Self {
        let kept = if self.findings.len() > MAX_FINDINGS {
            MAX_FINDINGS - 1
        } else {
            self.findings.len()
        };
        let finding = |f: &String| quoted::one_line(f, MAX_FINDING);
        let mut findings: Vec<String> = self.findings.iter().take(kept).map(finding).collect();
        if kept < self.findings.len() {
            let more = self.findings.len() - kept;
            findings.push(format!("(and {more} more, see the artifact)"));
        }
        Self {
            gate: quoted::one_line(&self.gate, MAX_GATE),
            reason: quoted::one_line(&self.reason, MAX_REASON),
            findings,
            log_tail: quoted::clean_tail(&self.log_tail, MAX_LOG),
            diff_summary: quoted::clean(&self.diff_summary, MAX_DIFF),
            from_stage: self.from_stage,
            at_candidate: self.at_candidate,
        }
    }

    /// The JSON stored with the task, capped.
    pub fn to_json(&self) -> String {
        // Strings, lists and an option: serialising them cannot fail.
        serde_json::to_string(&self.clone().capped()).unwrap_or_default()
    }

    /// The inverse of [`EvidencePacket::to_json`].
    ///
    /// # Errors
    /// The text is no packet, as after a downgrade.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The packet as Markdown for a prompt: capped, and everything foreign inside fences.
    pub fn render(&self) -> String {
        let packet = self.clone().capped();
        let mut out = format!(
            "- Came back from stage: {}\n- Red gate: {}\n- Reason: {}\n",
            quoted::code_span(packet.from_stage.as_str()),
            quoted::code_span(&packet.gate),
            quoted::code_span(&packet.reason),
        );
        if let Some(sha) = &packet.at_candidate {
            let _ = writeln!(out, "- Judged commit: {}", quoted::code_span(sha.as_str()));
        }
        let findings: String = packet.findings.iter().map(|f| format!("- {f}\n")).collect();
        for (title, text) in [
            ("Findings", findings.as_str()),
            ("End of the log", packet.log_tail.as_str()),
            ("What the candidate changes", packet.diff_summary.as_str()),
        ] {
            if !text.trim().is_empty() {
                let _ = write!(out, "\n{title}:\n\n{}\n", quoted::fenced(text));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn packet() -> EvidencePacket {
        EvidencePacket {
            gate: "reviewer_verdict".into(),
            reason: "12-review.md: verdict is REQUEST_CHANGES".into(),
            findings: vec![
                "the new flag is never read\nin production".into(),
                "no test".into(),
            ],
            log_tail: "\u{1b}[31mFAILED\u{1b}[0m\n```\nboom".into(),
            diff_summary: " src/a.rs | 2 +-".into(),
            from_stage: StageName::trusted("review"),
            at_candidate: Some(Sha::trusted("0123456789012345678901234567890123456789")),
        }
    }

    #[test]
    fn a_packet_reads_as_markdown_whose_fences_nothing_inside_closes() {
        insta::assert_snapshot!(packet().render(), @r"
        - Came back from stage: `review`
        - Red gate: `reviewer_verdict`
        - Reason: `12-review.md: verdict is REQUEST_CHANGES`
        - Judged commit: `0123456789012345678901234567890123456789`

        Findings:

        ```text
        - the new flag is never read in production
        - no test
        ```

        End of the log:

        ````text
        FAILED
        ```
        boom
        ````

        What the candidate changes:

        ```text
         src/a.rs | 2 +-
        ```
        ");
    }

    #[test]
    fn every_part_is_capped_and_survives_the_database() {
        let big = EvidencePacket {
            reason: "r".repeat(10_000),
            findings: vec!["f".repeat(5_000); 90],
            log_tail: format!("{}the end", "日".repeat(50_000)),
            diff_summary: "d".repeat(50_000),
            ..packet()
        };
        let json = big.to_json();
        assert!(json.len() < 100 * 1024, "{}", json.len());
        let back = EvidencePacket::from_json(&json).unwrap();
        assert!(back.log_tail.ends_with("the end"));
        assert_eq!(back.findings.len(), 50);
        assert_eq!(back.clone().capped(), back, "capping twice changes nothing");
    }

    #[test]
    fn empty_parts_leave_no_headings() {
        let bare = EvidencePacket {
            findings: vec![],
            log_tail: String::new(),
            diff_summary: "\n".into(),
            ..packet()
        };
        assert!(!bare.render().contains("```"));
    }
}
