//! What git gets to know of the service's environment, and which settings nobody can change.
//! Never passes on a variable that is not named here.

use std::process::Command;

/// What the service passes on. Anything else (its secrets above all) reaches neither git nor the hooks and
/// filters that a repository may make git run.
#[rustfmt::skip]
const PASSED_ON: [&str; 37] = [
    "HOME", "PATH", "USER", "LOGNAME", "TMPDIR", "TZ", "LD_LIBRARY_PATH",
    "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
    "SSH_AUTH_SOCK", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE",
    "GIT_SSH", "GIT_SSH_COMMAND", "GIT_SSH_VARIANT", "GIT_ASKPASS", "GIT_PROXY_COMMAND",
    "GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "GIT_SSL_CERT", "GIT_SSL_KEY",
    "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
];

/// Stronger than any configuration that an agent or a user may have left: nothing of theirs runs, nothing
/// waits for a person, nothing starts in the background.
const CONFIG: [(&str, &str); 24] = [
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.quotePath", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("push.gpgSign", "false"),
    ("push.followTags", "false"),
    ("push.recurseSubmodules", "no"),
    ("fetch.recurseSubmodules", "no"),
    ("submodule.recurse", "false"),
    ("protocol.ext.allow", "never"),
    ("credential.interactive", "false"),
    ("rebase.autoStash", "false"),
    ("rebase.autoSquash", "false"),
    ("rebase.updateRefs", "false"),
    ("rebase.rebaseMerges", "false"),
    ("rebase.abbreviateCommands", "false"),
    ("rerere.enabled", "false"),
    ("i18n.commitEncoding", "UTF-8"),
    ("log.showSignature", "false"),
    ("advice.addEmbeddedRepo", "false"),
    ("color.ui", "false"),
];

const SETTINGS: [(&str, &str); 9] = [
    ("LC_ALL", "C"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GCM_INTERACTIVE", "never"),
    ("GIT_EDITOR", ":"),
    ("GIT_SEQUENCE_EDITOR", ":"),
    ("GIT_MERGE_AUTOEDIT", "no"),
    ("GIT_PAGER", "cat"),
    // An agent could make any object read as another one.
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_ADVICE", "0"),
];

/// Replaces the environment of a call by ours, with configuration for this call alone.
pub(super) fn replace(command: &mut Command, own: &[(String, String)]) {
    command.env_clear();
    let passed = PASSED_ON
        .iter()
        .filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(passed).envs(SETTINGS);
    let own = own.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut count = 0;
    for (key, value) in CONFIG.into_iter().chain(own) {
        command.env(format!("GIT_CONFIG_KEY_{count}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{count}"), value);
        count += 1;
    }
    command.env("GIT_CONFIG_COUNT", count.to_string());
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::command::Git;

    #[test]
    fn the_environment_of_the_service_does_not_reach_git() {
        let call = Git::new("env").config(vec![("alias.env".into(), "!env".into())]);
        let names = call.ok().unwrap().text();
        let cargo = |line: &str| line.starts_with("CARGO") || line.starts_with("GIT_DIR=");
        assert!(!names.lines().any(cargo), "{names}");
        assert!(names.contains("GIT_TERMINAL_PROMPT=0"));
    }
}
