//! Einsum.
//!
//! tract is right for equations that name every axis and the result, where equal letters have equal sizes
//! and none is twice in a term.

use super::Table;
use crate::runtime::composite::{Attribute, Body};
use tract_hir::internal::*;

pub(super) const OPERATORS: Table = &[("Einsum : * equation", einsum)];

fn einsum(body: &mut Body) -> TractResult<Vec<String>> {
    let equation: String = body.text("equation").split_whitespace().collect();
    let (terms, result) = match equation.split_once("->") {
        Some((terms, result)) => (terms, Some(result)),
        None => (&*equation, None),
    };
    // What an ellipsis stands for, the last axis first.
    let free: Vec<char> = ('a'..='z').chain('A'..='Z').filter(|c| !equation.contains(*c)).collect();
    let mut hidden = 0;
    let mut operands = Vec::new();
    for (index, term) in terms.split(',').enumerate() {
        let given = body.input(index)?;
        let rank = given.shape.len();
        let named = term.chars().filter(|c| *c != '.').count();
        let more = rank.checked_sub(named).filter(|more| *more == 0 || term.contains("..."));
        let letters = more.and_then(|more| spread(term, free.get(..more)?));
        let letters = letters.with_context(|| format!("`{term}` does not fit {rank} axes"))?;
        hidden = hidden.max(rank - named);
        operands.push((given, letters));
    }
    let result = match result {
        Some(result) => spread(result, &free[..hidden]),
        None => {
            let all: Vec<char> = operands.iter().flat_map(|(_, letters)| letters.chars()).collect();
            let once = |c: &&char| all.iter().filter(|other| other == c).count() == 1;
            let mut named: Vec<char> = all.iter().filter(once).copied().collect();
            named.retain(|c| !free.contains(c));
            named.sort_unstable();
            Some(free[..hidden].iter().rev().chain(&named).collect())
        }
    };
    let mut result = result.context("its result is not written as letters")?;

    // Axes of size one that are broadcast go.
    let sizes = operands.iter().flat_map(|(given, letters)| letters.chars().zip(&given.shape));
    let wide: Vec<char> = sizes.filter(|(_, size)| !size.is_one()).map(|(c, _)| c).collect();
    let (mut names, mut terms) = (Vec::new(), Vec::new());
    for (given, letters) in &operands {
        let kept = |(c, size): &(char, &TDim)| !(size.is_one() && wide.contains(c));
        let (term, shape): (String, Vec<TDim>) =
            letters.chars().zip(&given.shape).filter(kept).map(|(c, n)| (c, n.clone())).unzip();
        let whole = shape.len() == given.shape.len();
        let name = if whole { given.name.clone() } else { body.reshape(&given.name, &shape) };
        let (name, term) = diagonal(body, name, term, shape, given.datum_type)?;
        names.push(name);
        terms.push(term);
    }
    // tract takes a result without letters for one that is not given.
    let scalar = result.is_empty();
    if let (true, Some(one), Some(name)) = (scalar, free.get(hidden), names.first_mut()) {
        let axes = body.ints(&[0]);
        *name = body.op("Unsqueeze", &[name, &axes], &[]);
        terms[0].insert(0, *one);
        result.push(*one);
    }
    let equation = format!("{}->{result}", terms.join(","));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let y = body.op("Einsum", &names, &[("equation", Attribute::Text(&equation))]);
    Ok(vec![if scalar { body.reshape::<i64>(&y, &[]) } else { y }])
}

/// The term with these letters, the last first, in the place of its ellipsis.
fn spread(term: &str, hidden: &[char]) -> Option<String> {
    let hidden: String = hidden.iter().rev().collect();
    let letters = term.replacen("...", &hidden, 1);
    letters.chars().all(|c| c.is_ascii_alphabetic()).then_some(letters)
}

/// An operand without letters that are twice in its term: of such axes, what is at the same place in both.
fn diagonal(
    body: &mut Body,
    mut name: String,
    mut term: String,
    mut shape: Vec<TDim>,
    datum_type: DatumType,
) -> TractResult<(String, String)> {
    while let Some(axis) = (0..term.len()).find(|i| term[..*i].contains(&term[*i..=*i])) {
        let first = term.find(&term[axis..=axis]).unwrap_or(axis);
        ensure!(
            shape[first] == shape[axis],
            "`{term}` has one letter for sizes that are not equal"
        );
        let mut along = |axis: usize| {
            let mut size = vec![1.to_dim(); shape.len()];
            size[axis] = shape[axis].clone();
            let places = body.range(&shape[axis]);
            body.reshape(&places, &size)
        };
        let (a, b) = (along(first), along(axis));
        let same = body.op("Equal", &[&a, &b], &[]);
        let zero = body.constant(Tensor::zero_scalar_dt(datum_type)?);
        let kept = body.op("Where", &[&same, &name, &zero], &[]);
        let axes = body.ints(&[axis]);
        name = body.op("ReduceSum", &[&kept, &axes], &[("keepdims", Attribute::Int(0))]);
        term.remove(axis);
        shape.remove(axis);
    }
    Ok((name, term))
}
