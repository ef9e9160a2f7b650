//! Whether agents could run on each node that is reached by ssh. Changes nothing there.

use super::{Check, State};
use crate::process::far::{Examined, examine};
use crate::process::{ProcessError, SshTarget};
use crate::settings::{Settings, SshNode};

/// git there has to know what ours does.
const GIT: (u32, u32) = (2, 39);

pub(super) fn nodes(settings: &Settings) -> Vec<Check> {
    settings.nodes.ssh.iter().map(node).collect()
}

fn node(node: &SshNode) -> Check {
    let name = format!("node {}", node.name);
    let target = SshTarget {
        host: node.host.clone(),
        port: node.port,
        identity_file: node.identity_file.clone(),
        known_hosts_file: node.known_hosts_file.clone(),
    };
    let Examined { git, orch, owner } =
        match examine(node.name.as_str(), &target, &node.root, node.orch.as_deref()) {
            Ok(found) => found,
            Err(ProcessError::Far { why, .. }) => return Check::new(name, State::Fail, why),
            Err(e) => {
                let port = node.port.map_or(String::new(), |port| format!(" -p {port}"));
                let found = format!(
                    "{e}; try `ssh -o BatchMode=yes{port} {} true` as the user of the service",
                    node.host
                );
                return Check::new(name, State::Fail, found);
            }
        };
    if !is_new_enough(&git) {
        let (major, minor) = GIT;
        let found = format!("{git} is there: install {major}.{minor} or newer");
        return Check::new(name, State::Fail, found);
    }
    let owner = owner.map_or(String::new(), |owner| {
        format!("; {} belongs to {owner}", node.root)
    });
    match orch {
        None => {
            let found = format!(
                "{git}{owner}; without orch there a run ends with its connection: set nodes.{}.orch",
                node.name
            );
            Check::new(name, State::Ok, found)
        }
        Some(there) => {
            let here = concat!("orch ", env!("CARGO_PKG_VERSION"));
            match there.starts_with(here) {
                true => Check::new(name, State::Ok, format!("{git}, {there}{owner}")),
                false => {
                    let found = format!("{there} is there, and this is {here}: install the same version");
                    Check::new(name, State::Fail, found)
                }
            }
        }
    }
}

/// `git version 2.39.5 (…)`
fn is_new_enough(said: &str) -> bool {
    let numbers = said
        .trim_start_matches("git version ")
        .split(|c: char| !c.is_ascii_digit());
    let mut numbers = numbers.map_while(|n| n.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(GIT.0), Some(GIT.1))
}

#[cfg(test)]
mod tests {
    use super::is_new_enough;

    #[test]
    fn the_version_of_git_is_compared_as_numbers() {
        for good in [
            "git version 2.39.5",
            "git version 2.100.0 (Apple Git-1)",
            "git version 3.0",
        ] {
            assert!(is_new_enough(good), "{good}");
        }
        for bad in ["git version 2.9.5", "git version 1.99", "", "nonsense"] {
            assert!(!is_new_enough(bad), "{bad}");
        }
    }
}
