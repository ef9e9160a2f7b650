//! Source text as the rules want to see it: without comments, strings, tests. Never parses Rust beyond that.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

/// A place where a rule is broken.
pub struct Finding {
    pub rule: &'static str,
    pub path: String,
    pub line: usize,
    pub what: String,
}

impl Finding {
    pub fn of(self, rule: &'static str) -> Self {
        Self { rule, ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {} (rule: {})",
            self.path, self.line, self.what, self.rule
        )
    }
}

/// One file. A place has the same offset in all its texts.
pub struct Source {
    /// From the root of the repository, with slashes.
    pub path: String,
    pub raw: String,
    /// Without comments.
    pub text: String,
    /// Without comments and the contents of strings.
    pub code: String,
    /// Without what is compiled for tests only, too.
    pub production: String,
}

static TEST_ONLY: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]").unwrap());
static TEST_FILE: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"#\[cfg\(test\)\]\s*(?:pub(?:\([^)]*\))?\s+)?mod\s+(\w+)\s*;").unwrap());

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let code = blank(raw, false);
        Self {
            path: path.to_owned(),
            raw: raw.to_owned(),
            text: blank(raw, true),
            production: without_tests(&code),
            code,
        }
    }

    /// The folder or file below `src/` it belongs to: "store" for `src/store/jobs.rs` and for `src/store.rs`.
    pub fn module(&self) -> &str {
        let inside = self.path.trim_start_matches("src/");
        inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs")
    }

    /// The path of its module in the crate: `["store", "jobs"]`.
    pub fn modules(&self) -> Vec<&str> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let mut modules: Vec<_> = inside.split('/').collect();
        if matches!(modules.last(), Some(&("mod" | "lib" | "main"))) {
            modules.pop();
        }
        modules
    }

    pub fn within(&self, modules: &[&str]) -> bool {
        modules.contains(&self.module())
    }

    pub fn found_at(&self, offset: usize, what: impl Into<String>) -> Finding {
        let line = self.code[..offset].matches('\n').count() + 1;
        Finding {
            rule: "",
            path: self.path.clone(),
            line,
            what: what.into(),
        }
    }

    /// Files that it declares as modules for tests only.
    pub fn test_files(&self) -> Vec<String> {
        let folder = match self.path.strip_suffix("/mod.rs") {
            Some(folder) => folder.to_owned(),
            None => self.path.trim_end_matches(".rs").to_owned(),
        };
        let files = TEST_FILE.captures_iter(&self.code);
        files.map(|found| format!("{folder}/{}.rs", &found[1])).collect()
    }

    /// The same file, of which nothing is production.
    pub fn into_tests(self) -> Self {
        let production = self.code.chars().filter(|c| *c == '\n').collect();
        Self { production, ..self }
    }
}

/// All Rust files below `root`, which is the folder `src`.
pub fn load(root: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let inside = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                sources.push(Source::new(
                    &format!("src/{inside}"),
                    &fs::read_to_string(&path).unwrap(),
                ));
            }
        }
    }
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    let tests: Vec<_> = sources.iter().flat_map(Source::test_files).collect();
    let mark = |source: Source| {
        if tests.contains(&source.path) {
            source.into_tests()
        } else {
            source
        }
    };
    sources.into_iter().map(mark).collect()
}

/// Spaces in place of comments and, unless they are kept, of what strings contain.
fn blank(raw: &str, keep_strings: bool) -> String {
    let chars: Vec<char> = raw.chars().collect();
    let mut out = String::with_capacity(raw.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, kept) = match token(&chars, at) {
            Token::Comment(end) => (end, false),
            Token::Text(end) => (end, keep_strings),
            Token::Code => (at + 1, true),
        };
        let chars = &chars[at..end];
        for c in chars {
            match c {
                '\n' => out.push('\n'),
                _ if kept => out.push(*c),
                _ => out.extend(std::iter::repeat_n(' ', c.len_utf8())),
            }
        }
        at = end;
    }
    out
}

enum Token {
    Comment(usize),
    Text(usize),
    Code,
}

fn token(chars: &[char], at: usize) -> Token {
    let rest = &chars[at..];
    let after_word = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => Token::Comment(at + rest.iter().position(|c| *c == '\n').unwrap_or(rest.len())),
        ['/', '*', ..] => Token::Comment(at + block_comment(rest)),
        ['"', ..] => Token::Text(at + quoted(rest, '"')),
        ['r', '"' | '#', ..] if !after_word => {
            raw_string(rest, 1).map_or(Token::Code, |len| Token::Text(at + len))
        }
        ['b' | 'c', 'r', '"' | '#', ..] if !after_word => {
            raw_string(rest, 2).map_or(Token::Code, |len| Token::Text(at + len))
        }
        ['\'', '\\', ..] | ['\'', _, '\'', ..] => Token::Text(at + quoted(rest, '\'')),
        _ => Token::Code,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0_u32, 0);
    while at < rest.len() {
        match &rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

fn raw_string(rest: &[char], prefix: usize) -> Option<usize> {
    let hashes = rest[prefix..].iter().take_while(|c| **c == '#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let body = &rest[open + 1..];
    let end = body.windows(close.len()).position(|window| window == close);
    Some(end.map_or(rest.len(), |end| open + 1 + end + close.len()))
}

/// Blanks each item behind `#[cfg(test)]`.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    for found in TEST_ONLY.find_iter(code) {
        let rest = &code[found.end()..];
        let end = match rest.find(['{', ';']) {
            Some(open) if rest[open..].starts_with('{') => {
                found.end() + open + balanced(&rest[open..], '{', '}')
            }
            Some(end) => found.end() + end + 1,
            None => code.len(),
        };
        let blanked: String = code[found.start()..end].chars().filter(|c| *c == '\n').collect();
        let filler = end - found.start() - blanked.len();
        out.replace_range(found.start()..end, &format!("{blanked}{}", " ".repeat(filler)));
    }
    out
}

/// The length of the bracketed text with which `text` begins.
pub fn balanced(text: &str, open: char, close: char) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return at + c.len_utf8();
            }
        }
    }
    text.len()
}
