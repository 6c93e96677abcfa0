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
    let kept = count - converted;
    if is_qat(report) {
        return writeln!(
            console.out(),
            "{count} {projections}: {converted} to train, {kept} kept as they are"
        );
    }
    let [before, after] = sizes(report.converted());
    let exact = match report.converted().filter(|entry| entry.exact).count() {
        0 => String::new(),
        exact if exact == converted => ", the ternary weights as they were".into(),
        exact => format!(", {exact} ternary weights as they were"),
    };
    writeln!(
        console.out(),
        "{count} {projections}: {converted} to BitLinear ({before} of weights to {after}{exact}), {kept} kept"
    )
}

/// Whether what is converted is still to be trained.
fn is_qat(report: &Report) -> bool {
    report.options.get("qat").is_some_and(|qat| !qat.is_null())
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
    let extras = Extras::of(report);
    let mut columns = vec![
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
    ];
    columns.extend(extras.columns());
    columns.push(("REASON", Align::Left));
    let mut table = Table::new(columns);
    for entry in &report.projections {
        let [inputs, outputs] = shape(entry);
        let converted = entry.action == Action::BitLinear;
        let mut cells = vec![
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
        ];
        cells.extend(extras.cells(&[entry]));
        cells.push(why(entry).to_owned());
        table.row(style(entry), cells);
    }
    table
}

fn by_role(report: &Report) -> Table {
    let (extras, is_qat) = (Extras::of(report), is_qat(report));
    let title = if is_qat { "TO TRAIN" } else { "CONVERTED" };
    let mut columns =
        vec![(title, Align::Left), ("COUNT", Align::Right), ("IN × OUT", Align::Left)];
    if !is_qat {
        columns.extend([("BEFORE", Align::Right), ("AFTER", Align::Right)]);
    }
    columns.extend(extras.columns());
    let mut table = Table::new(columns);
    let mut roles = Vec::new();
    for entry in report.converted() {
        if !roles.contains(&entry.role) {
            roles.push(entry.role);
        }
    }
    for role in roles {
        let entries: Vec<&Entry> = report.converted().filter(|p| p.role == role).collect();
        let mut cells = vec![role.to_string(), entries.len().to_string(), shapes(&entries)];
        if !is_qat {
            cells.extend(sizes(entries.iter().copied()));
        }
        cells.extend(extras.cells(&entries));
        table.row(Style::new(), cells);
    }
    table
}

/// Columns for what only some rewrites add.
struct Extras {
    subln: bool,
    lrc: bool,
}

impl Extras {
    fn of(report: &Report) -> Self {
        let any = |has: fn(&Entry) -> bool| report.projections.iter().any(has);
        let inserted = any(|p| p.subln.as_deref() == Some("inserted"));
        Extras { subln: inserted, lrc: any(|p| p.lrc_rank.is_some()) }
    }

    fn columns(&self) -> Vec<(&'static str, Align)> {
        let subln = [("SUBLN", Align::Left)];
        let lrc = [("RANK", Align::Right), ("WEIGHT ERROR", Align::Right)];
        let subln = subln.into_iter().filter(|_| self.subln);
        subln.chain(lrc.into_iter().filter(|_| self.lrc)).collect()
    }

    /// The cells for some projections: which norms they have, and of their corrections the ranks and the
    /// mean error of their weights without and with them.
    fn cells(&self, entries: &[&Entry]) -> Vec<String> {
        let mut cells = Vec::new();
        if self.subln {
            let mut norms: Vec<&str> = entries.iter().filter_map(|e| e.subln.as_deref()).collect();
            norms.sort_unstable();
            norms.dedup();
            cells.push(norms.join(", "));
        }
        if self.lrc {
            let ranks = entries.iter().filter_map(|e| e.lrc_rank);
            cells.push(match (ranks.clone().min(), ranks.max()) {
                (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
                (least, _) => least.map_or(String::new(), |rank| rank.to_string()),
            });
            let errors: Vec<[f64; 2]> =
                entries.iter().filter_map(|e| Some([e.error?, e.lrc_error?])).collect();
            let mean = |i: usize| errors.iter().map(|e| e[i]).sum::<f64>() / errors.len() as f64;
            cells.push(match errors.len() {
                0 => String::new(),
                _ => format!("{:.3} to {:.3}", mean(0), mean(1)),
            });
        }
        cells
    }
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
