//! `show`: a model as text, or what differs between two.

use super::{Exit, Failure, args::Show, console::Console};
use anstyle::{AnsiColor, Style};
use bitonnx::{
    proto,
    text::{self, diff, print},
};
use serde_json::json;
use std::path::Path;

/// Unchanged nodes shown beside a change.
const CONTEXT: usize = 3;

/// Prints the model, or the difference.
pub fn run(args: &Show, console: &mut Console) -> Result<Exit, Failure> {
    match &args.other {
        None => show(args, console),
        Some(other) => compare(args, other, console),
    }
}

fn show(args: &Show, console: &mut Console) -> Result<Exit, Failure> {
    let style = if args.full { text::Style::Full } else { text::Style::SHORT };
    let text = print::model(&proto::load(&args.model)?, style);
    if console.json() {
        console.print_json(&json!({ "model": args.model.display().to_string(), "text": text }))?;
    } else {
        writeln!(console.out(), "{}", text.trim_end())?;
    }
    Ok(Exit::Done)
}

fn compare(args: &Show, other: &Path, console: &mut Console) -> Result<Exit, Failure> {
    let diff = diff::models(&proto::load(&args.model)?, &proto::load(other)?);
    let same = diff.is_empty();
    let diff = if args.full { diff } else { diff.folded(CONTEXT) }.to_string();
    if console.json() {
        let [model, other] = [args.model.as_path(), other].map(|path| path.display().to_string());
        let json = json!({ "model": model, "other": other, "same": same, "diff": diff });
        console.print_json(&json)?;
        return Ok(Exit::Done);
    }
    if same {
        console.say("Their graphs do not differ.");
        return Ok(Exit::Done);
    }
    for line in diff.lines() {
        let style = colour(line);
        writeln!(console.out(), "{style}{line}{style:#}")?;
    }
    Ok(Exit::Done)
}

/// A line's colour by its first character.
fn colour(line: &str) -> Style {
    match line.chars().next() {
        Some('-') => AnsiColor::Red.on_default(),
        Some('+') => AnsiColor::Green.on_default(),
        _ => Style::new(),
    }
}
