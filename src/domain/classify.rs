//! What kind of failure an attempt ended in: one that passes by itself, one that would only come again, or one that
//! costs an attempt. Looks at the line that says how it ended and at the last words of the output, where a program says
//! why it gives up: further up stands what an agent read and wrote.

use std::fmt;
use std::sync::LazyLock;

use regex::bytes::{RegexSet, RegexSetBuilder};

use super::repair::{ErrorText, Fix, Match};

/// The kind of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nobody's fault, and may work in a while: costs no attempt while the budget for that lasts.
    Transient(Passing),
    /// It would only fail again.
    Permanent(Lasting),
    /// Costs an attempt: what most agents fail of.
    Ordinary,
}

/// What passes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// A name that did not resolve, a connection that broke.
    Network,
    /// A peer that did not answer in time.
    Timeout,
    /// A server's own fault (5xx).
    Server,
    /// A provider that asks for patience (429, quota).
    RateLimit,
    /// The machine, not the work.
    Node,
}

/// What stays until somebody mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasting {
    /// A script that cannot be read.
    Syntax,
    /// Something that is not there.
    MissingFile,
    /// A key or a right that is missing.
    Auth,
    /// A model or an option that does not exist.
    Config,
    /// A person has to look.
    Manual,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Transient(Passing::Network) => "transient (network)",
            Self::Transient(Passing::Timeout) => "transient (timeout)",
            Self::Transient(Passing::Server) => "transient (server)",
            Self::Transient(Passing::RateLimit) => "transient (rate limit)",
            Self::Transient(Passing::Node) => "transient (node)",
            Self::Permanent(Lasting::Syntax) => "permanent (syntax)",
            Self::Permanent(Lasting::MissingFile) => "permanent (missing file)",
            Self::Permanent(Lasting::Auth) => "permanent (authentication)",
            Self::Permanent(Lasting::Config) => "permanent (configuration)",
            Self::Permanent(Lasting::Manual) => "permanent (a person has to look)",
            Self::Ordinary => "ordinary",
        })
    }
}

/// Words of agent CLIs, shells, HTTP clients and git, and what they mean; the first that stands there wins. What would
/// block a task for good comes first and is worded narrowly: a mistaken retry costs minutes, a mistaken stop a person.
const WORDS: [(Class, &str); 18] = [
    (
        Class::Permanent(Lasting::Auth),
        r"\binvalid (?:api key|x-api-key)\b|\bauthentication_error\b|\bplease run /login\b|\bincorrect api key provided\b|\boauth token has (?:expired|been revoked)\b|\bAPI key not valid\b",
    ),
    (
        Class::Permanent(Lasting::Auth),
        r"\b(?:api error|unexpected status|http/[0-9.]+)\W{0,12}(?:401|403)\b",
    ),
    (
        Class::Permanent(Lasting::Auth),
        r"\bPermission denied \(publickey|^(?:fatal|remote): (?:Authentication failed|could not read (?:Username|Password)|Invalid credentials)",
    ),
    (
        Class::Permanent(Lasting::Auth),
        r"\bcredit balance is too low\b|\binsufficient_quota\b",
    ),
    (
        Class::Permanent(Lasting::Config),
        r"\bmodel_not_found\b|\bmodel:? [`'\x22][^\n]{1,60}\b(?:does not exist|is not supported|not found)\b|\binvalid model\b",
    ),
    (
        Class::Permanent(Lasting::Config),
        r"^error: (?:unexpected argument|unknown option|unrecognized (?:option|argument))\b|\bunknown (?:option|flag)\W{1,3}-",
    ),
    (
        Class::Permanent(Lasting::Config),
        r"^(?:error|fatal): (?:invalid|bad|malformed)\b[^\n]{0,40}\bconfig",
    ),
    (
        Class::Permanent(Lasting::Syntax),
        r"^\S+: (?:line )?[0-9]+: syntax error\b",
    ),
    (
        Class::Permanent(Lasting::MissingFile),
        r"^fatal: (?:repository '[^\n]*' (?:not found|does not exist)|'[^\n]*' does not appear to be a git repository)",
    ),
    (
        Class::Transient(Passing::RateLimit),
        r"\boverloaded_error\b|\bAPI Error\W{0,12}529\b|\bRESOURCE_EXHAUSTED\b",
    ),
    (
        Class::Transient(Passing::Server),
        r"\b(?:api error|status|code|http(?:/[0-9.]+)?|returned error)\W{0,12}5[0-9][0-9]\b",
    ),
    (
        Class::Transient(Passing::Server),
        r"\b(?:internal server error|bad gateway|service (?:temporarily )?unavailable|gateway time-?out)\b",
    ),
    (
        Class::Transient(Passing::Timeout),
        r"\b(?:connection|request|operation|connect|read) timed out\b|\bETIMEDOUT\b|\bTLS handshake timeout\b|\brequest timeout\b",
    ),
    (
        Class::Transient(Passing::Network),
        r"\bcould not resolve (?:host|hostname|proxy)\b|\btemporary failure in name resolution\b|\b(?:ENOTFOUND|EAI_AGAIN|ECONNRESET|ECONNREFUSED|EPIPE|ENETUNREACH|EHOSTUNREACH)\b",
    ),
    (
        Class::Transient(Passing::Network),
        r"\bconnection (?:reset|closed) by (?:peer|remote host)\b|\bnetwork is unreachable\b|\bno route to host\b|\bsocket hang up\b|\bfetch failed\b",
    ),
    (
        Class::Transient(Passing::Network),
        r"\bthe remote end hung up unexpectedly\b|\bearly EOF\b|\bunexpected disconnect while reading sideband\b|\bRPC failed; (?:curl|HTTP)\b",
    ),
    (
        Class::Transient(Passing::Network),
        r"\bstream (?:disconnected|error|closed) before completion\b|\berror sending request for url\b",
    ),
    (
        Class::Transient(Passing::Node),
        r"\bno space left on device\b|\bresource temporarily unavailable\b|\btoo many open files\b",
    ),
];

static SET: LazyLock<Option<RegexSet>> = LazyLock::new(|| {
    RegexSetBuilder::new(WORDS.iter().map(|(_, pattern)| pattern))
        .case_insensitive(true)
        .multi_line(true)
        .unicode(false)
        .build()
        .ok()
});

/// The class of a failure that a rule answers like this. The rule goes first: it is the operator's word. But an agent that
/// spoke of a limit long before it ended of something else was not sent away: it pauses like others, and pays.
pub fn classify(text: &ErrorText, found: &Match) -> Class {
    match found.fix {
        Fix::Manual => return Class::Permanent(Lasting::Manual),
        Fix::Cooldown if found.at_end => return Class::Transient(Passing::RateLimit),
        Fix::Cooldown => {}
        Fix::BlacklistNode => return Class::Transient(Passing::Node),
        // More time or more memory is another try at the same work.
        Fix::IncreaseTimeout | Fix::ReduceSlots | Fix::EnrichPrompt => return Class::Ordinary,
        Fix::Retry => {}
    }
    let last = text.last_words().as_bytes();
    let Some(set) = SET.as_ref() else {
        return Class::Ordinary;
    };
    let first = set.matches(text.first_line().as_bytes()).into_iter();
    let found = first.chain(set.matches(last)).min();
    found.map_or(Class::Ordinary, |at| WORDS[at].0)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::domain::repair::{Rules, SHIPPED};

    fn class_of(text: &str) -> Class {
        let text = ErrorText::parse(text);
        let found = Rules::parse(SHIPPED).unwrap().matching(&text, None);
        classify(&text, &found)
    }

    #[test]
    fn failures_are_classified_by_exit_signal_status_and_known_messages() {
        use Lasting::*;
        use Passing::*;
        let transient = Class::Transient;
        let permanent = Class::Permanent;
        let table = [
            // Exits and signals.
            ("exit code 137 SIGKILL", Class::Ordinary),
            ("exit code 143 SIGTERM (timeout after 1800s)", Class::Ordinary),
            (
                "exit code 143 SIGTERM (startup: no output within 120s)",
                Class::Ordinary,
            ),
            ("exit code 139 SIGSEGV", Class::Ordinary),
            ("exit code 127", transient(Node)),
            (
                "exit code 255 (ssh b)\nssh: connect to host b: Connection timed out",
                transient(Node),
            ),
            ("exit code 1\nerror[E0308]: mismatched types", Class::Ordinary),
            // Statuses.
            (
                "exit code 1\nAPI Error: 401 {\"error\":{\"type\":\"authentication_error\"}}",
                permanent(Auth),
            ),
            ("exit code 1\nunexpected status 403 Forbidden", permanent(Auth)),
            ("exit code 1\nAPI Error: 429 {}", transient(RateLimit)),
            (
                "exit code 1\nAPI Error: 500 {\"type\":\"api_error\"}",
                transient(Server),
            ),
            (
                "exit code 1\nunexpected status 503 Service Unavailable",
                transient(Server),
            ),
            (
                "exit code 1\nAPI Error: 529 {\"type\":\"overloaded_error\"}",
                transient(RateLimit),
            ),
            // Agent CLIs.
            (
                "exit code 1\nInvalid API key · Please run /login",
                permanent(Auth),
            ),
            ("exit code 1\nCredit balance is too low", permanent(Auth)),
            (
                "exit code 1\n{\"error\":{\"message\":\"API key not valid. Please pass a valid API key.\"}}",
                permanent(Auth),
            ),
            (
                "exit code 1\nThe model `o9` does not exist or you do not have access",
                permanent(Config),
            ),
            (
                "exit code 2\nerror: unexpected argument '--yolo' found",
                permanent(Config),
            ),
            ("exit code 1\nerror: unknown option '--jsonn'", permanent(Config)),
            (
                "exit code 1\nstream disconnected before completion: idle",
                transient(Network),
            ),
            (
                "exit code 1\nTypeError: fetch failed\n  cause: getaddrinfo ENOTFOUND api.example",
                transient(Network),
            ),
            // git.
            (
                "exit code 128\nfatal: unable to access 'https://h/': Could not resolve host: h",
                transient(Network),
            ),
            (
                "exit code 128\nfatal: the remote end hung up unexpectedly",
                transient(Network),
            ),
            (
                "exit code 128\nerror: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502",
                transient(Server),
            ),
            (
                "exit code 128\nfatal: Authentication failed for 'https://h/r.git/'",
                permanent(Auth),
            ),
            (
                "exit code 128\ngit@h: Permission denied (publickey).",
                permanent(Auth),
            ),
            (
                "exit code 128\nfatal: repository 'https://h/r.git/' not found",
                permanent(MissingFile),
            ),
            (
                "exit code 1\nCONFLICT (content): Merge conflict in a.rs",
                permanent(Manual),
            ),
            // Shells and the machine.
            (
                "exit code 2\nagent.sh: line 3: syntax error near unexpected token `fi'",
                permanent(Syntax),
            ),
            (
                "exit code 1\nwrite error: No space left on device",
                transient(Node),
            ),
        ];
        for (text, class) in table {
            assert_eq!(class_of(text), class, "{text:?}");
        }
    }

    #[test]
    fn what_an_agent_wrote_long_before_its_end_does_not_count() {
        let talk = "The handler answers HTTP/1.1 401 for a wrong key, and the test expects it.\n";
        let text = format!("exit code 1\n{talk}{}\nassertion failed", "ok\n".repeat(2_000));
        assert_eq!(class_of(&text), Class::Ordinary);
        assert_eq!(
            class_of(&format!("exit code 1\n{talk}")),
            Class::Permanent(Lasting::Auth)
        );
        // Of a limit that it wrote about it did not end; one that it ran into stands last, with whatever follows it.
        let talk =
            "I add rate limiting: after too many requests the handler answers 429, try again in 3 days.\n";
        let text = format!("exit code 1\n{talk}{}\nassertion failed", "ok\n".repeat(2_000));
        assert_eq!(class_of(&text), Class::Ordinary);
        let text = format!("{text}\nAPI Error: 429 {{}}{}", " ".repeat(1_000));
        assert_eq!(class_of(&text), Class::Transient(Passing::RateLimit));
    }
}
