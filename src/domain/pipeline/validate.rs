//! Makes a pipeline of the stages that a project wrote, or says what is wrong with them.

use super::{CREATED, GATE_NAMES, GateSpec, OnRed, Pipeline, Role, Stage};
use crate::domain::id::StageName;

/// A stage as written in a configuration, before validation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageDraft {
    /// `name`
    pub name: String,
    /// `role`
    pub role: Option<Role>,
    /// `gates`, already resolved; an unknown name is kept as `Err`.
    pub gates: Vec<Result<GateSpec, String>>,
    /// `rollback_to`: a red gate goes there; without it, the same role again.
    pub rollback_to: Option<String>,
    /// `merge = true`; without any, the stage before the terminal one merges.
    pub merge: bool,
    /// `confirm = true`: wait for Confirm Deploy before the merge.
    pub confirm: bool,
    /// `next`; without it, the stage written after this one.
    pub next: Option<String>,
}

/// What is wrong with a pipeline, and with which of its stages (index into the drafts).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct PipelineError {
    /// Index of the stage at fault.
    pub stage: usize,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Pipeline {
    /// Validates stages as configured. A `created` stage is put first when none is written.
    ///
    /// # Errors
    /// The first problem found: unusable or repeated name, unknown gate, unreachable stage, no terminal stage,
    /// a rollback target that is not earlier, more than one merging stage.
    pub fn validate(drafts: &[StageDraft]) -> Result<Self, PipelineError> {
        let fail = |stage: usize, problem: String| Err(PipelineError { stage, problem });
        if drafts.is_empty() {
            return fail(
                0,
                "the pipeline has no stages: write at least one [[stage]] and a terminal one".into(),
            );
        }
        for (i, d) in drafts.iter().enumerate() {
            StageName::parse(&d.name).map_err(|e| PipelineError {
                stage: i,
                problem: e.to_string(),
            })?;
            if drafts.iter().take(i).any(|o| o.name == d.name) {
                return fail(
                    i,
                    format!(
                        "stage {:?} is written twice: give each stage a name of its own",
                        d.name
                    ),
                );
            }
            for (g, gate) in d.gates.iter().enumerate() {
                match gate {
                    Err(name) => {
                        let known = GATE_NAMES.join(", ");
                        return fail(
                            i,
                            format!(
                                "stage {:?}: unknown gate {name:?}; known gates: {known}, or a command table",
                                d.name
                            ),
                        );
                    }
                    Ok(spec) if d.gates.iter().take(g).flatten().any(|o| o.name == spec.name) => {
                        return fail(
                            i,
                            format!("stage {:?}: gate {:?} stands twice", d.name, spec.name),
                        );
                    }
                    Ok(_) => {}
                }
            }
        }
        let walk = walk(drafts)?;
        if let Some(i) = (0..drafts.len()).find(|i| !walk.contains(i)) {
            return fail(
                i,
                format!(
                    "stage {:?} is unreachable: no stage names it as next",
                    drafts[i].name
                ),
            );
        }
        let last = walk[walk.len() - 1];
        let end = &drafts[last];
        if end.role.is_some() || !end.gates.is_empty() || walk.len() < 2 {
            let p = format!(
                "the pipeline ends in {:?}, which is not terminal: end it in a stage with neither role nor gates, such as \"done\"",
                end.name
            );
            return fail(last, p);
        }
        let merging: Vec<usize> = walk.iter().copied().filter(|&i| drafts[i].merge).collect();
        if merging.len() > 1 {
            return fail(
                merging[1],
                format!(
                    "stage {:?}: only one stage may have merge = true",
                    drafts[merging[1]].name
                ),
            );
        }
        let merging = merging.first().copied().unwrap_or(walk[walk.len() - 2]);
        if merging == last {
            return fail(last, format!("stage {:?} is terminal and cannot merge", end.name));
        }
        // A stage in which nothing is asked is where a task ends: whoever wrote more after it meant something else.
        let ends = |pos: usize| {
            let d = &drafts[walk[pos]];
            let asks_nothing = d.role.is_none() && d.gates.is_empty() && !(pos == 0 && d.name == CREATED);
            asks_nothing && (walk[pos] != merging || d.name == "done")
        };
        if let Some(pos) = (0..walk.len() - 1).find(|&pos| ends(pos)) {
            let (end, beyond) = (&drafts[walk[pos]].name, walk[pos + 1]);
            return fail(
                beyond,
                format!(
                    "stage {:?} is unreachable: {end:?} before it has neither role nor gates, so tasks end there; give \
                     it one, or put it last",
                    drafts[beyond].name
                ),
            );
        }
        if let Some(&i) = walk.iter().find(|&&i| drafts[i].confirm && i != merging) {
            return fail(
                i,
                format!(
                    "stage {:?}: confirm = true stands only in the stage that merges",
                    drafts[i].name
                ),
            );
        }
        let mut stages = Vec::with_capacity(walk.len() + 1);
        for (pos, &i) in walk.iter().enumerate() {
            let d = &drafts[i];
            let on_red = match &d.rollback_to {
                None => OnRed::Retry,
                Some(to) => match walk.iter().position(|&j| drafts[j].name == *to) {
                    Some(p) if p <= pos && drafts[walk[p]].role.is_some() => OnRed::RollBack {
                        to: StageName::trusted(to),
                    },
                    Some(p) if p <= pos => {
                        return fail(
                            i,
                            format!(
                                "stage {:?}: rollback_to {to:?} has no role, so nobody would work there",
                                d.name
                            ),
                        );
                    }
                    Some(_) => {
                        return fail(
                            i,
                            format!(
                                "stage {:?}: rollback_to {to:?} is a later stage; name an earlier one",
                                d.name
                            ),
                        );
                    }
                    None => {
                        return fail(
                            i,
                            format!(
                                "stage {:?}: rollback_to {to:?} is no stage of this pipeline",
                                d.name
                            ),
                        );
                    }
                },
            };
            stages.push(Stage {
                name: StageName::trusted(&d.name),
                role: d.role,
                gates: d.gates.iter().flatten().cloned().collect(),
                on_red,
                merges: i == merging,
                confirm: d.confirm,
                next: walk.get(pos + 1).map(|&j| StageName::trusted(&drafts[j].name)),
            });
        }
        if stages[0].name.as_str() != CREATED {
            let next = Some(stages[0].name.clone());
            let name = StageName::trusted(CREATED);
            let created = Stage {
                name,
                role: None,
                gates: Vec::new(),
                on_red: OnRed::Retry,
                merges: false,
                confirm: false,
                next,
            };
            stages.insert(0, created);
        } else if stages[0].role.is_some() || !stages[0].gates.is_empty() {
            return fail(
                walk[0],
                "stage \"created\" only waits for the start signal: it has neither role nor gates".into(),
            );
        }
        Ok(Self { stages })
    }
}

fn walk(drafts: &[StageDraft]) -> Result<Vec<usize>, PipelineError> {
    let mut walk = vec![0];
    let mut at = 0;
    loop {
        let next = match &drafts[at].next {
            Some(name) => match drafts.iter().position(|d| d.name == *name) {
                Some(i) => i,
                None => {
                    let problem = format!(
                        "stage {:?}: next {name:?} is no stage of this pipeline",
                        drafts[at].name
                    );
                    return Err(PipelineError { stage: at, problem });
                }
            },
            None if at + 1 < drafts.len() => at + 1,
            None => return Ok(walk),
        };
        if walk.contains(&next) {
            let problem = format!(
                "stage {:?}: next {:?} goes back; the way on never ends (use rollback_to for the way back)",
                drafts[at].name, drafts[next].name
            );
            return Err(PipelineError { stage: at, problem });
        }
        walk.push(next);
        at = next;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::expect_used, reason = "a test fails by panicking")]

    use super::*;

    fn draft(name: &str, role: Option<Role>) -> StageDraft {
        StageDraft {
            name: name.into(),
            role,
            ..StageDraft::default()
        }
    }

    #[test]
    fn what_stands_after_a_stage_in_which_tasks_end_is_unreachable() {
        let developer = || draft("development", Some(Role::Developer));
        let (done, more) = (draft("done", None), draft("more", Some(Role::Reviewer)));
        for (drafts, at) in [
            (vec![developer(), done.clone(), draft("archive", None)], 2),
            (
                vec![developer(), done.clone(), more.clone(), draft("archive", None)],
                2,
            ),
            (vec![developer(), draft("pause", None), more, done.clone()], 2),
        ] {
            let error = Pipeline::validate(&drafts).expect_err("it was accepted");
            assert_eq!(error.stage, at);
            assert!(error.problem.contains("is unreachable"), "{error}");
        }
        // The stage that merges may do nothing else.
        let merge = vec![developer(), draft("deploy", None), done];
        assert!(Pipeline::validate(&merge).is_ok());
    }

    fn three() -> Vec<StageDraft> {
        let review = StageDraft {
            rollback_to: Some("development".into()),
            ..draft("review", Some(Role::Reviewer))
        };
        vec![
            draft("development", Some(Role::Developer)),
            review,
            draft("done", None),
        ]
    }

    fn problem(drafts: &[StageDraft]) -> (usize, String) {
        let e = Pipeline::validate(drafts).expect_err("a broken pipeline was accepted");
        (e.stage, e.problem)
    }

    #[test]
    fn three_stages_get_a_created_stage_and_the_last_working_one_merges() {
        let p = Pipeline::validate(&three()).expect("valid");
        let names: Vec<_> = p.stages().iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["created", "development", "review", "done"]);
        assert!(p.stages()[2].merges && !p.stages()[1].merges);
        assert_eq!(p.merge_gate_stage().name.as_str(), "review");
    }

    #[test]
    fn each_mistake_is_named_with_its_stage() {
        let mut d = three();
        d[1].gates.push(Err("revewer_verdict".into()));
        assert!(matches!(problem(&d), (1, p) if p.contains("unknown gate \"revewer_verdict\"")));

        let mut d = three();
        d[0].next = Some("done".into());
        assert!(matches!(problem(&d), (1, p) if p.contains("unreachable")));

        let mut d = three();
        d.pop();
        assert!(matches!(problem(&d), (1, p) if p.contains("not terminal")));

        let mut d = three();
        d[0].rollback_to = Some("review".into());
        assert!(matches!(problem(&d), (0, p) if p.contains("later stage")));

        let mut d = three();
        d[1].next = Some("development".into());
        assert!(matches!(problem(&d), (1, p) if p.contains("goes back")));

        let mut d = three();
        d[2].name = "review".into();
        assert!(matches!(problem(&d), (2, p) if p.contains("written twice")));

        assert!(matches!(problem(&[]), (0, p) if p.contains("no stages")));
    }
}
