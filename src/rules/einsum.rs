//! ```text
//! x ─ Einsum<"bsk,kn->bsn">(W) ─ y      ⇒   x ─ BitLinear(codes, scale) ─ y
//! x ─ Einsum<"bsk,khd->bshd">(W) ─ y    ⇒   x ─ BitLinear(codes, scale) ─ Reshape[0, 0, h, d] ─ y
//! x ─ Einsum<"bshd,hdn->bsn">(W) ─ y    ⇒   x ─ Reshape[0, 0, -1] ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! A plain product sums over the last axes of the activation, and puts axes of the weight in their place. The
//! weight may be either operand, and its axes in any order.

use crate::{
    graph::{Equation, Fold},
    rewrite::{Effect, Match, Projection, Reject, Rule},
};
use std::collections::BTreeMap;

pub(super) fn rules() -> [Rule; 2] {
    [einsum(), Rule::refuse("einsum-several", "y = Einsum(rest)", several)]
}

fn einsum() -> Rule {
    Rule::named("einsum", Effect::Approximate)
        .find("y = Einsum <equation: string = @equation> (x, W)")
        .gives(&["flat", "shape"])
        .emit(
            "[flat?] flat = Constant <value_ints: ints = @flat> ()
             [rows?] rows = Reshape(x, flat)
             bit = bitonnx.BitLinear(rows, codes, scale)
             [shape?] shape = Constant <value_ints: ints = @shape> ()
             [heads?] y = Reshape(bit, shape)",
        )
        .with(projection)
}

fn several(m: &Match) -> Reject {
    let node = m.view.node(m.root);
    let (count, label) = (node.input.len(), node.label());
    match node.inputs().find(|value| m.is_matrix(value)).filter(|_| count > 2) {
        Some(matrix) => Reject::Refuse(format!(
            "node `{label}` multiplies {count} operands at once, of which `{matrix}` is a weight, where a \
             BitLinear takes one activation (write it as products of two)"
        )),
        None => Reject::Miss(format!("node `{label}` has no weight among several operands")),
    }
}

fn projection(m: &Match) -> Result<Projection, Reject> {
    let text = m.string("equation")?;
    let (label, matrix) = (m.label(), m.is_matrix(m.value("W")));
    let differs = |why: String| {
        let why = format!("the equation `{text}` of node `{label}` {why}");
        if matrix { Reject::Refuse(why) } else { Reject::Miss(why) }
    };
    let Product { fold, tokens } = product(m, text).map_err(differs)?;
    let (_, lengths) = m.constants.kind(m.value("W")).unwrap_or_default();
    let many = fold.rows.len() > 1 || fold.columns.len() > 1;
    let tokens = match tokens {
        None if many => return Err(differs("does not name every axis of the activation".into())),
        tokens => vec![0; tokens.unwrap_or_default()],
    };
    let of = |axes: &[usize]| axes.iter().filter_map(|a| Some(*lengths.get(*a)? as i64)).collect();
    let made: Vec<i64> = of(&fold.columns);
    let mut lists = BTreeMap::new();
    if fold.rows.len() > 1 {
        lists.insert("flat", [&tokens[..], &[-1]].concat());
    }
    if fold.columns.len() > 1 {
        lists.insert("shape", [tokens, made].concat());
    }
    Ok(Projection { lists, ..m.projection(m.folded_weight("W", fold)?) })
}

struct Product {
    fold: Fold,
    /// How many axes of the activation stay, where that is known.
    tokens: Option<usize>,
}

/// How a plain product reads its weight, or why an equation is of none.
fn product(m: &Match, text: &str) -> Result<Product, String> {
    let Equation { terms, output } = Equation::parse(text).ok_or("can't be read")?;
    let first = m.view.node(m.root).input(0) == Some(m.value("W"));
    let (x, w) = match &terms[..] {
        [w, x] if first => (x, w),
        [x, w] => (x, w),
        _ => return Err("is of other operands".into()),
    };
    let mut all = x.clone();
    all.extend(w.iter().filter(|axis| !x.contains(axis)));
    let each_once = |axes: &[char]| axes.iter().enumerate().all(|(i, a)| !axes[..i].contains(a));
    if w.contains(&Equation::REST) || ![x, w, &output].into_iter().all(|axes| each_once(axes)) {
        return Err("does not name each axis of the weight once".into());
    }
    let mut both = w.iter().filter(|axis| x.contains(axis));
    if both.clone().all(|axis| output.contains(axis)) {
        return Err("sums over no axis".into());
    }
    if let Some(axis) = both.find(|axis| output.contains(axis)) {
        return Err(format!("has a matrix for each place of the axis {axis}"));
    }
    if let Some(axis) = all.iter().find(|a| x.contains(a) != w.contains(a) && !output.contains(a)) {
        return Err(format!("sums the axis {axis} of one operand alone"));
    }
    let kept = x.iter().take_while(|axis| !w.contains(axis)).count();
    let (tokens, summed) = x.split_at(kept);
    if summed.iter().any(|axis| !w.contains(axis)) {
        return Err("sums over other axes than the last of the activation".into());
    }
    let made = output.strip_prefix(tokens).filter(|made| !made.is_empty());
    let made = made.ok_or("does not put what it makes in place of what it sums")?;
    let places = |axes: &[char]| {
        axes.iter().filter_map(|axis| w.iter().position(|other| other == axis)).collect()
    };
    let rank = if x.contains(&Equation::REST) { m.view.rank(m.value("x")) } else { Some(x.len()) };
    let tokens = rank.and_then(|rank| rank.checked_sub(summed.len()));
    Ok(Product { fold: Fold { rows: places(summed), columns: places(made) }, tokens })
}
