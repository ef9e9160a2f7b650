//! What the words and texts in [`views`](super) may be, as OpenAPI says it. Words come from the domain's own lists,
//! lengths from those who check them; a test holds each pattern against the check. Never checks anything itself.

use utoipa::openapi::schema::{KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::domain::batch;
use crate::domain::deploy;
use crate::domain::gate;
use crate::domain::job;
use crate::domain::pipeline;
use crate::domain::post_deploy;
use crate::domain::run;
use crate::domain::task;
use crate::engine::gestures::{COMMENT_MAX, PERSON_MAX};
use crate::engine::intake::{DESCRIPTION_MAX, EXTERNAL_ID_MAX, TITLE_MAX};

#[cfg(test)]
mod tests;

macro_rules! shapes {
    ($($(#[doc = $doc:literal])+ $name:ident = $schema:expr;)+) => {$(
        $(#[doc = $doc])+
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let mut schema: Object = $schema;
                schema.description = Some(concat!($($doc),+).trim().to_owned());
                schema.into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

/// Control characters, as [`char::is_control`] has them: for use within brackets.
macro_rules! control {
    () => {
        r"\u0000-\u001f\u007f-\u009f"
    };
}

/// White space, as [`char::is_whitespace`] has it, that is not control.
macro_rules! space {
    () => {
        r"\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
    };
}

/// A work item's name within a longer pattern.
macro_rules! work_item {
    () => {
        r"(?![^/]{65})(?![^/]*\.lock$)[A-Za-z0-9](?:[A-Za-z0-9_-]|\.[A-Za-z0-9_-])*"
    };
}

/// A part of a path that is not empty and not "..".
macro_rules! part {
    () => {
        concat!(
            r"(?:[^/.",
            control!(),
            r"][^/",
            control!(),
            r"]*",
            r"|\.(?:[^/.",
            control!(),
            r"][^/",
            control!(),
            r"]*)?",
            r"|\.\.[^/",
            control!(),
            r"]+)"
        )
    };
}

const LINE: &str = concat!(r"^[^", control!(), r"]*$");
const NOT_BLANK_LINE: &str = concat!(
    r"^[^",
    control!(),
    r"]*[^",
    control!(),
    space!(),
    r"][^",
    control!(),
    r"]*$"
);
const WITHOUT_NUL: &str = r"^[^\u0000]*$";
const PATH: &str = concat!("^", part!(), "(?:/", part!(), "?)*$");
const WORK_ITEM: &str = concat!("^", work_item!(), "$");
const TASK: &str = concat!(r"^(?:[a-z][a-z0-9-]{0,39}/)?", work_item!(), "$");
const SCOPE: &str = concat!("^(?:project:[a-z][a-z0-9-]{0,39}|batch:", work_item!(), ")$");
/// Without escape codes, and with something that is seen.
const NOT_BLANK: &str = concat!(
    r"^[^\u001b\u009b]*[^",
    control!(),
    space!(),
    r"\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff][^\u001b\u009b]*$"
);
const COMMIT_PREFIX: &str = "^[0-9a-fA-F]{7,64}$";

shapes! {
    /// Where a task stands, beside its stage.
    TaskStatus = words(task::TaskStatus::ALL.map(task::TaskStatus::as_str));
    /// What a person can do to a task.
    Gesture = words(task::Gesture::ALL.map(task::Gesture::as_str));
    /// Where a deploy stands.
    DeployStatus = words(deploy::DeployStatus::ALL.map(deploy::DeployStatus::as_str));
    /// What a job is for.
    JobKind = words(job::JobKind::ALL.map(job::JobKind::as_str));
    /// How a job stands.
    JobStatus = words(job::JobStatus::ALL.map(job::JobStatus::as_str));
    /// How far a run has come.
    RunStep = words(run::RunStep::ALL.map(run::RunStep::as_str));
    /// Who works in a stage.
    Role = words(pipeline::Role::ALL.map(pipeline::Role::as_str));
    /// What watching production after a deploy came to.
    Health = words(post_deploy::Health::ALL.map(post_deploy::Health::as_str));
    /// What was done about it.
    ActionTaken = words(post_deploy::ActionTaken::ALL.map(post_deploy::ActionTaken::as_str));
    /// What a gate answered.
    GateState = words(gate::GateState::ALL.map(gate::GateState::as_str));
    /// How the tasks of a batch are worked.
    BatchMode = words(batch::BatchMode::ALL.map(batch::BatchMode::as_str));
    /// Where a cost comes from.
    Provenance = words(run::Provenance::ALL.map(run::Provenance::as_str));

    /// One line that says what the task is.
    Title = text(1, TITLE_MAX, NOT_BLANK_LINE);
    /// What is wanted, in as many lines as it takes.
    Description = text(0, DESCRIPTION_MAX, WITHOUT_NUL);
    /// A task's name within its project: "SHOP-7" means "SHOP-007" where that is how it is written.
    WorkItemName = text(1, 64, WORK_ITEM);
    /// A task's name; `project/NAME` where several projects have it.
    TaskName = text(1, 105, TASK);
    /// A batch's name.
    BatchName = text(1, 64, WORK_ITEM);
    /// A node's name.
    NodeName = text(1, 64, WORK_ITEM);
    /// Whose failures are counted together: `project:<name>` or `batch:<name>`.
    ScopeName = text(1, usize::MAX, SCOPE);
    /// Why a node is given nothing, for whoever finds it off.
    Reason = text(1, usize::MAX, NOT_BLANK);
    /// A path within the repository.
    RepositoryPath = text(1, usize::MAX, PATH);
    /// A caller's own key for a task.
    ExternalId = text(1, EXTERNAL_ID_MAX, LINE);
    /// Who makes a gesture.
    Person = text(1, PERSON_MAX, LINE);
    /// Why a gesture is made.
    Comment = text(0, COMMENT_MAX, WITHOUT_NUL);
    /// A commit, or its first seven or more digits.
    CandidatePrefix = text(7, 64, COMMIT_PREFIX);
    /// Higher goes first.
    Priority = priority();
}

fn words<const N: usize>(words: [&'static str; N]) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    text.enum_values(Some(words)).build()
}

/// Lengths in characters; `usize::MAX` is no limit but the body's.
fn text(least: usize, most: usize, pattern: &str) -> Object {
    let text = ObjectBuilder::new().schema_type(Type::String);
    let text = text.min_length(Some(least).filter(|n| *n > 0));
    let text = text.max_length(Some(most).filter(|n| *n < usize::MAX));
    text.pattern(Some(pattern)).build()
}

fn priority() -> Object {
    let number = ObjectBuilder::new().schema_type(Type::Integer);
    let number = number.format(Some(SchemaFormat::KnownFormat(KnownFormat::Int32)));
    let number = number.minimum(Some(i64::from(i32::MIN) as isize));
    number.maximum(Some(i64::from(i32::MAX) as isize)).build()
}
