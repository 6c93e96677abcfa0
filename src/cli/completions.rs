//! `completions`: scripts for shells.

use super::{
    Exit, Failure,
    args::{Args, Completions},
    console::Console,
};
use clap::CommandFactory as _;

/// Prints a shell's completion script.
pub fn run(args: &Completions, console: &mut Console) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "bitonnx", &mut script);
    console.out().write_all(&script)?;
    Ok(Exit::Done)
}
