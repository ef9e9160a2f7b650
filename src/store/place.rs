//! Where a database is. The scheme chooses the backend.

use std::fmt;
use std::path::PathBuf;

use super::error::StoreError;

/// A parsed address.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL connection URL, possibly with a password: never shown as it is.
    Postgres(String),
}

impl Place {
    /// A plain path, `sqlite:<path>` or `postgres://…`.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let refuse = |why: &str| {
            Err(StoreError::Address {
                url: without_password(url),
                why: why.to_owned(),
            })
        };
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url.to_owned()));
        }
        let path = match url.strip_prefix("sqlite:") {
            Some(rest) => rest.strip_prefix("//").unwrap_or(rest),
            None if url.contains("://") => return refuse("its scheme is unknown"),
            None => url,
        };
        match path {
            "" => refuse("the path is empty"),
            ":memory:" => refuse("a database in memory does not survive a restart"),
            path if path.starts_with("file:") => refuse("SQLite's own file: addresses are not taken"),
            path => Ok(Self::Sqlite(PathBuf::from(path))),
        }
    }
}

/// How long a server may be silent before its connection counts as lost; what the URL says itself stands. Without it a
/// machine that vanished would be waited for until the system gives up, a quarter of an hour.
const PATIENCE: [(&str, &str); 5] = [
    ("connect_timeout", "10"),
    ("keepalives_idle", "20"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "30000"),
];

/// The address of a PostgreSQL server with a limit to what is waited for.
pub(super) fn patient(url: &str) -> String {
    let mut whole = url.to_owned();
    for (name, value) in PATIENCE {
        if !whole.contains(&format!("{name}=")) {
            let joint = if whole.contains('?') { '&' } else { '?' };
            whole.push_str(&format!("{joint}{name}={value}"));
        }
    }
    whole
}

/// Takes password and parameters out of a URL.
fn without_password(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or(url);
    let Some((scheme, rest)) = plain.split_once("://") else {
        return plain.to_owned();
    };
    match rest.rsplit_once('@') {
        Some((who, host)) => {
            let user = who.split(':').next().unwrap_or("");
            format!("{scheme}://{user}@{host}")
        }
        None => plain.to_owned(),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "{}", path.display()),
            Self::Postgres(url) => f.write_str(&without_password(url)),
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_silent_server_is_given_up_unless_the_url_says_otherwise() {
        let plain = patient("postgres://orch@db/orch");
        assert!(plain.starts_with("postgres://orch@db/orch?connect_timeout=10&keepalives_idle=20&"));
        assert!(plain.ends_with("&tcp_user_timeout=30000"), "{plain}");
        let own = patient("postgres://orch@db/orch?sslmode=require&connect_timeout=3");
        assert!(
            own.starts_with("postgres://orch@db/orch?sslmode=require&connect_timeout=3&keepalives_idle"),
            "{own}"
        );
    }

    #[test]
    fn the_scheme_chooses_the_backend() {
        let sqlite = |p: &str| Ok(Place::Sqlite(PathBuf::from(p)));
        assert_eq!(Place::parse("data/orch.db"), sqlite("data/orch.db"));
        assert_eq!(Place::parse("sqlite:data/orch.db"), sqlite("data/orch.db"));
        assert_eq!(Place::parse("sqlite:///srv/orch.db"), sqlite("/srv/orch.db"));
        for bad in ["", "sqlite:", ":memory:", "mysql://x/y", "file:x"] {
            assert!(Place::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let place = Place::parse("postgres://orch:s3cr@t@db:5432/orch?password=s3cret").unwrap();
        assert_eq!(place.to_string(), "postgres://orch@db:5432/orch");
        let error = Place::parse("mysql://root:s3cret@db/x").unwrap_err().to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
