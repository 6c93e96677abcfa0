//! Reports as people read them.

use super::{
    console::{Console, DIM},
    table::{Align, Table, size},
};
use anstyle::Style;
use bitonnx::report::{Action, Entry, Report};
use std::{collections::HashSet, io};

/// Every projection in graph order, a line each, then their sum.
pub fn print_all(report: &Report, console: &mut Console) -> io::Result<()> {
    if !report.projections.is_empty() {
        let width = console.width();
        if console.verbose() { details(report) } else { list(report) }
            .write(console.out(), width)?;
        writeln!(console.out())?;
    }
    print_sum(report, console)
}

/// What was converted, by role, and what was kept, a line each.
pub fn print_summary(report: &Report, console: &mut Console) -> io::Result<()> {
    let width = console.width();
    if report.converted().next().is_some() {
        by_role(report).write(console.out(), width)?;
        writeln!(console.out())?;
    }
    if report.kept().next().is_some() {
        kept(report).write(console.out(), width)?;
        writeln!(console.out())?;
    }
    print_sum(report, console)
}

/// One line: how many projections are converted, and their bytes.
fn print_sum(report: &Report, console: &mut Console) -> io::Result<()> {
    let (count, converted) = (report.projections.len(), report.converted().count());
    let projections = if count == 1 { "projection" } else { "projections" };
    if converted == 0 {
        return writeln!(console.out(), "{count} {projections}, none to convert");
    }
    let [before, after] = sizes(report.converted());
    writeln!(
        console.out(),
        "{count} {projections}: {converted} to BitLinear ({before} of weights to {after}), {} kept",
        count - converted
    )
}

fn list(report: &Report) -> Table {
    let mut table = Table::new([
        ("NODE", Align::Left),
        ("ROLE", Align::Left),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("TYPE", Align::Left),
        ("SIZE", Align::Right),
        ("REWRITTEN", Align::Left),
    ]);
    for entry in &report.projections {
        let becomes = match entry.action {
            Action::BitLinear => format!("to {}", size(entry.bytes_after)),
            Action::Keep => format!("no: {}", why(entry)),
        };
        let [inputs, outputs] = shape(entry);
        let cells = [
            entry.node.clone(),
            entry.role.to_string(),
            inputs,
            outputs,
            entry.dtype.clone(),
            bytes(entry),
            becomes,
        ];
        table.row(style(entry), cells);
    }
    table
}

fn details(report: &Report) -> Table {
    let mut table = Table::new([
        ("NODE", Align::Left),
        ("OP", Align::Left),
        ("ROLE", Align::Left),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("WEIGHT", Align::Left),
        ("TYPE", Align::Left),
        ("SIZE", Align::Right),
        ("BIAS", Align::Left),
        ("TIED", Align::Left),
        ("RULE", Align::Left),
        ("REWRITTEN", Align::Right),
        ("SCALE", Align::Right),
        ("ZEROS", Align::Right),
        ("REASON", Align::Left),
    ]);
    for entry in &report.projections {
        let [inputs, outputs] = shape(entry);
        let converted = entry.action == Action::BitLinear;
        let cells = [
            entry.node.clone(),
            entry.op.clone(),
            entry.role.to_string(),
            inputs,
            outputs,
            entry.weight.clone(),
            entry.dtype.clone(),
            bytes(entry),
            entry.bias.clone().unwrap_or_default(),
            entry.tied.clone().unwrap_or_default(),
            entry.rule.clone(),
            if converted { size(entry.bytes_after) } else { "no".into() },
            entry.scale.map_or(String::new(), |s| format!("{s:.5}")),
            entry.zeros.map_or(String::new(), |z| format!("{:.1} %", 100.0 * z)),
            why(entry).to_owned(),
        ];
        table.row(style(entry), cells);
    }
    table
}

fn by_role(report: &Report) -> Table {
    let mut table = Table::new([
        ("CONVERTED", Align::Left),
        ("COUNT", Align::Right),
        ("IN × OUT", Align::Left),
        ("BEFORE", Align::Right),
        ("AFTER", Align::Right),
    ]);
    let mut roles = Vec::new();
    for entry in report.converted() {
        if !roles.contains(&entry.role) {
            roles.push(entry.role);
        }
    }
    for role in roles {
        let entries: Vec<&Entry> = report.converted().filter(|p| p.role == role).collect();
        let [before, after] = sizes(entries.iter().copied());
        let cells = [role.to_string(), entries.len().to_string(), shapes(&entries), before, after];
        table.row(Style::new(), cells);
    }
    table
}

/// Bytes before and after; a weight that several projections read counts once.
fn sizes<'r>(entries: impl Iterator<Item = &'r Entry>) -> [String; 2] {
    let mut seen = HashSet::new();
    let (mut before, mut after) = (0, 0);
    for entry in entries.filter(|entry| seen.insert(&entry.weight)) {
        before += entry.bytes_before;
        after += entry.bytes_after;
    }
    [size(before), size(after)]
}

/// The first shapes among the entries, each once.
fn shapes(entries: &[&Entry]) -> String {
    const SHOWN: usize = 3;
    let mut shapes = Vec::new();
    for entry in entries {
        let shape = shape(entry).join(" × ");
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    if shapes.len() > SHOWN {
        let more = format!("{} more", shapes.len() - SHOWN);
        shapes.truncate(SHOWN);
        shapes.push(more);
    }
    shapes.join(", ")
}

fn kept(report: &Report) -> Table {
    let mut table = Table::new([
        ("KEPT", Align::Left),
        ("ROLE", Align::Left),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("SIZE", Align::Right),
        ("WHY", Align::Left),
    ]);
    for entry in report.kept() {
        let [inputs, outputs] = shape(entry);
        let (node, role) = (entry.node.clone(), entry.role.to_string());
        let cells = [node, role, inputs, outputs, bytes(entry), why(entry).to_owned()];
        table.row(Style::new(), cells);
    }
    table
}

fn shape(entry: &Entry) -> [String; 2] {
    [entry.in_features, entry.out_features].map(|size| match size {
        0 => "?".into(),
        size => size.to_string(),
    })
}

/// The reason, without the node's name that the line begins with.
fn why(entry: &Entry) -> &str {
    let rest = entry.reason.strip_prefix("node `").and_then(|r| r.strip_prefix(&entry.node));
    rest.and_then(|r| r.strip_prefix("` ")).unwrap_or(&entry.reason)
}

fn bytes(entry: &Entry) -> String {
    if entry.bytes_before == 0 { "?".into() } else { size(entry.bytes_before) }
}

fn style(entry: &Entry) -> Style {
    if entry.action == Action::Keep { DIM } else { Style::new() }
}
