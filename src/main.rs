//! The command: parse, run, print, exit.

mod cli;

use bitonnx::{Error, ErrorKind};
use clap::Parser as _;
use cli::{
    Exit, Failure,
    args::Args,
    console::{Console, print_error},
};
use std::{io, process::ExitCode};

/// What clap, too, exits with.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    // Errors are told in three lines, whatever they come from.
    #[cfg(feature = "runtime")]
    if !args.global.verbose {
        bitonnx::runtime::quiet_panics();
    }
    let mut console = Console::new(args.global);
    let ended = cli::run(args.task, &mut console);
    let printed = console.finish();
    match (ended, printed) {
        (Err(Failure::Error(error)), _) => fail(&error),
        (Err(Failure::Usage(error)), _) => {
            print_error(&error);
            ExitCode::from(USAGE)
        }
        (Err(Failure::Output(e)), _) | (Ok(_), Err(e)) if e.kind() != io::ErrorKind::BrokenPipe => {
            let hint = "check where the output goes, and the free space there";
            fail(&Error::new(
                ErrorKind::Unwritable,
                "the result can't be printed",
                e.to_string(),
                hint,
            ))
        }
        (Ok(exit), _) => ExitCode::from(exit as u8),
        // Whoever read our output has read enough.
        (Err(Failure::Output(_)), _) => ExitCode::from(Exit::Done as u8),
    }
}

fn fail(error: &Error) -> ExitCode {
    print_error(error);
    ExitCode::FAILURE
}
