//! `rewrite`: the compiler pass, from file to file.

use super::{
    Exit, Failure,
    args::Rewrite,
    config,
    console::Console,
    files::{check_target, check_unread, manifest_path, rewritten_path, same_target, write_text},
    progress::Progress,
    report,
    table::size,
};
use bitonnx::{
    Error, ErrorKind, Result,
    files::Target,
    proto::{self, ModelProto, StringStringEntryProto},
    report::Report,
    rewrite::{rewrite_unsealed, seal},
    rules::recipe,
};
use prost::Message as _;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Rewrites the model, unless nothing in it can be.
pub fn run(args: &Rewrite, console: &mut Console) -> Result<Exit, Failure> {
    let (options, external) = config::options(args)?;
    let out = args.output.clone().unwrap_or_else(|| rewritten_path(&args.model, options.qat));
    let manifest = options.qat.then(|| manifest_path(&out));
    if !args.dry_run {
        console.make_way_for([&out].into_iter().chain(&args.report).map(PathBuf::as_path));
    }
    let proto::Source { model: source, files, .. } = proto::open(&args.model)?;
    check_targets(args, &out, manifest.as_deref(), &files)?;
    let before = source.encoded_len() as u64;
    let mut progress = Progress::new(console, "rewriting");
    let sealing = seal_beside(&source);
    let converted = &mut |done, of| progress.at(done, of);
    let rewritten = rewrite_unsealed(source, &recipe(), &options, converted)
        .map_err(|e| e.within(args.model.display()))?;
    drop(progress);
    let mut report = rewritten.report;
    report.model = args.model.display().to_string();
    report.warnings.iter().for_each(|warning| console.warn(warning));
    if report.converted().next().is_none() {
        return nothing(&report, console);
    }

    let mut model = rewritten.model;
    let after = if args.dry_run {
        model.metadata_props.extend(sealing());
        model.encoded_len() as u64
    } else {
        let length = model.encoded_len() as u64;
        let mut progress = Progress::new(console, "writing");
        let written = &mut |bytes| progress.at(bytes, length);
        let saved = proto::save_sealed(&model, &out, external, written, sealing)?;
        if let (Some(manifest), Some(path)) = (&rewritten.manifest, &manifest) {
            write_json("the manifest", manifest, path)?;
        }
        args.report.iter().try_for_each(|path| write_json("the report", &report, path))?;
        saved.bytes
    };
    report::print_summary(&report, console)?;
    if !console.json() {
        let percent = 100.0 * after as f64 / before as f64;
        let (from, to) = (args.model.display(), out.display());
        let (before, after) = (size(before), size(after));
        writeln!(console.out(), "{from} {before}, {to} {after} ({percent:.0} %)")?;
    }
    if let Some(manifest) = &manifest {
        if !args.dry_run {
            console.say(format_args!("What to train is in {}.", manifest.display()));
        }
    } else if report.converted().any(|p| !p.exact) {
        console.say(UNTRAINED);
    }
    if args.dry_run {
        console.say("Dry run: nothing was written.");
    }
    Ok(Exit::Done)
}

/// Begins to digest the source, beside what follows; the result waits for the end of it.
fn seal_beside(source: &ModelProto) -> impl FnOnce() -> Vec<StringStringEntryProto> + use<> {
    let source = source.clone();
    let sealing = std::thread::spawn(move || seal(&source));
    move || sealing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

const UNTRAINED: &str = "\
Ternary weights without training cost accuracy: a Llama of 0.86 M parameters went from perplexity 13.6 to 124.
Section 'Accuracy' of the README says what to do about it.";

/// Says that there is nothing to do, and why.
fn nothing(report: &Report, console: &mut Console) -> Result<Exit, Failure> {
    report::print_summary(report, console)?;
    let why = match report.projections.len() {
        0 => "it multiplies no activation with a constant matrix",
        _ => "each of its projections is kept, for the reason given with it",
    };
    console
        .say(format_args!("Nothing to rewrite in {}: {why}. Nothing was written.", report.model));
    Ok(Exit::NothingToRewrite)
}

/// Refuses what would be lost by writing, and what can't be written, before any work is done.
fn check_targets(
    args: &Rewrite,
    out: &Path,
    manifest: Option<&Path>,
    read: &[PathBuf],
) -> Result<()> {
    for target in [Some(out), args.report.as_deref(), manifest].into_iter().flatten() {
        check_unread(target, read.iter().chain(&args.config))?;
        if !args.dry_run {
            check_target(target, args.overwrite)?;
        }
    }
    if manifest.is_some() && !args.dry_run && matches!(Target::of(out)?, Target::Stream(_)) {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("{} can't be written", out.display()),
            "the manifest of what to train lies beside the model, and this is no file",
            "name a file with -o",
        ));
    }
    check_apart(&[
        ("the report", args.report.as_deref()),
        ("the manifest", manifest),
        ("the rewritten model", Some(out)),
    ])
}

/// Refuses to write two things to one file: the later would be all that is left.
fn check_apart(targets: &[(&str, Option<&Path>)]) -> Result<()> {
    for (index, (what, path)) in targets.iter().enumerate() {
        let Some(path) = path else { continue };
        let same = |other: &&(&str, Option<&Path>)| other.1.is_some_and(|o| same_target(path, o));
        if let Some((other, _)) = targets[index + 1..].iter().find(same) {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("{what} can't be written to {}", path.display()),
                format!("{other} is written there"),
                "give each a file of its own, with -o or --report; the manifest's name follows the model's",
            ));
        }
    }
    Ok(())
}

fn write_json(what: &str, value: &impl Serialize, path: &Path) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| {
        let what = format!("{what} can't be written to {}", path.display());
        Error::new(ErrorKind::Bug, what, e.to_string(), "report this as a bug")
    })?;
    write_text(what, &(text + "\n"), path)
}
