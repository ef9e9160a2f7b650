//! Which queued job may be claimed now. Decides about one candidate at a time; never reads or writes a row.

use std::collections::{BTreeMap, BTreeSet};

use super::budget::Budget;
use super::id::{NodeName, ProjectId, TaskId};
use super::job::JobKind;
use super::retry::Scope;
use super::task::overlaps;

/// A queued job as the decision sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The task it works for.
    pub task: TaskId,
    /// That task's project.
    pub project: ProjectId,
    /// What it is for.
    pub kind: JobKind,
    /// Whose failures count together with its own.
    pub scope: Scope,
    /// Tasks it depends on that are not done.
    pub waits_for: Vec<TaskId>,
    /// Paths its task changes.
    pub modifies: Vec<String>,
    /// Its task has spent what it may.
    pub spent_up: bool,
    /// What a node has to be for its agent.
    pub labels: BTreeSet<String>,
    /// Production is being rolled back for its task.
    pub rolls_back: bool,
}

/// A node on which the claimer can run agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name; none is the claimer's own node.
    pub node: Option<NodeName>,
    /// What it is.
    pub labels: BTreeSet<String>,
    /// It is blacklisted, or cools down.
    pub off: bool,
    /// Agents that may still be started there.
    pub free: usize,
}

/// What a claimed job was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// The scope whose half-open breaker it is let through.
    pub trial: Option<Scope>,
    /// Where its agent runs; none: on the claimer's own node.
    pub node: Option<NodeName>,
}

/// A task that others may have to make room for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The task.
    pub task: TaskId,
    /// Its project.
    pub project: ProjectId,
    /// Paths it changes.
    pub modifies: Vec<String>,
    /// A job of it runs now.
    pub running: bool,
    /// It has begun (at least one run) and goes on by itself or after a person's decision.
    pub in_flight: bool,
}

/// What is left to give away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slots {
    /// Agent jobs that may still be started, over all projects.
    pub agent: usize,
    /// Reserved jobs that may still be started.
    pub reserved: usize,
    /// The claimer's disk is full: nothing that needs room is claimed.
    pub no_room: bool,
    /// Production is not watched now.
    pub no_watch: bool,
    /// The queue is paused.
    pub paused: bool,
    /// Where agents can be started, the best place first.
    pub places: Vec<Place>,
    /// Scopes whose circuit breaker is open.
    pub shut: BTreeSet<Scope>,
    /// Scopes whose breaker lets one job through, as a trial.
    pub half_open: BTreeSet<Scope>,
    /// Projects that the claimer can work for; none: all.
    pub known: Option<BTreeSet<ProjectId>>,
    /// Agent jobs that may still be started in a project; a project that is absent has no limit of its own.
    pub project: BTreeMap<ProjectId, usize>,
    /// What projects with a limit for the day may still spend, micro-USD; what is reserved is taken off.
    pub day_left: BTreeMap<ProjectId, i64>,
    /// What is reserved for each agent, micro-USD.
    pub reserve: i64,
    /// Tasks that change paths and have begun or run.
    pub busy: Vec<Busy>,
}

/// Why a job stays queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Whoever asks does not know its project; another instance may.
    UnknownProject,
    /// The disk of whoever asks is full.
    NoRoom,
    /// Production is not watched now.
    NoWatch,
    /// The queue is paused.
    Paused,
    /// Each node that could take it is blacklisted, or cools down.
    NodeOff,
    /// No node of whoever asks is all of this.
    NoSuchNode(BTreeSet<String>),
    /// The nodes that could take it run as many agents as they may.
    NodesFull,
    /// Too many failures in a row: its scope's circuit breaker is open.
    BreakerOpen,
    /// What may be spent is spent, or reserved for agents that run.
    Budget(Budget),
    /// All agent slots are taken.
    NoAgentSlot,
    /// As many reserved jobs run as may.
    NoReservedSlot,
    /// The project runs as many agents as it may.
    ProjectLimit,
    /// Tasks it depends on are not done.
    WaitsFor(Vec<TaskId>),
    /// Another task changes the same paths.
    Overlaps(TaskId),
}

/// The answer about one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eligibility {
    /// It may be claimed.
    Fits,
    /// It stays queued.
    Held(Held),
}

impl Slots {
    /// Nothing of this kind can be claimed any more, whichever job it is: looking further is useless.
    pub fn exhausted(&self, kind: JobKind) -> bool {
        if kind.is_reserved() {
            self.reserved == 0
        } else {
            self.no_room || self.paused || self.agent == 0 || !self.places.iter().any(Place::is_open)
        }
    }

    /// Some scope is closed, or half open: which one a candidate is in matters.
    pub fn knows_scopes(&self) -> bool {
        !self.shut.is_empty() || !self.half_open.is_empty()
    }

    /// The first place that can take an agent which needs this.
    ///
    /// # Errors
    /// Why none can.
    fn place(&self, labels: &BTreeSet<String>) -> Result<usize, Held> {
        let fits = |place: &&Place| labels.is_subset(&place.labels);
        if !self.places.iter().any(|place| fits(&place)) {
            return Err(Held::NoSuchNode(labels.clone()));
        }
        if self.places.iter().filter(fits).all(|place| place.off) {
            return Err(Held::NodeOff);
        }
        let open = |place: &Place| fits(&place) && place.is_open();
        self.places.iter().position(open).ok_or(Held::NodesFull)
    }

    /// Takes what a claimed job occupies, so that the next candidate is judged by what remains.
    pub fn take(&mut self, claimed: &Candidate) -> Given {
        if claimed.kind.is_reserved() {
            self.reserved = self.reserved.saturating_sub(1);
            return Given::default();
        }
        let trial = self.half_open.take(&claimed.scope);
        self.shut.extend(trial.clone());
        self.agent = self.agent.saturating_sub(1);
        let place = self.place(&claimed.labels).ok();
        let place = place.and_then(|at| self.places.get_mut(at));
        let node = place.and_then(|place| {
            place.free = place.free.saturating_sub(1);
            place.node.clone()
        });
        let given = Given { trial, node };
        if let Some(left) = self.project.get_mut(&claimed.project) {
            *left = left.saturating_sub(1);
        }
        if let Some(left) = self.day_left.get_mut(&claimed.project) {
            *left = left.saturating_sub(self.reserve);
        }
        if claimed.modifies.is_empty() {
            return given;
        }
        match self.busy.iter_mut().find(|b| b.task == claimed.task) {
            Some(known) => known.running = true,
            None => self.busy.push(Busy {
                task: claimed.task,
                project: claimed.project,
                modifies: claimed.modifies.clone(),
                running: true,
                in_flight: false,
            }),
        }
        given
    }
}

impl Place {
    fn is_open(&self) -> bool {
        !self.off && self.free > 0
    }
}

/// Decides about one candidate. Reserved jobs look at nothing but their own ceiling and at the room they need: they
/// finish what has begun.
pub fn eligible(candidate: &Candidate, slots: &Slots) -> Eligibility {
    if slots
        .known
        .as_ref()
        .is_some_and(|known| !known.contains(&candidate.project))
    {
        return Eligibility::Held(Held::UnknownProject);
    }
    if slots.no_room && candidate.kind.needs_room() {
        return Eligibility::Held(Held::NoRoom);
    }
    // A rollback that has begun is finished: it keeps the project's only place for a deploy.
    if slots.no_watch && candidate.kind == JobKind::PostDeployMonitor && !candidate.rolls_back {
        return Eligibility::Held(Held::NoWatch);
    }
    if candidate.kind.is_reserved() {
        return if slots.reserved == 0 {
            Eligibility::Held(Held::NoReservedSlot)
        } else {
            Eligibility::Fits
        };
    }
    if slots.paused {
        return Eligibility::Held(Held::Paused);
    }
    let place = slots.place(&candidate.labels);
    if let Err(why @ (Held::NodeOff | Held::NoSuchNode(_))) = place {
        return Eligibility::Held(why);
    }
    if slots.shut.contains(&candidate.scope) {
        return Eligibility::Held(Held::BreakerOpen);
    }
    if candidate.spent_up {
        return Eligibility::Held(Held::Budget(Budget::Task));
    }
    if slots
        .day_left
        .get(&candidate.project)
        .is_some_and(|left| *left <= 0)
    {
        return Eligibility::Held(Held::Budget(Budget::ProjectDay));
    }
    if slots.agent == 0 {
        return Eligibility::Held(Held::NoAgentSlot);
    }
    if let Err(why) = place {
        return Eligibility::Held(why);
    }
    if slots.project.get(&candidate.project) == Some(&0) {
        return Eligibility::Held(Held::ProjectLimit);
    }
    if !candidate.waits_for.is_empty() {
        return Eligibility::Held(Held::WaitsFor(candidate.waits_for.clone()));
    }
    match slots.busy.iter().find(|busy| in_the_way(busy, candidate)) {
        Some(busy) => Eligibility::Held(Held::Overlaps(busy.task)),
        None => Eligibility::Fits,
    }
}

/// Between two tasks that have both begun the older goes first, so they never wait for each other.
fn in_the_way(busy: &Busy, candidate: &Candidate) -> bool {
    busy.task != candidate.task
        && busy.project == candidate.project
        && (busy.running || (busy.in_flight && busy.task < candidate.task))
        && overlaps(&busy.modifies, &candidate.modifies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(task: i64, kind: JobKind) -> Candidate {
        Candidate {
            task: TaskId(task),
            project: ProjectId(1),
            kind,
            scope: Scope::Project(ProjectId(1)),
            waits_for: Vec::new(),
            modifies: vec!["src/a".to_owned()],
            spent_up: false,
            labels: BTreeSet::new(),
            rolls_back: false,
        }
    }

    fn place(node: Option<&str>, labels: &[&str], free: usize) -> Place {
        Place {
            node: node.map(NodeName::trusted),
            labels: labels.iter().map(|l| (*l).to_owned()).collect(),
            off: false,
            free,
        }
    }

    fn slots() -> Slots {
        Slots {
            places: vec![place(None, &[], 100)],
            agent: 1,
            reserved: 1,
            ..Slots::default()
        }
    }

    fn busy(task: i64, path: &str, running: bool, in_flight: bool) -> Busy {
        Busy {
            task: TaskId(task),
            project: ProjectId(1),
            modifies: vec![path.to_owned()],
            running,
            in_flight,
        }
    }

    fn held(candidate: &Candidate, slots: &Slots) -> Option<Held> {
        match eligible(candidate, slots) {
            Eligibility::Fits => None,
            Eligibility::Held(why) => Some(why),
        }
    }

    #[test]
    fn an_agent_job_fits_only_while_nothing_stands_against_it() {
        let job = candidate(5, JobKind::Agent);
        let full = BTreeMap::from([(ProjectId(1), 0)]);
        let elsewhere = BTreeMap::from([(ProjectId(2), 0)]);
        let known = |project| Some(BTreeSet::from([ProjectId(project)]));
        let table = [
            (slots(), None),
            (
                Slots {
                    known: known(1),
                    ..slots()
                },
                None,
            ),
            (
                Slots {
                    known: known(2),
                    ..slots()
                },
                Some(Held::UnknownProject),
            ),
            (
                Slots {
                    paused: true,
                    ..slots()
                },
                Some(Held::Paused),
            ),
            (
                Slots {
                    no_room: true,
                    ..slots()
                },
                Some(Held::NoRoom),
            ),
            (Slots { agent: 0, ..slots() }, Some(Held::NoAgentSlot)),
            (
                Slots {
                    project: full,
                    ..slots()
                },
                Some(Held::ProjectLimit),
            ),
            (
                Slots {
                    project: elsewhere,
                    ..slots()
                },
                None,
            ),
            (
                Slots {
                    reserved: 0,
                    ..slots()
                },
                None,
            ),
        ];
        for (slots, expected) in table {
            assert_eq!(held(&job, &slots), expected, "{slots:?}");
        }
    }

    #[test]
    fn an_agent_goes_to_the_first_node_that_is_on_has_room_and_is_what_it_needs() {
        let off = |place| Place { off: true, ..place };
        let own = place(None, &["x86"], 1);
        let big = place(Some("big"), &["x86", "gpu"], 1);
        let far = place(Some("far"), &["gpu"], 2);
        let all = || vec![own.clone(), big.clone(), far.clone()];
        let full = |place| Place { free: 0, ..place };
        let none = |labels: &[&str]| Held::NoSuchNode(labels.iter().map(|l| (*l).to_owned()).collect());
        type Case<'a> = (Vec<Place>, &'a [&'a str], Result<Option<&'a str>, Held>);
        let table: [Case; 9] = [
            (all(), &[], Ok(None)),
            (all(), &["gpu"], Ok(Some("big"))),
            (vec![off(own.clone()), big.clone()], &[], Ok(Some("big"))),
            (
                vec![full(own.clone()), off(big.clone()), far.clone()],
                &[],
                Ok(Some("far")),
            ),
            (vec![own.clone(), off(big.clone())], &["gpu"], Err(Held::NodeOff)),
            (
                vec![own.clone(), full(big.clone())],
                &["gpu"],
                Err(Held::NodesFull),
            ),
            (
                vec![full(big.clone()), off(far.clone())],
                &["gpu"],
                Err(Held::NodesFull),
            ),
            (all(), &["arm"], Err(none(&["arm"]))),
            (all(), &["gpu", "arm"], Err(none(&["arm", "gpu"]))),
        ];
        for (places, labels, expected) in table {
            let job = Candidate {
                labels: labels.iter().map(|l| (*l).to_owned()).collect(),
                ..candidate(5, JobKind::Agent)
            };
            let mut slots = Slots { places, ..slots() };
            let shown = format!("{slots:?}");
            assert_eq!(held(&job, &slots), expected.clone().err(), "{shown}");
            if let Ok(node) = expected {
                assert_eq!(
                    slots.take(&job).node.as_ref().map(NodeName::as_str),
                    node,
                    "{shown}"
                );
            }
        }
    }

    #[test]
    fn what_runs_on_a_node_takes_its_slot_there_and_one_of_all() {
        let mut slots = Slots {
            agent: 3,
            places: vec![place(None, &[], 1), place(Some("far"), &[], 5)],
            ..slots()
        };
        let job = |task| Candidate {
            modifies: Vec::new(),
            ..candidate(task, JobKind::Agent)
        };
        let nodes: Vec<_> = (1..=3).map(|n| slots.take(&job(n)).node).collect();
        let far = Some(NodeName::trusted("far"));
        assert_eq!(nodes, [None, far.clone(), far]);
        assert_eq!(held(&job(4), &slots), Some(Held::NoAgentSlot));
        assert_eq!(slots.take(&candidate(9, JobKind::GateCheck)), Given::default());
    }

    #[test]
    fn money_that_is_spent_or_reserved_holds_agents_and_nothing_else() {
        let left = |usd| Slots {
            agent: 3,
            day_left: BTreeMap::from([(ProjectId(1), usd)]),
            reserve: 5,
            ..slots()
        };
        let job = |kind| Candidate {
            modifies: Vec::new(),
            ..candidate(5, kind)
        };
        let spent = Candidate {
            spent_up: true,
            ..job(JobKind::Agent)
        };
        assert_eq!(held(&spent, &slots()), Some(Held::Budget(Budget::Task)));
        let mut slots = left(6);
        for expected in [None, None, Some(Held::Budget(Budget::ProjectDay))] {
            assert_eq!(held(&job(JobKind::Agent), &slots), expected);
            slots.take(&job(JobKind::Agent));
        }
        assert_eq!(held(&job(JobKind::GateCheck), &left(0)), None);
    }

    #[test]
    fn a_reserved_job_ignores_everything_but_its_own_ceiling() {
        let slots = Slots {
            agent: 0,
            paused: true,
            project: BTreeMap::from([(ProjectId(1), 0)]),
            busy: vec![busy(1, "src", true, true)],
            ..slots()
        };
        let mut job = candidate(5, JobKind::DeployFinalizer);
        job.waits_for.push(TaskId(1));
        assert_eq!(held(&job, &slots), None);
        let full = Slots { reserved: 0, ..slots };
        assert_eq!(held(&job, &full), Some(Held::NoReservedSlot));
    }

    #[test]
    fn on_a_full_disk_only_what_writes_nothing_there_goes_on() {
        let full = Slots {
            no_room: true,
            ..slots()
        };
        for kind in JobKind::ALL {
            let waits = kind != JobKind::PostDeployMonitor;
            let expected = waits.then_some(Held::NoRoom);
            assert_eq!(held(&candidate(5, kind), &full), expected, "{kind:?}");
        }
        assert!(full.exhausted(JobKind::Agent) && !full.exhausted(JobKind::GateCheck));
    }

    #[test]
    fn where_nobody_watches_production_that_alone_waits() {
        let off = Slots {
            no_watch: true,
            ..slots()
        };
        for kind in JobKind::ALL {
            let expected = (kind == JobKind::PostDeployMonitor).then_some(Held::NoWatch);
            assert_eq!(held(&candidate(5, kind), &off), expected, "{kind:?}");
        }
        let rolls_back = Candidate {
            rolls_back: true,
            ..candidate(5, JobKind::PostDeployMonitor)
        };
        assert_eq!(held(&rolls_back, &off), None, "what has begun is finished");
    }

    #[test]
    fn a_job_waits_for_its_dependencies() {
        let mut job = candidate(5, JobKind::Agent);
        job.waits_for.push(TaskId(3));
        assert_eq!(held(&job, &slots()), Some(Held::WaitsFor(vec![TaskId(3)])));
    }

    #[test]
    fn overlapping_tasks_go_one_after_the_other_and_never_wait_for_each_other() {
        let job = candidate(5, JobKind::Agent);
        let table = [
            (
                busy(9, "src", true, false),
                true,
                "a running job, however young its task",
            ),
            (
                busy(9, "src", false, true),
                false,
                "a younger task that has begun but does not run",
            ),
            (busy(3, "src", false, true), true, "an older task that has begun"),
            (
                busy(3, "src", false, false),
                false,
                "an older task that has not begun",
            ),
            (busy(3, "lib", true, true), false, "other paths"),
            (busy(5, "src", true, true), false, "itself"),
            (
                Busy {
                    project: ProjectId(2),
                    ..busy(3, "src", true, true)
                },
                false,
                "another project",
            ),
        ];
        for (busy, is_held, what) in table {
            let slots = Slots {
                busy: vec![busy],
                ..slots()
            };
            assert_eq!(held(&job, &slots).is_some(), is_held, "{what}");
        }
    }

    #[test]
    fn what_was_taken_is_gone_for_the_next_candidate() {
        let mut slots = Slots {
            agent: 2,
            project: BTreeMap::from([(ProjectId(1), 2)]),
            ..slots()
        };
        slots.take(&candidate(5, JobKind::Agent));
        assert_eq!((slots.agent, slots.project[&ProjectId(1)]), (1, 1));
        assert_eq!(
            held(&candidate(6, JobKind::Agent), &slots),
            Some(Held::Overlaps(TaskId(5)))
        );
        slots.take(&candidate(7, JobKind::GateCheck));
        assert_eq!((slots.agent, slots.reserved), (1, 0));
        assert!(slots.exhausted(JobKind::GateCheck) && !slots.exhausted(JobKind::Agent));
    }
}
