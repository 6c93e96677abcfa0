//! The command: parse, run, print, exit.

mod cli;

use bitonnx::Error;
use clap::Parser as _;
use cli::{Exit, Failure, args::Args, console::{Console, print_error}};
use std::{io, process::ExitCode};

fn main() -> ExitCode {
    let args = Args::parse();
    let mut console = Console::new(args.global);
    let ended = cli::run(args.task, &mut console);
    let printed = console.finish();
    match ended.and_then(|exit| Ok(printed.map(|()| exit)?)) {
        Ok(exit) => ExitCode::from(exit as u8),
        Err(Failure::Error(error)) => fail(&error),
        // Whoever read our output has read enough.
        Err(Failure::Output(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(Exit::Done as u8),
        Err(Failure::Output(e)) => fail(&Error::new(
            "the result can't be printed",
            e.to_string(),
            "check where the output goes, and the free space there",
        )),
    }
}

fn fail(error: &Error) -> ExitCode {
    print_error(error);
    ExitCode::FAILURE
}
