//! Decides which lease is taken back from its holder. Never looks at a process, never writes.

use super::time::Timestamp;

/// What is known of the boot of the service that took a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// It lives, as far as anybody here can tell.
    Alive,
    /// It does not, and why.
    Gone(String),
    /// There is no row of that boot, or it cannot be read: it may live.
    Unknown,
}

/// Why a lease is taken back, for people; None: it is left alone.
pub fn reclaim(holder: &Holder, expires_at: Timestamp, now: Timestamp) -> Option<String> {
    match holder {
        Holder::Gone(why) => Some(why.clone()),
        Holder::Alive | Holder::Unknown if expires_at <= now => {
            let ago = now.since(expires_at).as_secs();
            let who = match holder {
                Holder::Alive | Holder::Gone(_) => "",
                Holder::Unknown => ", and nobody can tell who held it",
            };
            Some(format!("it expired {ago} s ago and was not renewed{who}"))
        }
        Holder::Alive | Holder::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_holder_who_may_live_and_is_within_its_time_keeps_a_lease() {
        let now = Timestamp(1_000_000);
        let (soon, past) = (Timestamp(1_000_001), Timestamp(1));
        let gone = Holder::Gone("its service stopped".to_owned());
        let table = [
            (&Holder::Alive, soon, false),
            (&Holder::Alive, now, true),
            (&Holder::Alive, past, true),
            (&gone, soon, true),
            (&gone, past, true),
            // Who cannot be told may be merging.
            (&Holder::Unknown, soon, false),
            (&Holder::Unknown, now, true),
        ];
        for (holder, expires_at, taken) in table {
            let found = reclaim(holder, expires_at, now);
            assert_eq!(found.is_some(), taken, "{holder:?} {expires_at:?}");
        }
    }
}
