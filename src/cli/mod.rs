//! The commands. Only they print.

pub mod args;
mod completions;
mod config;
pub mod console;
mod explain;
mod files;
mod import_weights;
mod inspect;
mod kernels;
#[cfg(feature = "runtime")]
mod profile;
mod progress;
#[cfg(feature = "runtime")]
mod random;
mod report;
mod rewrite;
#[cfg(feature = "runtime")]
mod run;
mod show;
mod table;

use args::Task;
use bitonnx::Error;
use console::Console;
use std::io;

/// How a command ends when nothing failed: the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything asked for is done.
    Done = 0,
    /// The model has nothing to rewrite.
    NothingToRewrite = 3,
}

/// Why a command ends early.
#[derive(Debug)]
pub enum Failure {
    /// Something to tell the user.
    Error(Error),
    /// The same, where the arguments are to blame.
    #[cfg_attr(not(feature = "runtime"), allow(dead_code, reason = "only `run` needs it"))]
    Usage(Error),
    /// Stdout takes no more.
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Error(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

/// Does what was asked for.
pub fn run(task: Task, console: &mut Console) -> Result<Exit, Failure> {
    match task {
        Task::Inspect(args) => inspect::run(&args, console),
        Task::Rewrite(args) => rewrite::run(&args, console),
        Task::ImportWeights(args) => import_weights::run(&args, console),
        #[cfg(feature = "runtime")]
        Task::Run(args) => run::run(&args, console),
        #[cfg(not(feature = "runtime"))]
        Task::Run(_) => Err(Failure::Error(Error::new(
            bitonnx::ErrorKind::Unsupported,
            "this build of bitonnx can't run models",
            "it was built without its feature `runtime`, which brings tract",
            "build it with its default features",
        ))),
        Task::Show(args) => show::run(&args, console),
        Task::Explain(args) => explain::run(&args, console),
        Task::Kernels => kernels::run(console),
        Task::Completions(args) => completions::run(&args, console),
    }
}
