//! Builds the environment of an agent from an allow list. Never passes on what nobody named.

use std::collections::BTreeMap;

/// Of `source` the variables named in `allow`, then `extra`, which wins. Sorted by name.
pub fn allowed_env(
    allow: &[String],
    source: impl Iterator<Item = (String, String)>,
    extra: &BTreeMap<String, String>,
) -> Vec<(String, String)> {
    let mut env: BTreeMap<String, String> = source.filter(|(name, _)| allow.contains(name)).collect();
    env.extend(extra.iter().map(|(name, value)| (name.clone(), value.clone())));
    env.into_iter().collect()
}

/// This process's own environment; variables that are not UTF-8 are passed over.
pub fn inherited_env() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_variables_pass_and_extra_ones_win() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let source = [
            pair("PATH", "/bin"),
            pair("TOKEN", "secret"),
            pair("HOME", "/root"),
        ];
        let allow = ["PATH".to_owned(), "HOME".to_owned(), "LANG".to_owned()];
        let extra = BTreeMap::from([pair("HOME", "/agent"), pair("ROLE", "tester")]);

        let env = allowed_env(&allow, source.into_iter(), &extra);

        assert_eq!(
            env,
            [
                pair("HOME", "/agent"),
                pair("PATH", "/bin"),
                pair("ROLE", "tester")
            ]
        );
    }
}
