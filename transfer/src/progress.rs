//! What is shown on stderr while a command runs.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio::task::AbortHandle;

use crate::headers::is_invisible;

/// How often a line tells how far it is, where there is no terminal for a bar.
const LINES: Duration = Duration::from_secs(10);

/// The most characters of a printed line.
const MAX_LINE: usize = 2_000;

/// Prints a line to stderr, if it is open.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// A text on one line that no terminal takes for commands: control and invisible characters are escaped. A long text is
/// cut.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::new();
    for (length, c) in text.chars().enumerate() {
        match c {
            _ if length == MAX_LINE => {
                line.push('…');
                break;
            }
            c if c.is_control() || is_invisible(c) || matches!(c, '\u{2028}' | '\u{2029}') => {
                line.extend(c.escape_default())
            }
            c => line.push(c),
        }
    }
    line
}

/// A progress bar, or lines.
#[derive(Clone)]
pub(crate) struct ProgressDisplay {
    bar: ProgressBar,
    lines: AbortHandle,
}

impl ProgressDisplay {
    /// At `done` of `length` end users or rows. Begins to measure.
    pub(crate) fn start(done: u64, length: u64) -> Self {
        let bar = ProgressBar::new(length);
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left")
        {
            bar.set_style(style);
        }
        bar.set_position(done);
        bar.reset_eta();
        let shown = bar.clone();
        let lines = tokio::spawn(async move {
            while shown.is_hidden() {
                tokio::time::sleep(LINES).await;
                if shown.length() > Some(0) {
                    say(&line(&shown));
                }
            }
        });
        Self { bar, lines: lines.abort_handle() }
    }

    /// One more is done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// So many there are.
    pub(crate) fn set_length(&self, length: u64) {
        self.bar.set_length(length);
    }

    /// Prints a line above the bar.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    /// Ends it; the seconds since its start.
    pub(crate) fn end(self) -> f64 {
        self.lines.abort();
        self.bar.finish_and_clear();
        self.bar.elapsed().as_secs_f64()
    }
}

fn line(bar: &ProgressBar) -> String {
    let length = HumanCount(bar.length().unwrap_or_default());
    let done = HumanCount(bar.position());
    format!("{done} of {length}, {:.0}/s, {} left", bar.per_sec(), HumanDuration(bar.eta()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_holds_no_commands_for_a_terminal() {
        assert_eq!(
            printable("é → \u{1b}[31m\u{7}\n\u{9b}\u{202e}x\0"),
            "é → \\u{1b}[31m\\u{7}\\n\\u{9b}\\u{202e}x\\u{0}"
        );
        let long = "é".repeat(MAX_LINE);
        assert_eq!(printable(&long), long);
        assert_eq!(printable(&format!("{long}é")), format!("{long}…"));
    }
}
