//! Reports as people read them.

use super::{
    console::{Console, DIM},
    table::{Align, Table, counted, size},
};
use anstyle::Style;
use bitonnx::report::{Action, Entry, Report};
use std::{
    collections::{BTreeSet, HashSet},
    io,
};

/// Every projection in graph order, a line each, then their sum; for programs the report itself.
pub fn print_all(report: &Report, console: &mut Console) -> io::Result<()> {
    if console.json() {
        return console.print_json(report);
    }
    if !report.projections.is_empty() {
        if console.verbose() { details(report) } else { list(report) }.print(console)?;
        writeln!(console.out())?;
    }
    print_sum(report, console)
}

/// What was converted, by role, and what was kept, a line each; for programs the report itself.
pub fn print_summary(report: &Report, console: &mut Console) -> io::Result<()> {
    if console.json() {
        return console.print_json(report);
    }
    if report.converted().next().is_some() {
        by_role(report).print(console)?;
        writeln!(console.out())?;
    }
    if report.kept().next().is_some() {
        kept(report).print(console)?;
        writeln!(console.out())?;
    }
    print_sum(report, console)
}

/// One line: how many projections are converted, and their bytes.
fn print_sum(report: &Report, console: &mut Console) -> io::Result<()> {
    let projections = counted(report.projections.len(), "projection");
    let (converted, kept) = (report.converted().count(), report.kept().count());
    let out = console.out();
    if converted == 0 {
        return writeln!(out, "{projections}, none to convert");
    }
    if is_qat(report) {
        return writeln!(out, "{projections}: {converted} to train, {kept} kept as they are");
    }
    let [before, after] = sizes(report.converted());
    let exact = match report.converted().filter(|entry| entry.exact).count() {
        0 => String::new(),
        exact if exact == converted => ", the ternary weights as they were".into(),
        exact => format!(", {exact} ternary weights as they were"),
    };
    writeln!(
        out,
        "{projections}: {converted} to BitLinear ({before} of weights to {after}{exact}), {kept} kept"
    )
}

/// Whether what is converted is still to be trained.
fn is_qat(report: &Report) -> bool {
    report.options.get("qat").is_some_and(|qat| !qat.is_null())
}

/// A title, a side, and what stands there about the projections of a row.
type Column = (&'static str, Align, fn(&[&Entry]) -> String);

const NODE: Column = ("NODE", Align::Left, |row| row[0].node.clone());
const ROLE: Column = ("ROLE", Align::Left, |row| row[0].role.to_string());
const IN: Column = ("IN", Align::Right, |row| shape(row[0])[0].clone());
const OUT: Column = ("OUT", Align::Right, |row| shape(row[0])[1].clone());
const TYPE: Column = ("TYPE", Align::Left, |row| row[0].dtype.clone());
const SIZE: Column = ("SIZE", Align::Right, |row| match row[0].bytes_before {
    0 => "?".into(),
    bytes => size(bytes),
});

/// A table with a row for each of these groups; `kept` is the style of what stays as it is.
fn table<'r>(
    columns: &[Column],
    rows: impl IntoIterator<Item = Vec<&'r Entry>>,
    kept: Style,
) -> Table {
    let header = columns.iter().map(|&(title, align, _)| (title, align));
    let mut table = Table::new(header.collect::<Vec<_>>());
    for row in rows {
        let style = if row[0].action == Action::Keep { kept } else { Style::new() };
        let cells = columns.iter().map(|(_, _, cell)| cell(&row));
        table.row(style, cells.collect::<Vec<_>>());
    }
    table
}

fn list(report: &Report) -> Table {
    let becomes: Column = ("REWRITTEN", Align::Left, |row| match row[0].action {
        Action::BitLinear => format!("to {}", size(row[0].bytes_after)),
        Action::Keep => format!("no: {}", why(row[0])),
    });
    let columns = [NODE, ROLE, IN, OUT, TYPE, SIZE, becomes];
    table(&columns, report.projections.iter().map(|entry| vec![entry]), DIM)
}

fn details(report: &Report) -> Table {
    let mut columns: Vec<Column> = vec![
        NODE,
        ("OP", Align::Left, |row| row[0].op.clone()),
        ROLE,
        IN,
        OUT,
        ("WEIGHT", Align::Left, |row| row[0].weight.clone()),
        TYPE,
        SIZE,
        ("BIAS", Align::Left, |row| row[0].bias.clone().unwrap_or_default()),
        ("TIED", Align::Left, |row| row[0].tied.clone().unwrap_or_default()),
        ("RULE", Align::Left, |row| row[0].rule.clone()),
        ("REWRITTEN", Align::Right, |row| match row[0].action {
            Action::BitLinear => size(row[0].bytes_after),
            Action::Keep => "no".into(),
        }),
        ("SCALE", Align::Right, |row| row[0].scale.map_or(String::new(), |s| format!("{s:.5}"))),
        ("ZEROS", Align::Right, |row| {
            row[0].zeros.map_or(String::new(), |z| format!("{:.1} %", 100.0 * z))
        }),
    ];
    columns.extend(extras(report));
    columns.push(("REASON", Align::Left, |row| why(row[0]).to_owned()));
    table(&columns, report.projections.iter().map(|entry| vec![entry]), DIM)
}

fn by_role(report: &Report) -> Table {
    let mut groups: Vec<Vec<&Entry>> = Vec::new();
    for entry in report.converted() {
        match groups.iter_mut().find(|group| group[0].role == entry.role) {
            Some(group) => group.push(entry),
            None => groups.push(vec![entry]),
        }
    }
    let title = if is_qat(report) { "TO TRAIN" } else { "CONVERTED" };
    let mut columns: Vec<Column> = vec![
        (title, Align::Left, ROLE.2),
        ("COUNT", Align::Right, |row| row.len().to_string()),
        ("IN × OUT", Align::Left, shapes),
    ];
    if !is_qat(report) {
        columns.push(("BEFORE", Align::Right, |row| sizes(row.iter().copied())[0].clone()));
        columns.push(("AFTER", Align::Right, |row| sizes(row.iter().copied())[1].clone()));
    }
    columns.extend(extras(report));
    table(&columns, groups, Style::new())
}

/// Columns for what only some rewrites add: which norms, the ranks of corrections, and the mean error of
/// weights without and with them.
fn extras(report: &Report) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    if report.projections.iter().any(|p| p.subln.as_deref() == Some("inserted")) {
        columns.push(("SUBLN", Align::Left, |row| {
            let norms: BTreeSet<&str> = row.iter().filter_map(|e| e.subln.as_deref()).collect();
            Vec::from_iter(norms).join(", ")
        }));
    }
    if report.projections.iter().any(|p| p.lrc_rank.is_some()) {
        columns.push(("RANK", Align::Right, |row| {
            let ranks = row.iter().filter_map(|e| e.lrc_rank);
            match (ranks.clone().min(), ranks.max()) {
                (Some(least), Some(most)) if least < most => format!("{least} to {most}"),
                (least, _) => least.map_or(String::new(), |rank| rank.to_string()),
            }
        }));
        columns.push(("WEIGHT ERROR", Align::Right, |row| {
            let errors: Vec<[f64; 2]> =
                row.iter().filter_map(|e| Some([e.error?, e.lrc_error?])).collect();
            let mean = |i: usize| errors.iter().map(|e| e[i]).sum::<f64>() / errors.len() as f64;
            if errors.is_empty() {
                return String::new();
            }
            format!("{:.3} to {:.3}", mean(0), mean(1))
        }));
    }
    columns
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
    let mut shapes: Vec<String> = Vec::new();
    for shape in entries.iter().map(|entry| shape(entry).join(" × ")) {
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
    let why: Column = ("WHY", Align::Left, |row| why(row[0]).to_owned());
    let columns = [("KEPT", NODE.1, NODE.2), ROLE, IN, OUT, SIZE, why];
    table(&columns, report.kept().map(|entry| vec![entry]), Style::new())
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
