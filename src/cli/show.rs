//! `show`: a model as text, or what differs between two.

use super::{Exit, Failure, args::Show, console::Console};
use anstyle::{AnsiColor, Style};
use bitonnx::{
    proto,
    text::{self, print},
};
use serde_json::json;

/// Prints the model, or the difference.
pub fn run(args: &Show, console: &mut Console) -> Result<Exit, Failure> {
    let style = if args.full { print::Style::Full } else { print::Style::SHORT };
    let model = proto::load(&args.model)?;
    let Some(path) = &args.other else {
        let text = print::model(&model, style);
        match console.json() {
            true => console.print_json(&json!({ "model": args.model, "text": text }))?,
            false => console.out().write_all(text.as_bytes())?,
        }
        return Ok(Exit::Done);
    };
    let other = proto::load(path)?;
    let diff = text::diff(&model, &other, style);
    if console.json() {
        let json = json!({ "model": args.model, "other": path, "diff": diff });
        console.print_json(&json)?;
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
        Some('@') => AnsiColor::Cyan.on_default(),
        _ => Style::new(),
    }
}
