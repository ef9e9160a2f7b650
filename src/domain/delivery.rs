//! What becomes of a notice after an attempt to deliver it. Never sends, never writes.

use std::time::Duration;

use super::time::Timestamp;

/// Where a notice goes. Order is kept per task and channel: a receiver that is down holds up nobody else's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// The issue in the tracker.
    Tracker,
    /// The pull request at the forge.
    Forge,
    /// People, by every channel that is set up; told to each of them by a notice of its own.
    People,
    /// The service's log.
    Log,
    /// A JSON webhook.
    Webhook,
    /// A Telegram chat.
    Telegram,
    /// The project's repository, where Orch keeps what it writes about a task.
    Records,
}

impl Channel {
    const ALL: [Self; 7] = [
        Self::Tracker,
        Self::Forge,
        Self::People,
        Self::Log,
        Self::Webhook,
        Self::Telegram,
        Self::Records,
    ];

    /// The word stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tracker => "tracker",
            Self::Forge => "forge",
            Self::People => "people",
            Self::Log => "log",
            Self::Webhook => "webhook",
            Self::Telegram => "telegram",
            Self::Records => "records",
        }
    }

    /// The inverse of [`Channel::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|c| c.as_str() == text)
    }

    /// The receiver can tell a repetition by the notice's cause.
    pub fn knows_repetitions(self) -> bool {
        match self {
            Self::Tracker | Self::People | Self::Webhook => true,
            // Not by itself: it is asked what is there before anything is repeated.
            Self::Forge | Self::Records => true,
            // A line more in the log does no harm.
            Self::Log => true,
            Self::Telegram => false,
        }
    }
}

/// How an attempt went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sending {
    /// The receiver has it.
    Accepted,
    /// The receiver refuses this very notice, and always will.
    Refused {
        /// In its words.
        why: String,
    },
    /// The receiver takes nothing now.
    Down {
        /// Why.
        why: String,
        /// It asked to be left alone for so long.
        after: Option<Duration>,
    },
    /// It was sent, and no answer came: the receiver may have it.
    Unanswered {
        /// Why.
        why: String,
    },
}

/// What the decision needs to know of the notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// Where it goes.
    pub channel: Channel,
    /// Failed attempts before this one.
    pub attempts: i32,
    /// Of those, attempts without an answer.
    pub unanswered: i32,
    /// When it was caused.
    pub created_at: Timestamp,
}

/// What becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Over.
    Sent,
    /// Tried again then.
    Again {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
        /// How often it may have arrived by now.
        unanswered: i32,
    },
    /// Given up: listed, and sent again when somebody asks for it.
    Dead {
        /// Why.
        why: String,
    },
}

/// Pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Asked for longer than this, a receiver is asked again all the same.
const LONGEST_ASKED: Duration = Duration::from_secs(24 * 3600);

/// Decides by how the attempt went. What was not answered is repeated where the receiver can tell a repetition; elsewhere
/// once, so that at most one duplicate is seen.
pub fn fate(sending: &Sending, of: Attempted, give_up_after: Duration, now: Timestamp) -> Fate {
    let (why, pause, unanswered) = match sending {
        Sending::Accepted => return Fate::Sent,
        Sending::Refused { why } => return Fate::Dead { why: why.clone() },
        Sending::Unanswered { why } if of.unanswered > 0 && !of.channel.knows_repetitions() => {
            return Fate::Dead {
                why: format!("{why}, twice: it may have arrived"),
            };
        }
        Sending::Unanswered { why } => (why, backoff(of.attempts), of.unanswered + 1),
        Sending::Down { why, after } => {
            let asked = after.unwrap_or_default().min(LONGEST_ASKED);
            (why, backoff(of.attempts).max(asked), of.unanswered)
        }
    };
    if now.since(of.created_at) >= give_up_after {
        let days = give_up_after.as_secs() / 86_400;
        return Fate::Dead {
            why: format!("not delivered within {days} days, last: {why}"),
        };
    }
    Fate::Again {
        at: now + pause,
        why: why.clone(),
        unanswered,
    }
}

/// None: it may be sent. Else it was sent twice to a receiver that cannot tell a repetition, and nobody knows what came
/// of it: whoever sent it died both times.
pub fn refused_before(of: Attempted) -> Option<Fate> {
    let spent = of.unanswered > 1 && !of.channel.knows_repetitions();
    spent.then(|| Fate::Dead {
        why: "sent twice, and died before the answer both times: it may have arrived".to_owned(),
    })
}

fn backoff(attempts: i32) -> Duration {
    let doublings = u32::try_from(attempts.clamp(0, 16)).unwrap_or(0);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    const NOW: Timestamp = Timestamp(1_700_000_000_000_000);

    fn of(channel: Channel, attempts: i32, unanswered: i32) -> Attempted {
        Attempted {
            channel,
            attempts,
            unanswered,
            created_at: NOW - DAY,
        }
    }

    fn decide(sending: &Sending, of: Attempted) -> String {
        match fate(sending, of, 7 * DAY, NOW) {
            Fate::Sent => "sent".into(),
            Fate::Again { at, unanswered, .. } => {
                format!(
                    "again after {} s{}",
                    at.since(NOW).as_secs(),
                    if unanswered > 0 { ", unanswered" } else { "" }
                )
            }
            Fate::Dead { why } => format!("dead: {why}"),
        }
    }

    #[test]
    fn what_becomes_of_a_notice_follows_from_how_its_delivery_went() {
        let why = || "down".to_owned();
        let down = |after| Sending::Down {
            why: why(),
            after: Option::map(after, Duration::from_secs),
        };
        let unanswered = Sending::Unanswered { why: why() };
        use Channel::{Telegram, Webhook};
        let table = [
            (Sending::Accepted, of(Telegram, 9, 1), "sent"),
            (Sending::Refused { why: why() }, of(Telegram, 0, 0), "dead: down"),
            (down(None), of(Webhook, 0, 0), "again after 5 s"),
            (down(None), of(Webhook, 3, 0), "again after 40 s"),
            (down(None), of(Webhook, 1000, 0), "again after 3600 s"),
            (down(Some(90)), of(Webhook, 0, 0), "again after 90 s"),
            (down(Some(3)), of(Webhook, 0, 0), "again after 5 s"),
            (down(Some(u64::MAX)), of(Webhook, 0, 0), "again after 86400 s"),
            (
                unanswered.clone(),
                of(Telegram, 4, 0),
                "again after 80 s, unanswered",
            ),
            (
                unanswered.clone(),
                of(Telegram, 4, 1),
                "dead: down, twice: it may have arrived",
            ),
            (unanswered, of(Webhook, 4, 3), "again after 80 s, unanswered"),
        ];
        for (sending, of, expected) in table {
            assert_eq!(decide(&sending, of), expected, "{sending:?} {of:?}");
        }
    }

    #[test]
    fn what_was_sent_twice_without_an_answer_is_not_sent_to_a_receiver_that_cannot_tell() {
        let refused = |channel, unanswered| refused_before(of(channel, 0, unanswered)).is_some();
        assert_eq!(
            [0, 1, 2].map(|n| refused(Channel::Telegram, n)),
            [false, false, true]
        );
        assert!(!refused(Channel::Webhook, 9));
    }

    #[test]
    fn a_notice_that_found_no_receiver_for_days_is_given_up_and_not_before() {
        let down = Sending::Down {
            why: "down".into(),
            after: None,
        };
        let old = |days: u32| Attempted {
            created_at: NOW - DAY * days,
            ..of(Channel::Webhook, 20, 0)
        };
        assert_eq!(decide(&down, old(6)), "again after 3600 s");
        assert_eq!(
            decide(&down, old(7)),
            "dead: not delivered within 7 days, last: down"
        );
    }
}
