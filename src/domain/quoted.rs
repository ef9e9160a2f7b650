//! Makes text that others wrote (titles, comments, logs, findings) fit to stand in a prompt or a comment.
//! Never interprets it: what looks like a template, a fence or an escape code stays plain text or goes away.

/// Room for the words that name a cut.
const MARK: usize = 40;

/// Text without escape sequences and control characters (newline and tab stay), with `\n` line ends and without
/// the invisible characters that reorder a line; at most `max` bytes (but at least 40), cut at a character, the
/// cut named.
pub fn clean(text: &str, max: usize) -> String {
    let plain = strip(text);
    if plain.len() <= max.max(MARK) {
        return plain;
    }
    let mut end = max.saturating_sub(MARK);
    while !plain.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}\n[… {} bytes left out]", &plain[..end], plain.len() - end)
}

/// Like [`clean`], but keeps the end: for logs, where the failure stands last.
pub fn clean_tail(text: &str, max: usize) -> String {
    let plain = strip(text);
    if plain.len() <= max.max(MARK) {
        return plain;
    }
    let mut start = plain.len() - max.saturating_sub(MARK);
    while !plain.is_char_boundary(start) {
        start += 1;
    }
    format!("[{start} bytes left out …]\n{}", &plain[start..])
}

/// One line: white space runs become one space; at most `max` characters.
pub fn one_line(text: &str, max: usize) -> String {
    let line = strip(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= max {
        return line;
    }
    let mut cut: String = line.chars().take(max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A Markdown fence around `text` that nothing inside can close: longer than every run of backticks in it.
pub fn fenced(text: &str) -> String {
    let fence = "`".repeat(longest_backticks(text).max(2) + 1);
    format!("{fence}text\n{}\n{fence}", text.trim_end_matches('\n'))
}

/// A Markdown code span around one line, closed by nothing inside.
pub fn code_span(line: &str) -> String {
    let ticks = "`".repeat(longest_backticks(line) + 1);
    let pad = if line.starts_with('`') || line.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{ticks}{pad}{line}{pad}{ticks}")
}

fn longest_backticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

fn strip(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\r' => {
                if chars.peek() != Some(&'\n') {
                    out.push('\n');
                }
            }
            '\n' | '\t' => out.push(c),
            c if c.is_control() || reorders(c) => {}
            c => out.push(c),
        }
    }
    out
}

/// Skips the rest of an ECMA-48 sequence: CSI up to its final byte, OSC and its kin up to BEL or ST.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.peek() {
        Some('[') => {
            chars.next();
            while let Some(c) = chars.next_if(|c| (' '..='~').contains(c)) {
                if ('@'..='~').contains(&c) {
                    break;
                }
            }
        }
        Some(']' | 'P' | '^' | '_') => {
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some('(' | ')') => {
            chars.next();
            chars.next();
        }
        Some('@'..='Z' | '\\' | '`'..='~' | '0'..='?') => {
            chars.next();
        }
        Some(_) | None => {}
    }
}

/// Invisible characters that change the direction or hide parts of a line.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_codes_and_control_characters_go_and_text_stays() {
        let table = [
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}[1;38;5;9mx", "x"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("\u{1b}]8;;http://x\u{1b}\\link", "link"),
            ("\u{1b}(Bx\u{1b}cy", "xy"),
            ("a\0b\u{8}c\u{7f}d\u{9b}e", "abcde"),
            ("one\r\ntwo\rthree", "one\ntwo\nthree"),
            ("tab\tstays", "tab\tstays"),
            ("safe\u{202e}gpj.exe", "safegpj.exe"),
            ("\u{1b}", ""),
            ("\u{1b}[", ""),
            ("\u{1b}é", "é"),
        ];
        for (given, expected) in table {
            assert_eq!(clean(given, 1000), expected, "{given:?}");
        }
    }

    #[test]
    fn a_cut_never_splits_a_character_is_named_and_stays_within_the_limit() {
        let text = "日".repeat(100);
        for max in 0..200 {
            let (head, tail) = (clean(&text, max), clean_tail(&text, max));
            assert!(head.contains("left out") && tail.contains("left out"), "{max}");
            assert!(
                head.len() <= max.max(MARK) && tail.len() <= max.max(MARK),
                "{max}"
            );
            assert_eq!(clean(&head, max), head, "cutting twice changes nothing");
            assert_eq!(clean_tail(&tail, max), tail, "cutting twice changes nothing");
        }
        assert_eq!(clean("äöü", 6), "äöü");
        assert_eq!(clean(&"x".repeat(50), 42), "xx\n[… 48 bytes left out]");
        assert_eq!(clean_tail(&"x".repeat(50), 42), "[48 bytes left out …]\nxx");
    }

    #[test]
    fn one_line_folds_white_space_and_caps_by_characters() {
        assert_eq!(one_line("a\n\n b\t c\r\nd", 80), "a b c d");
        assert_eq!(one_line("日本語日本語", 4), "日本語…");
    }

    #[test]
    fn nothing_inside_closes_its_fence() {
        assert_eq!(fenced("a ``` b"), "````text\na ``` b\n````");
        assert_eq!(fenced("`````\nx"), "``````text\n`````\nx\n``````");
        assert_eq!(fenced(""), "```text\n\n```");
        assert_eq!(code_span("a `b` c"), "``a `b` c``");
        assert_eq!(code_span("`b"), "`` `b ``");
    }
}
