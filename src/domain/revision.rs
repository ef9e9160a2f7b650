//! Reads which revision something says it runs. Never asks it.

use serde_json::Value;

use super::id::Sha;

/// A revision as a program or a server names it: 7 to 64 hexadecimal digits, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision(String);

/// The keys of a JSON object under which a revision is looked for, in this order.
const KEYS: [&str; 3] = ["revision", "commit", "sha"];

impl Revision {
    /// Reads an answer: a JSON object with `revision`, `commit` or `sha`, else the last line that is not blank.
    ///
    /// # Errors
    /// Why nobody knows, in one line.
    pub fn of(answer: &str) -> Result<Self, String> {
        let answer = answer.trim();
        if let Some(found) = in_json(answer) {
            return found;
        }
        let line = answer.lines().rev().map(str::trim).find(|line| !line.is_empty());
        match line {
            None => Err("the answer is empty".to_owned()),
            Some(line) => in_json(line).unwrap_or_else(|| Self::parse(line)),
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.bytes().all(|b| b.is_ascii_hexdigit());
        if digits && (7..=64).contains(&text.len()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let shown: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
        Err(format!("{shown:?} is no revision (7 to 64 hexadecimal digits)"))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True when it names this commit, in full or by its beginning.
    pub fn names(&self, commit: &Sha) -> bool {
        commit.as_str().starts_with(&self.0)
    }
}

/// None: it is no JSON object.
fn in_json(text: &str) -> Option<Result<Revision, String>> {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return None;
    };
    let found = KEYS.iter().find_map(|key| fields.get(*key));
    Some(match found {
        Some(Value::String(text)) => Revision::parse(text.trim()),
        Some(_) => Err("its revision is no text".to_owned()),
        None => Err(format!("the JSON object has none of {}", KEYS.join(", "))),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn a_revision_is_read_from_text_and_from_json() {
        let table = [
            (FULL.to_owned(), Ok(FULL)),
            (format!("\n  {FULL}  \n\n"), Ok(FULL)),
            ("building …\n0123456\n".to_owned(), Ok("0123456")),
            ("ABCDEF0".to_owned(), Ok("abcdef0")),
            (format!("{{\"revision\": \"{FULL}\", \"sha\": \"x\"}}"), Ok(FULL)),
            ("{\"commit\": \"0123456\"}".to_owned(), Ok("0123456")),
            ("{\n \"sha\": \" 0123456 \"\n}".to_owned(), Ok("0123456")),
            ("ready\n{\"sha\": \"0123456\"}\n".to_owned(), Ok("0123456")),
            (String::new(), Err("the answer is empty")),
            (" \n ".to_owned(), Err("the answer is empty")),
            (
                "012345".to_owned(),
                Err("\"012345\" is no revision (7 to 64 hexadecimal digits)"),
            ),
            (
                format!("{FULL}{FULL}"),
                Err(
                    "\"0123456789abcdef0123456789abcdef012345670123456789abcdef0123\" is no revision (7 to 64 hexadecimal digits)",
                ),
            ),
            (
                "<html>".to_owned(),
                Err("\"<html>\" is no revision (7 to 64 hexadecimal digits)"),
            ),
            ("{\"revision\": 7}".to_owned(), Err("its revision is no text")),
            (
                "{\"version\": \"0123456\"}".to_owned(),
                Err("the JSON object has none of revision, commit, sha"),
            ),
        ];
        for (answer, expected) in table {
            let found = Revision::of(&answer);
            assert_eq!(
                found.as_ref().map(Revision::as_str).map_err(String::as_str),
                expected,
                "{answer:?}"
            );
        }
    }

    #[test]
    fn it_names_a_commit_in_full_or_by_its_beginning() {
        let commit = Sha::trusted(FULL);
        let names = |text: &str| Revision::of(text).is_ok_and(|r| r.names(&commit));
        assert!(names(FULL) && names("0123456") && names("0123456789ABCDEF"));
        assert!(!names("0123457") && !names(&format!("{FULL}00")));
    }

    proptest! {
        #[test]
        fn whatever_is_answered_a_revision_is_a_few_hexadecimal_digits(answer in "(?s).{0,200}") {
            if let Ok(found) = Revision::of(&answer) {
                prop_assert!((7..=64).contains(&found.as_str().len()));
                prop_assert!(found.as_str().bytes().all(|b| b.is_ascii_hexdigit()));
            }
        }
    }
}
