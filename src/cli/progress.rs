//! A bar for work that takes its time.

use super::{console::Console, table::size};
use std::{
    io::Write as _,
    time::{Duration, Instant},
};

/// Shows how far some work is, once it has taken a second, where someone watches.
pub struct Progress {
    what: &'static str,
    watched: bool,
    /// When to show it next.
    next: Instant,
    /// The length of what is shown.
    shown: usize,
}

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// Nobody reads faster.
const PAUSE: Duration = Duration::from_millis(100);

const WIDTH: usize = 30;

impl Progress {
    /// Work that begins now; `what` is a word like `writing`.
    pub fn new(console: &Console, what: &'static str) -> Self {
        Progress { what, watched: console.watched(), next: Instant::now() + PATIENCE, shown: 0 }
    }

    /// Work is done up to byte `done` of `total`.
    pub fn at(&mut self, done: u64, total: u64) {
        if !self.watched || Instant::now() < self.next {
            return;
        }
        let bar = "=".repeat((done.min(total) * WIDTH as u64 / total.max(1)) as usize);
        let text = format!("{:>12} [{bar:WIDTH$}] {} of {}", self.what, size(done), size(total));
        self.show(&text);
        self.next = Instant::now() + PAUSE;
    }

    /// Puts a text in the place of the one before. What can't be shown is no error.
    fn show(&mut self, text: &str) {
        let _ = write!(std::io::stderr(), "\r{text:0$}", self.shown);
        self.shown = text.chars().count();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown > 0 {
            // Blanks over it, and back to where the line begins.
            self.show("");
            self.show("");
        }
    }
}
