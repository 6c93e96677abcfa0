//! `explain`: what the rules make of a node.

use super::{
    Exit, Failure,
    args::Explain,
    console::{Console, DIM},
    table::size,
};
use anstyle::Style;
use bitonnx::{
    proto,
    report::{Action, Entry},
    rewrite::{Explanation, Options, Outcome, explain},
    rules::recipe,
};
use serde::Serialize;
use std::io::{self, Write};

/// What `explain` prints for programs.
#[derive(Serialize)]
struct Explanations {
    model: String,
    explanations: Vec<Explanation>,
}

/// Prints which rule matches the node, or which comes nearest and what stops it.
pub fn run(args: &Explain, console: &mut Console) -> Result<Exit, Failure> {
    let model = proto::load(&args.model)?;
    let found = explain(&model, &recipe(), &args.node, &Options::default())
        .map_err(|e| e.within(args.model.display()))?;
    if console.json() {
        let model = args.model.display().to_string();
        console.print_json(&Explanations { model, explanations: found })?;
        return Ok(Exit::Done);
    }
    for (i, explanation) in found.iter().enumerate() {
        if i > 0 {
            writeln!(console.out())?;
        }
        print(explanation, found.len() > 1, console.out())?;
    }
    Ok(Exit::Done)
}

const BOLD: Style = Style::new().bold();

fn print(explanation: &Explanation, name_graph: bool, out: &mut dyn Write) -> io::Result<()> {
    let Explanation { graph, node, op, outcome, why, rule, projection, .. } = explanation;
    let place = if name_graph { format!(" in graph {graph}") } else { String::new() };
    writeln!(out, "{BOLD}{node}{BOLD:#} ({op}){place}")?;
    match (outcome, projection) {
        (Outcome::Part, Some(entry)) => {
            writeln!(
                out,
                "belongs to the projection {}, which {}: {why}",
                entry.node,
                becomes(entry)
            )?;
        }
        (_, Some(entry)) => writeln!(out, "{}: {why}", becomes(entry))?,
        (_, None) => writeln!(out, "no rule takes it: {why}")?,
    }
    if let Some(entry) = projection.as_ref().filter(|entry| entry.out_features > 0) {
        print_projection(entry, out)?;
    }
    let Some(rule) = rule else { return Ok(()) };
    let nearest = if *outcome == Outcome::Missed { "nearest rule" } else { "rule" };
    writeln!(out, "\n{nearest}: {} finds", rule.name)?;
    print_code(&rule.find, out)?;
    if !rule.emit.is_empty() {
        writeln!(out, "and puts in its place")?;
        print_code(&rule.emit, out)?;
    }
    Ok(())
}

fn becomes(entry: &Entry) -> &'static str {
    match entry.action {
        Action::BitLinear => "becomes a BitLinear",
        Action::Keep => "stays as it is",
    }
}

fn print_projection(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    let (before, after) = (size(entry.bytes_before), size(entry.bytes_after));
    let sizes = match entry.action {
        Action::BitLinear => format!("{before} to {after}"),
        Action::Keep => before,
    };
    let (inputs, outputs) = (entry.in_features, entry.out_features);
    writeln!(out, "role {}, {inputs} in, {outputs} out", entry.role)?;
    match entry.dtype.as_str() {
        "" => writeln!(out, "weight {}", entry.weight)?,
        dtype => writeln!(out, "weight {} ({dtype}, {sizes})", entry.weight)?,
    }
    entry.bias.iter().try_for_each(|bias| writeln!(out, "bias {bias}"))?;
    entry.tied.iter().try_for_each(|node| writeln!(out, "tied to the embedding that {node} reads"))
}

fn print_code(text: &str, out: &mut dyn Write) -> io::Result<()> {
    text.lines().try_for_each(|line| writeln!(out, "{DIM}    {line}{DIM:#}"))
}
