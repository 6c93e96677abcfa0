//! Where words go: results to stdout, talk to stderr.

use super::args::{Format, Global};
use anstyle::{AnsiColor, Style};
use bitonnx::{Error, ErrorKind, files::Target};
use serde::Serialize;
use std::{
    fmt,
    io::{self, BufWriter, IsTerminal as _, Write},
    path::Path,
};

/// Stdout and stderr, as the options ask for them. Colours are for terminals only.
pub struct Console {
    global: Global,
    out: BufWriter<Box<dyn Write>>,
}

/// What stays as it is, and what matters less.
pub const DIM: Style = Style::new().dimmed();

const ERROR: Style = AnsiColor::Red.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();

impl Console {
    /// The console of this process.
    pub fn new(global: Global) -> Self {
        let out = anstream::AutoStream::auto(io::stdout().lock());
        Console { global, out: BufWriter::new(Box::new(out)) }
    }

    /// Leaves stdout to the files that are written there, if one is: what else is printed becomes talk.
    pub fn make_way_for<'p>(&mut self, files: impl IntoIterator<Item = &'p Path>) {
        if files.into_iter().any(Target::is_stdout) {
            let quiet = self.global.quiet;
            let talk: Box<dyn Write> =
                if quiet { Box::new(io::sink()) } else { Box::new(anstream::stderr()) };
            self.out = BufWriter::new(talk);
        }
    }

    /// Whether results are for programs.
    pub fn json(&self) -> bool {
        self.global.format == Format::Json
    }

    /// Whether to say more.
    pub fn verbose(&self) -> bool {
        self.global.verbose
    }

    /// Whether someone watches stderr and wants to be told how things go.
    pub fn watched(&self) -> bool {
        !self.global.quiet && io::stderr().is_terminal()
    }

    /// The terminal's width; `None` where results go elsewhere, which never wraps.
    pub fn width(&self) -> Option<usize> {
        let (width, _) = terminal_size::terminal_size_of(io::stdout())?;
        Some(width.0.into())
    }

    /// Stdout.
    pub fn out(&mut self) -> &mut dyn Write {
        &mut self.out
    }

    /// Prints a result for programs.
    pub fn print_json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)
    }

    /// Says something that is no result, unless asked to be quiet.
    pub fn say(&self, text: impl fmt::Display) {
        if !self.global.quiet {
            to_stderr(text);
        }
    }

    /// Says something that deserves attention, unless asked to be quiet.
    pub fn warn(&self, text: impl fmt::Display) {
        self.say(format_args!("{WARNING}warning:{WARNING:#} {text}"));
    }

    /// Sees to it that everything was printed.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Prints an error: what, why and what to do about it, a line each.
pub fn print_error(error: &Error) {
    let line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (what, why, mut hint) = (line(error.what()), line(error.why()), line(error.hint()));
    if let Some(options) = options(error.kind()) {
        hint.push_str(&format!(" ({options})"));
    }
    to_stderr(format_args!(
        "{ERROR}error:{ERROR:#} {what}\n  {DIM}why:{DIM:#} {why}\n  {DIM}try:{DIM:#} {hint}"
    ));
}

/// What the command has for what the library can only advise.
fn options(kind: ErrorKind) -> Option<&'static str> {
    Some(match kind {
        ErrorKind::TooLarge => "--external-data auto",
        ErrorKind::MissingTensors => "--partial",
        ErrorKind::NoSuchNode => {
            "`bitonnx inspect` lists the projections, `bitonnx show` every node"
        }
        ErrorKind::NoSuchProjection => {
            "`bitonnx inspect` lists names; --allow-unmatched makes this a warning"
        }
        ErrorKind::NoSuchInitializer => "--allow-unmatched",
        _ => return None,
    })
}

/// What can't be said, because nobody listens, is no error.
fn to_stderr(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr(), "{text}");
}
