//! Shows what happens while it happens: live on a terminal, as plain lines, or as JSON. Never asks the service.

use std::cell::RefCell;
use std::io::{self, BufRead, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::engine::views::EventView;

use super::timeline;

/// How it is shown.
pub enum Show {
    /// A spinner for what goes on, the lines above it.
    Live {
        /// The spinner; none while a person is asked, so that nothing moves where they type.
        spinner: RefCell<Option<ProgressBar>>,
        /// Colours are wanted.
        color: bool,
    },
    /// One line each.
    Plain {
        /// Colours are wanted.
        color: bool,
    },
    /// One JSON object each.
    Json,
}

#[derive(Serialize)]
struct EventLine<'a> {
    r#type: &'static str,
    elapsed_ms: u128,
    #[serde(flatten)]
    event: &'a EventView,
}

#[derive(Serialize)]
struct NoteLine<'a> {
    r#type: &'static str,
    elapsed_ms: u128,
    text: &'a str,
}

impl Show {
    /// What fits the place where standard output goes.
    pub fn new(json: bool, color: bool) -> Self {
        if json {
            return Self::Json;
        }
        if !io::stdout().is_terminal() {
            return Self::Plain { color };
        }
        Self::Live {
            spinner: RefCell::new(Some(new_spinner(Duration::ZERO))),
            color,
        }
    }

    /// An event of the task.
    pub fn event(&self, elapsed: Duration, event: &EventView) {
        match self {
            Self::Live { spinner, color } => {
                let doing = format!("{}: {}", event.stage, timeline::first_line(&event.text));
                above(spinner, &timeline::line(elapsed, event, *color), doing);
            }
            Self::Plain { color } => print(&timeline::line(elapsed, event, *color)),
            Self::Json => print_json(&EventLine {
                r#type: "event",
                elapsed_ms: elapsed.as_millis(),
                event,
            }),
        }
    }

    /// Something that the demo itself did.
    pub fn note(&self, elapsed: Duration, text: &str) {
        match self {
            Self::Live { spinner, color } => {
                let line = timeline::note(elapsed, text, *color);
                above(spinner, &line, timeline::first_line(text));
            }
            Self::Plain { color } => print(&timeline::note(elapsed, text, *color)),
            Self::Json => print_json(&NoteLine {
                r#type: "note",
                elapsed_ms: elapsed.as_millis(),
                text,
            }),
        }
    }

    /// A question to a person.
    pub fn question(&self, elapsed: Duration, text: &str) {
        match self {
            Self::Live { spinner, .. } => {
                clear(spinner);
                print(text);
            }
            Self::Plain { .. } => print(text),
            Self::Json => print_json(&NoteLine {
                r#type: "question",
                elapsed_ms: elapsed.as_millis(),
                text,
            }),
        }
    }

    /// The question is settled.
    pub fn go_on(&self, elapsed: Duration) {
        match self {
            Self::Live { spinner, .. } => {
                spinner.replace(Some(new_spinner(elapsed)));
            }
            Self::Plain { .. } | Self::Json => {}
        }
    }

    /// The end: the spinner disappears, the lines stay.
    pub fn finish(&self, text: &str, summary: &impl Serialize) {
        match self {
            Self::Live { spinner, .. } => {
                clear(spinner);
                print(text);
            }
            Self::Plain { .. } => print(text),
            Self::Json => print_json(summary),
        }
    }
}

fn new_spinner(elapsed: Duration) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout()).with_elapsed(elapsed);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

fn above(spinner: &RefCell<Option<ProgressBar>>, line: &str, doing: String) {
    match &*spinner.borrow() {
        Some(spinner) => {
            spinner.suspend(|| print(line));
            spinner.set_message(doing);
        }
        None => print(line),
    }
}

fn clear(spinner: &RefCell<Option<ProgressBar>>) {
    if let Some(spinner) = spinner.take() {
        spinner.finish_and_clear();
    }
}

/// A reader that went away (`orch demo | head`) does not stop the demo; its exit code still says what happened.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    let _written = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn print_json(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        print(&text);
    }
}

/// Lines that a person types, as they come. `None` when nobody can type.
pub fn typed() -> Option<tokio::sync::mpsc::UnboundedReceiver<String>> {
    if !io::stdin().is_terminal() {
        return None;
    }
    let (send, lines) = tokio::sync::mpsc::unbounded_channel();
    // A thread of its own, never joined: reading a terminal cannot be broken off. Unbounded, because a person types.
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    Some(lines)
}
