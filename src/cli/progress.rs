//! A bar for work that takes its time.

use super::console::Console;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Shows how far some work is, once it has taken a second, where someone watches.
pub struct Progress {
    what: &'static str,
    began: Instant,
    watched: bool,
    bar: Option<ProgressBar>,
}

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

impl Progress {
    /// Work that begins now; `what` is a word like `writing`.
    pub fn new(console: &Console, what: &'static str) -> Self {
        Progress { what, began: Instant::now(), watched: console.watched(), bar: None }
    }

    /// Work is done up to byte `done` of `total`.
    pub fn at(&mut self, done: u64, total: u64) {
        if !self.watched || self.began.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_insert_with(|| bar(self.what, total));
        bar.set_position(done);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &'static str, total: u64) -> ProgressBar {
    let template = "{prefix:>12} [{bar:30}] {bytes} of {total_bytes}";
    let style = ProgressStyle::with_template(template)
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar.set_prefix(what);
    bar
}
