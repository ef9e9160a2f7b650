//! What goes to stdout: colours only where a person looks, tables, and JSON as it came. Never panics when the
//! reader has gone.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use super::client::Answer;
use super::exit::{Exit, Failure};
use super::text;

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum When {
    /// On a terminal, unless NO_COLOR is set or TERM is "dumb".
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What a word means, for its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Needs a look.
    Bad,
    /// Waits for something.
    Waiting,
    /// At work.
    Busy,
    /// Of no more interest.
    Dim,
    /// Nothing special.
    Plain,
}

impl Tone {
    /// The tone of a state's word.
    pub fn of(word: &str) -> Self {
        match word {
            "green" | "done" | "ok" | "finalised" => Self::Good,
            "red" | "failed" | "blocked" | "fail" => Self::Bad,
            "pending" | "unknown" | "waiting_human" | "needs_input" | "warn" => Self::Waiting,
            "running" | "active" => Self::Busy,
            "cancelled" | "abandoned" => Self::Dim,
            _ => Self::Plain,
        }
    }

    fn color(self) -> Option<(Color, AnsiColor)> {
        match self {
            Self::Good => Some((Color::Green, AnsiColor::Green)),
            Self::Bad => Some((Color::Red, AnsiColor::Red)),
            Self::Waiting => Some((Color::Yellow, AnsiColor::Yellow)),
            Self::Busy => Some((Color::Cyan, AnsiColor::Cyan)),
            Self::Dim => Some((Color::DarkGrey, AnsiColor::BrightBlack)),
            Self::Plain => None,
        }
    }
}

/// Where output goes, and how it may look.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    colored: bool,
    terminal: bool,
}

impl Screen {
    /// Stdout as it is.
    pub fn new(when: When) -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty());
        let plain = set("NO_COLOR").is_some() || set("TERM").is_some_and(|t| t == "dumb");
        let colored = match when {
            When::Auto => terminal && !plain,
            When::Always => true,
            When::Never => false,
        };
        Self { colored, terminal }
    }

    /// True when a person looks.
    pub fn is_terminal(self) -> bool {
        self.terminal
    }

    /// True when output may have colours.
    pub fn is_colored(self) -> bool {
        self.colored
    }

    /// Writes and flushes.
    pub fn write(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        Ok(out.flush()?)
    }

    /// Writes a text and a newline.
    pub fn line(self, text: &str) -> Result<(), Failure> {
        self.write(format!("{}\n", text.trim_end_matches('\n')).as_bytes())
    }

    /// The service's answer as it came.
    pub fn json(self, answer: &Answer) -> Result<Exit, Failure> {
        self.write(&answer.bytes)?;
        self.write(b"\n")?;
        Ok(Exit::Ok)
    }

    /// A word in its tone.
    pub fn tone(self, tone: Tone, word: &str) -> String {
        match tone.color() {
            Some((_, color)) if self.colored => paint(color.on_default(), word),
            Some(_) | None => word.to_owned(),
        }
    }

    /// A heading.
    pub fn bold(self, word: &str) -> String {
        if self.colored {
            paint(Style::new().bold(), word)
        } else {
            word.to_owned()
        }
    }

    /// A table; cells are made harmless and put on one line. On a terminal it wraps to its width.
    pub fn table(self, header: &[&str], rows: Vec<Vec<(Tone, String)>>) -> String {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        match table.width().filter(|_| self.terminal) {
            Some(width) => table
                .set_width(width)
                .set_content_arrangement(ContentArrangement::Dynamic),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        if self.colored {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.set_header(header.iter().map(|h| Cell::new(h).add_attribute(Attribute::Bold)));
        table.add_rows(rows.into_iter().map(|row| row.into_iter().map(cell)));
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table.trim_fmt()
    }
}

fn cell((tone, word): (Tone, String)) -> Cell {
    let cell = Cell::new(text::line(&word));
    match tone.color() {
        Some((color, _)) => cell.fg(color),
        None => cell,
    }
}

fn paint(style: Style, word: &str) -> String {
    format!("{style}{word}{style:#}")
}

/// A cell that is nothing special.
pub fn plain(word: impl Into<String>) -> (Tone, String) {
    (Tone::Plain, word.into())
}

/// A cell that holds the word of a state.
pub fn state(word: &str) -> (Tone, String) {
    (Tone::of(word), word.to_owned())
}

/// A cell that may be empty.
pub fn maybe(word: Option<&str>) -> (Tone, String) {
    plain(word.unwrap_or("-"))
}
