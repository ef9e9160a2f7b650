//! What becomes of a delivery. Never looks into one.

use std::time::Duration;

use super::time::Timestamp;

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Plane.
    Plane,
    /// Gitea or Forgejo.
    Forge,
}

impl Source {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plane => "plane",
            Self::Forge => "forge",
        }
    }

    /// The inverse of [`Source::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Plane, Self::Forge]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// How a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// To be applied.
    Pending,
    /// It took effect.
    Applied,
    /// It concerns nothing here.
    Ignored,
    /// It cannot be applied; a person, or the same delivery again, has it tried again.
    Parked,
}

impl DeliveryStatus {
    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Applied => "applied",
            Self::Ignored => "ignored",
            Self::Parked => "parked",
        }
    }

    /// The inverse of [`DeliveryStatus::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Pending, Self::Applied, Self::Ignored, Self::Parked]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

/// What applying a delivery gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Applied(String),
    /// It concerns nothing here, and why.
    Ignored(String),
    /// It can never be applied as it is.
    Parked(String),
    /// Not now, and why: what it needs is busy, or does not answer.
    Later(String),
}

/// A delivery that still could not be applied after so many tries is parked: about a day.
const MOST_TRIES: i32 = 40;
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(1800);

/// When a delivery that failed so often is tried again; none: it is parked.
pub fn again_at(tries: i32, now: Timestamp) -> Option<Timestamp> {
    if tries >= MOST_TRIES {
        return None;
    }
    let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(0).min(16);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    Some(now + pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_tried_for_about_a_day_with_growing_pauses_and_then_parked() {
        let mut at = Timestamp(0);
        let mut pauses = Vec::new();
        for tries in 1.. {
            let Some(next) = again_at(tries, at) else { break };
            pauses.push(next.since(at).as_secs());
            at = next;
        }
        assert_eq!(pauses[..4], [2, 4, 8, 16]);
        assert_eq!(pauses.last(), Some(&1800));
        assert!((12..=36).contains(&(at.since(Timestamp(0)).as_secs() / 3600)));
    }
}
