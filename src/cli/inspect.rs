//! `inspect`: a model's projections.

use super::{Exit, Failure, args::Inspect, console::Console, progress::Progress, report};
use bitonnx::{
    proto,
    rewrite::{Options, rewrite},
    rules::recipe,
};

/// Prints each projection and what `rewrite` would do with it.
pub fn run(args: &Inspect, console: &mut Console) -> Result<Exit, Failure> {
    let model = proto::load(&args.model)?;
    let mut progress = Progress::new(console, "reading");
    let rewritten =
        rewrite(model, &recipe(), &Options::default(), &mut |done, of| progress.at(done, of))?;
    drop(progress);
    let mut report = rewritten.report;
    report.model = args.model.display().to_string();
    report::print_all(&report, console)?;
    Ok(Exit::Done)
}
