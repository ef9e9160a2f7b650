//! What each role is told: a template per role, a shared part, the task as data.
//! Never treats text from outside as template: titles, descriptions, comments and evidence stand inside fences.

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, UndefinedBehavior, context};

use crate::domain::evidence_packet::EvidencePacket;
use crate::domain::front_matter::{DEPLOY_LOG, REVIEW, TEST_REPORT};
use crate::domain::pipeline::Role;
use crate::domain::quoted;

/// The file in which any role asks its question.
pub const QUESTION: &str = "question.md";
/// What the analyst leaves.
pub const ANALYSIS: [&str; 4] = [
    "01-brd.md",
    "02-trz.md",
    "03-acceptance-criteria.md",
    "04-test-plan.yaml",
];

/// A template that cannot be rendered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// Wrong syntax, an unknown variable, or a loop without end.
    #[error("prompt template {name}, line {line}: {why}")]
    Template {
        /// The template: `reviewer.md`, or `reviewer.md (override)`.
        name: String,
        /// Line in it, from 1; 0 when it is not known.
        line: usize,
        /// What is wrong, one line.
        why: String,
    },
    /// It rendered to nothing.
    #[error("prompt template {name} renders to nothing: write what the role has to do")]
    Empty {
        /// The template.
        name: String,
    },
    /// It rendered to more than an agent could read.
    #[error("prompt template {name} renders to {bytes} bytes: a prompt has at most 1 MiB")]
    TooLong {
        /// The template.
        name: String,
        /// Its size.
        bytes: usize,
    },
}

/// What a prompt is about. The texts may come from anybody; the names were parsed at the edge.
#[derive(Clone, Copy, Debug)]
pub struct PromptContext<'a> {
    /// The project's name.
    pub project: &'a str,
    /// The work item's id.
    pub work_item_id: &'a str,
    /// The title.
    pub title: &'a str,
    /// The description.
    pub description: &'a str,
    /// The stage.
    pub stage: &'a str,
    /// The task's branch.
    pub branch: &'a str,
    /// The branch it is merged into.
    pub main: &'a str,
    /// `docs/work-items/<work item id>`.
    pub artifacts_dir: &'a str,
    /// The project's test command, as a person would type it.
    pub test_command: Option<&'a str>,
    /// Why the task came back.
    pub evidence: Option<&'a EvidencePacket>,
    /// The latest comment of a person.
    pub comment: Option<&'a str>,
    /// What a repair adds: diagnosis, output tail, progress.
    pub notes: Option<&'a str>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
}

const MAX_TITLE: usize = 300;
const MAX_DESCRIPTION: usize = 64 * 1024;
const MAX_COMMENT: usize = 16 * 1024;
const MAX_NOTES: usize = 32 * 1024;
const MAX_PROMPT: usize = 1024 * 1024;
/// Instructions that a template may take: far more than any prompt needs, some milliseconds.
const FUEL: u64 = 200_000;

const SHARED: &str = include_str!("prompts/shared.md");

fn builtin(role: Role) -> &'static str {
    match role {
        Role::Analyst => include_str!("prompts/analyst.md"),
        Role::Architect => include_str!("prompts/architect.md"),
        Role::Developer => include_str!("prompts/developer.md"),
        Role::Reviewer => include_str!("prompts/reviewer.md"),
        Role::Tester => include_str!("prompts/tester.md"),
        Role::Deployer => include_str!("prompts/deployer.md"),
    }
}

/// The artifacts that a role must write anew in each run: one that stands there from before says nothing about this
/// run, so it is removed before the agent starts. An old question is no longer one.
pub fn artifacts_of(role: Role) -> &'static [&'static str] {
    match role {
        Role::Analyst | Role::Architect | Role::Developer => &[QUESTION],
        Role::Reviewer => &[REVIEW.file, QUESTION],
        Role::Tester => &[TEST_REPORT.file, QUESTION],
        Role::Deployer => &[DEPLOY_LOG.file, QUESTION],
    }
}

/// The artifacts in whose front matter a role may ask (`status: NEEDS_INPUT`).
pub fn asks_in(role: Role) -> &'static [&'static str] {
    match role {
        Role::Analyst => &[QUESTION, ANALYSIS[0], ANALYSIS[1], ANALYSIS[2]],
        Role::Architect | Role::Developer | Role::Reviewer | Role::Tester | Role::Deployer => {
            artifacts_of(role)
        }
    }
}

/// The prompt of a role. `override_template` stands for the shipped template of that role; it may
/// `{% include "shared.md" %}` and must use only the variables of [`PromptContext`] and `question_file`. Its time is
/// bounded, the memory of a hostile one is not: take it from where only people write, never from a task's branch.
///
/// # Errors
/// [`PromptError`], naming the template and the line.
pub fn render(
    role: Role,
    about: &PromptContext<'_>,
    override_template: Option<&str>,
) -> Result<String, PromptError> {
    let (name, source) = match override_template {
        Some(text) => (format!("{role}.md (override)"), text),
        None => (format!("{role}.md"), builtin(role)),
    };
    let explain = |e: minijinja::Error| explain(&name, &e);
    let mut env = Environment::new();
    env.set_undefined_behavior(UndefinedBehavior::Strict);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    let mut syntax = SyntaxConfig::builder();
    let syntax = syntax.trim_blocks(true).keep_trailing_newline(true).build();
    env.set_syntax(syntax.map_err(explain)?);
    env.set_fuel(Some(FUEL));
    env.add_template("shared.md", SHARED).map_err(explain)?;
    env.add_template(&name, source).map_err(explain)?;
    let template = env.get_template(&name).map_err(explain)?;
    let prompt = template.render(values(about)).map_err(explain)?;
    if prompt.trim().is_empty() {
        return Err(PromptError::Empty { name });
    }
    if prompt.len() > MAX_PROMPT {
        let bytes = prompt.len();
        return Err(PromptError::TooLong { name, bytes });
    }
    Ok(prompt)
}

fn values(about: &PromptContext<'_>) -> minijinja::Value {
    let fence = |text: &str, max: usize| quoted::fenced(&quoted::clean(text.trim(), max));
    let optional = |text: Option<&str>, max| text.filter(|t| !t.trim().is_empty()).map(|t| fence(t, max));
    let description = match about.description.trim() {
        "" => "The issue has no description: the title is the whole request.".to_owned(),
        text => fence(text, MAX_DESCRIPTION),
    };
    context! {
        project => about.project,
        work_item_id => about.work_item_id,
        title => quoted::code_span(&quoted::one_line(about.title, MAX_TITLE)),
        description => description,
        stage => about.stage,
        branch => about.branch,
        main => about.main,
        artifacts_dir => about.artifacts_dir.trim_end_matches('/'),
        question_file => QUESTION,
        test_command => about.test_command.map(|c| quoted::code_span(&quoted::one_line(c, 1000))),
        evidence => about.evidence.map(EvidencePacket::render),
        comment => optional(about.comment, MAX_COMMENT),
        notes => optional(about.notes, MAX_NOTES),
        attempt => about.attempt,
    }
}

fn explain(name: &str, error: &minijinja::Error) -> PromptError {
    let why = match error.kind() {
        ErrorKind::OutOfFuel => "it runs too long: remove the loop without end".to_owned(),
        ErrorKind::UndefinedError => {
            "a variable is used that does not exist; known: project, work_item_id, title, description, stage, \
             branch, main, artifacts_dir, question_file, test_command, evidence, comment, notes, attempt"
                .to_owned()
        }
        kind => match error.detail() {
            Some(detail) => format!("{kind}: {detail}"),
            None => kind.to_string(),
        },
    };
    PromptError::Template {
        name: error.name().unwrap_or(name).to_owned(),
        line: error.line().unwrap_or(0),
        why: quoted::one_line(&why, 400),
    }
}

/// The content of `00-business-request.md`. It has no front matter: no gate reads it.
pub fn business_request(title: &str, description: &str) -> String {
    let title = quoted::one_line(title, MAX_TITLE);
    let text = quoted::clean(description.trim(), MAX_DESCRIPTION);
    let text = if text.is_empty() {
        "The issue has no description."
    } else {
        &text
    };
    format!("# {title}\n\n{text}\n")
}
