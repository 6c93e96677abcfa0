//! What changed between two models, in the words of the text.
//!
//! ```text
//! mlp (float[b, 64] x) => (float[b, 64] y)
//! - [fc1] h1 = Gemm <transB = 1> (x, w1, b1)
//! + [fc1] h1_bit = bitonnx.BitLinear <in_features = 64> (x, w1_codes, w1_scale)
//! + [fc1_bias] h1 = Add(h1_bit, b1)
//!   [act] a1 = Gelu(h1)
//! - float[256, 64] w1        64 KiB  #0c8f31aa
//! + uint8[256, 16] w1_codes   4 KiB  #5f1c9a02
//! + float[1] w1_scale         4 B    {0.03125}
//! ```
//!
//! Nodes stand in graph order and are the same where their text is; of everything else only what
//! changed is shown. Value types inside a graph, and what the text has no place for, don't count.

use super::{
    print::{self, LITERALS, Style},
    table::{Row, Widths},
};
use crate::proto::{FunctionProto, GraphProto, ModelProto, TensorProto, raw_bytes};
use similar::{
    DiffOp, DiffTag,
    algorithms::{Capture, Replace, myers},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
};

/// What changed, line by line. `Display` shows it, a mark before each line: `-`, `+`, or blank.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diff {
    lines: Vec<Line>,
}

/// What changed between two models: header, graph, stored tensors, functions.
pub fn models(before: &ModelProto, after: &ModelProto) -> Diff {
    let header = |model| print::model_header(model, Style::SHORT);
    let mut lines = changed(compare(&header(before), &header(after)));
    let none = GraphProto::default();
    let [from, to] = [before, after].map(|model| model.graph.as_ref().unwrap_or(&none));
    lines.extend(graphs(from, to).lines);
    lines.extend(function_lines(&before.functions, &after.functions));
    Diff { lines }
}

/// What changed between two graphs: inputs and outputs, nodes, stored tensors.
pub fn graphs(before: &GraphProto, after: &GraphProto) -> Diff {
    let mut lines = signature_lines(before, after);
    lines.extend(compare(&node_lines(before), &node_lines(after)));
    lines.extend(tensor_lines(&before.initializer, &after.initializer));
    let sparse = |graph: &GraphProto| -> Vec<String> {
        graph.sparse_initializer.iter().map(print::sparse_text).collect()
    };
    lines.extend(changed(compare(&sparse(before), &sparse(after))));
    Diff { lines }
}

impl Diff {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.lines.iter().all(|line| !line.is_change())
    }

    /// The diff with so many unchanged lines left beside each change, and a count for the others.
    pub fn folded(self, context: usize) -> Diff {
        let near = self.near_changes(context);
        let mut lines: Vec<Line> = Vec::new();
        let mut hidden = Vec::new();
        for (line, near) in self.lines.into_iter().zip(near) {
            if near || line.mark != Mark::Same {
                lines.extend(fold(&mut hidden));
                lines.push(line);
            } else {
                hidden.push(line);
            }
        }
        lines.extend(fold(&mut hidden));
        Diff { lines }
    }

    /// For each line, whether a change is at most so many lines away.
    fn near_changes(&self, context: usize) -> Vec<bool> {
        let mut near = vec![false; self.lines.len()];
        let changes = self.lines.iter().enumerate().filter(|(_, line)| line.is_change());
        for (index, _) in changes {
            let end = index.saturating_add(context).saturating_add(1).min(near.len());
            near[index.saturating_sub(context)..end].fill(true);
        }
        near
    }
}

impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| match line.mark {
            Mark::Heading => writeln!(f, "{}", line.text),
            Mark::Same => writeln!(f, "  {}", line.text),
            Mark::Removed => writeln!(f, "- {}", line.text),
            Mark::Added => writeln!(f, "+ {}", line.text),
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    mark: Mark,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// Stands above what it names, whether that changed or not.
    Heading,
    Same,
    Removed,
    Added,
}

impl Line {
    fn is_change(&self) -> bool {
        matches!(self.mark, Mark::Removed | Mark::Added)
    }
}

/// The line that stands for hidden ones, which are dropped.
fn fold(hidden: &mut Vec<Line>) -> Option<Line> {
    let lines = hidden.len();
    // The lines of a graph within a node are indented, as is the body of a function.
    let nodes = hidden.drain(..).filter(|line| !line.text.starts_with([' ', '}'])).count();
    let counted = match (nodes, lines) {
        (_, 0) => return None,
        (0, 1) => "1 line".into(),
        (0, lines) => format!("{lines} lines"),
        (1, _) => "1 node".into(),
        (nodes, _) => format!("{nodes} nodes"),
    };
    Some(Line { mark: Mark::Heading, text: format!("  … {counted} unchanged") })
}

fn signature_lines(before: &GraphProto, after: &GraphProto) -> Vec<Line> {
    let signature = |graph| lines(&print::signature(graph, Style::SHORT));
    let mut compared = compare(&signature(before), &signature(after));
    if !compared.iter().any(Line::is_change) {
        compared.iter_mut().for_each(|line| line.mark = Mark::Heading);
    }
    compared
}

/// The texts of a graph's nodes, a line each, or several for a node that holds graphs.
fn node_lines(graph: &GraphProto) -> Vec<String> {
    graph.node.iter().flat_map(|node| lines(&print::node(node, Style::SHORT))).collect()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// The stored tensors that went or came, in columns.
fn tensor_lines(before: &[TensorProto], after: &[TensorProto]) -> Vec<Line> {
    // In a broken model several tensors may have one name.
    let mut known: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (index, tensor) in before.iter().enumerate() {
        known.entry(tensor.name()).or_default().push_back(index);
    }
    // Tensors that are the same have the same number.
    let numbers_before: Vec<usize> = (0..before.len()).collect();
    let numbers_after: Vec<usize> = after
        .iter()
        .enumerate()
        .map(|(index, tensor)| {
            let namesake = known.get_mut(tensor.name()).and_then(VecDeque::pop_front);
            let same = namesake.filter(|&same| same_tensor(&before[same], tensor));
            same.unwrap_or(before.len() + index)
        })
        .collect();
    let rows: Vec<(Mark, Row)> = compared(&numbers_before, &numbers_after)
        .filter_map(|(mark, index)| match mark {
            Mark::Removed => Some((mark, Row::of(&before[index], LITERALS))),
            Mark::Added => Some((mark, Row::of(&after[index], LITERALS))),
            _ => None,
        })
        .collect();
    let widths = Widths::of(rows.iter().map(|(_, row)| row));
    rows.iter().map(|(mark, row)| Line { mark: *mark, text: row.text(widths) }).collect()
}

/// Whether two tensors hold the same data, wherever their messages keep them.
fn same_tensor(a: &TensorProto, b: &TensorProto) -> bool {
    let same_type = a.data_type == b.data_type && a.dims == b.dims;
    same_type && (a == b || raw_bytes(a).is_some_and(|bytes| Some(bytes) == raw_bytes(b)))
}

/// The functions that went, came or changed, each below an empty line.
fn function_lines(before: &[FunctionProto], after: &[FunctionProto]) -> Vec<Line> {
    let mut texts: BTreeMap<_, [Option<Vec<String>>; 2]> = BTreeMap::new();
    for (side, functions) in [before, after].into_iter().enumerate() {
        for function in functions {
            let text = || lines(&print::function(function, Style::SHORT));
            texts.entry(function.identity()).or_default()[side].get_or_insert_with(text);
        }
    }
    let mut found = Vec::new();
    for sides in texts.into_values() {
        let [before, after] = sides.map(Option::unwrap_or_default);
        let compared = compare(&before, &after);
        if compared.iter().any(Line::is_change) {
            found.push(Line { mark: Mark::Heading, text: String::new() });
            found.extend(compared);
        }
    }
    found
}

fn changed(lines: Vec<Line>) -> Vec<Line> {
    lines.into_iter().filter(Line::is_change).collect()
}

fn compare(before: &[String], after: &[String]) -> Vec<Line> {
    compared(before, after)
        .map(|(mark, index)| {
            let side = if mark == Mark::Added { after } else { before };
            Line { mark, text: side[index].clone() }
        })
        .collect()
}

/// The index of every item in `after` if it came, else in `before`, with what became of it.
fn compared<T: Eq + std::hash::Hash>(
    before: &[T],
    after: &[T],
) -> impl Iterator<Item = (Mark, usize)> {
    let mut known = HashMap::new();
    let mut number = |item| {
        let next = known.len();
        *known.entry(item).or_insert(next)
    };
    let before: Vec<usize> = before.iter().map(&mut number).collect();
    let after: Vec<usize> = after.iter().map(&mut number).collect();
    operations(&before, &after).into_iter().flat_map(|operation| {
        let (tag, old, new) = operation.as_tag_tuple();
        let removed =
            old.clone().filter(move |_| tag != DiffTag::Equal).map(|i| (Mark::Removed, i));
        let same = old.filter(move |_| tag == DiffTag::Equal).map(|i| (Mark::Same, i));
        let added = new.filter(move |_| tag != DiffTag::Equal).map(|i| (Mark::Added, i));
        same.chain(removed).chain(added)
    })
}

/// The difference of two sequences, whose equal items have equal numbers.
fn operations(before: &[usize], after: &[usize]) -> Vec<DiffOp> {
    let mut found = Replace::new(Capture::new());
    match myers::diff(&mut found, before, 0..before.len(), after, 0..after.len()) {
        Ok(()) => found.into_inner().into_ops(),
        Err(never) => match never {},
    }
}
