//! Messages and progress on stderr.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};
use tokio::task::AbortHandle;

use crate::headers::is_invisible;

/// The interval of progress lines, which replace the bar if stderr is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The most characters of a printed line.
const MAX_LINE_CHARS: usize = 2_000;

/// Prints a line to stderr. A closed stderr is ignored.
pub(crate) fn print_line(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// A text as one line without terminal commands: control and invisible characters are escaped. A long text is
/// truncated.
pub(crate) fn printable(text: &str) -> String {
    let mut line = String::new();
    for (length, c) in text.chars().enumerate() {
        match c {
            _ if length == MAX_LINE_CHARS => {
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

/// A progress bar on a terminal, otherwise a line every ten seconds.
#[derive(Clone)]
pub(crate) struct ProgressDisplay {
    bar: ProgressBar,
    lines: AbortHandle,
}

impl ProgressDisplay {
    /// Starts at `done` of `length` end users or rows, and starts the clock.
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
                tokio::time::sleep(LINE_INTERVAL).await;
                if shown.length() > Some(0) {
                    print_line(&progress_line(&shown));
                }
            }
        });
        Self { bar, lines: lines.abort_handle() }
    }

    /// Counts one more as done.
    pub(crate) fn step(&self) {
        self.bar.inc(1);
    }

    /// Replaces the total.
    pub(crate) fn set_length(&self, length: u64) {
        self.bar.set_length(length);
    }

    /// Prints a line above the bar.
    pub(crate) fn print_line(&self, text: &str) {
        self.bar.suspend(|| print_line(text));
    }

    /// Removes the bar. Returns the seconds since the start.
    pub(crate) fn end(self) -> f64 {
        self.lines.abort();
        self.bar.finish_and_clear();
        self.bar.elapsed().as_secs_f64()
    }
}

fn progress_line(bar: &ProgressBar) -> String {
    let length = HumanCount(bar.length().unwrap_or_default());
    let done = HumanCount(bar.position());
    format!("{done} of {length}, {:.0}/s, {} left", bar.per_sec(), HumanDuration(bar.eta()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_text_contains_no_terminal_commands() {
        assert_eq!(
            printable("é → \u{1b}[31m\u{7}\n\u{9b}\u{202e}x\0"),
            "é → \\u{1b}[31m\\u{7}\\n\\u{9b}\\u{202e}x\\u{0}"
        );
        let long = "é".repeat(MAX_LINE_CHARS);
        assert_eq!(printable(&long), long);
        assert_eq!(printable(&format!("{long}é")), format!("{long}…"));
    }
}
