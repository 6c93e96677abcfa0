//! Normalisations: every map of a row that does not change when the row is scaled.
//!
//! ```text
//! x ─ … ─ value       value = gain · u/size(u) + shift, where u is x, perhaps without its mean
//! ```

use super::cut::{Cut, Sight, at_rank, noise, numbers};
use crate::{
    graph::{Constants, NodeId, View, facts::passes},
    proto::{element_count, is_float, tensor_proto::DataType},
};

/// A normalisation along the last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm<'m> {
    /// The node that makes its output.
    pub node: NodeId,
    /// What it normalises, if that is one value of the graph.
    pub input: Option<&'m str>,
    /// The stored vectors that it is computed with.
    pub parameters: Vec<&'m str>,
    /// What it makes of a few rows, as bits of f64: two norms that agree here are the same.
    pub effect: Vec<u64>,
}

/// The normalisation along rows of `k` that makes a value, by way of nodes that leave every row as it
/// is. Where `k` is left out, it is the length of the stored vectors on the way.
pub fn norm<'m>(
    view: &View<'m>,
    constants: &Constants<'_, 'm>,
    value: &str,
    k: Option<usize>,
) -> Option<Norm<'m>> {
    let sight = Sight::new(view, constants);
    let (value, node) = bare(sight, value)?;
    let made = view.node(node);
    if made.operator().domain == "com.microsoft" && made.op_type().starts_with("Skip") {
        // Its first output is the norm of a sum; the sum is another. Last comes a projection's bias.
        let shift = if made.op_type().contains("Simplified") { None } else { made.input(3) };
        let parameters = made.input(2).into_iter().chain(shift).collect();
        let norm = Norm { node, input: None, parameters, effect: Vec::new() };
        return (made.output(0) == Some(value)).then_some(norm);
    }
    let cuts = sight.cuts(value).filter(|cut| !cut.is_elementwise());
    cuts.take(NEAREST).find_map(|cut| of_cut(&cut, node, k))
}

/// How many values are tried as the input of a norm.
const NEAREST: usize = 8;

/// The value before nodes that leave every row as it is and in its place, and the node that makes it.
fn bare<'m>(sight: Sight<'_, 'm>, value: &str) -> Option<(&'m str, NodeId)> {
    let mut id = sight.view.producer(value)?;
    let mut value = sight.node(id).outputs().find(|output| *output == value)?;
    loop {
        let node = sight.node(id);
        let before = node.input(0).filter(|_| passes(node));
        match before.and_then(|value| Some((value, sight.view.producer(value)?))) {
            Some(before) => (value, id) = before,
            None => return Some((value, id)),
        }
    }
}

fn of_cut<'m>(cut: &Cut<'_, 'm>, node: NodeId, k: Option<usize>) -> Option<Norm<'m>> {
    let parameters = parameters(cut);
    let k = k.or_else(|| parameters.iter().map(|(_, length)| *length).max())?;
    let shape = cut.sight.shape(cut.x);
    if k < 2 || shape.width.is_some_and(|width| width != k) {
        return None;
    }
    let rows = rows(k);
    let made = shape.ranks().into_iter().find_map(|rank| made_of(cut, &rows, rank))?;
    is_norm(&rows, &made).then(|| Norm {
        node,
        input: Some(cut.x),
        parameters: parameters.into_iter().map(|(name, _)| name).collect(),
        effect: made.iter().flatten().map(|made| made.to_bits()).collect(),
    })
}

/// The stored vectors along the last axis that a cut reads, with their lengths.
fn parameters<'m>(cut: &Cut<'_, 'm>) -> Vec<(&'m str, usize)> {
    let mut found = Vec::new();
    for tensor in cut.constants().filter_map(|v| cut.sight.constants.expression(v).ok()) {
        let vectors = tensor.initializers.into_iter().filter(|t| is_float(t.data_type()));
        let along = vectors.filter_map(|t| Some((t, usize::try_from(*t.dims.last()?).ok()?)));
        let rows = along.filter(|(t, k)| *k > 1 && element_count(t) == Some(*k));
        found.extend(rows.map(|(t, k)| (t.name(), k)));
    }
    found
}

/// What a cut makes of rows, where they stand in a tensor of this rank.
fn made_of(cut: &Cut, rows: &[Vec<f64>], rank: usize) -> Option<Vec<Vec<f64>>> {
    let values = cut.at(at_rank(rows, rank, DataType::Double)?).ok()?;
    let (made, k) = (numbers(values.get(cut.value)?)?, rows[0].len());
    let rows = (made.len() == rows.len() * k).then(|| made.chunks_exact(k));
    Some(rows?.map(<[f64]>::to_vec).collect())
}

/// Five rows that are so large that no eps counts, and one where it does.
fn rows(k: usize) -> [Vec<f64>; 6] {
    let mut noise = noise(k as u64);
    let mut row = |mean: f64| -> Vec<f64> {
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        (0..k).map(|i| mean + sign(i) * (1.25 + 0.25 * noise())).collect()
    };
    // No element is zero or the mean.
    let (a, b, c) = (row(0.25), row(-0.5), row(3.0));
    let times = |row: &[f64], by: f64| row.iter().map(|x| x * by).collect::<Vec<f64>>();
    [times(&a, 1e5), times(&a, -1e5), times(&b, 3e4), times(&b, 3e7), times(&c, 2e5), a]
}

/// Whether what was made of the large rows is `gain · u/size(u) + shift` of each.
fn is_norm(rows: &[Vec<f64>], made: &[Vec<f64>]) -> bool {
    let shift: Vec<f64> = made[0].iter().zip(&made[1]).map(|(a, b)| (a + b) / 2.0).collect();
    let shifted = largest(&shift) > CLOSE * largest(&made[0]);
    let moved: Vec<Vec<f64>> = made[..5]
        .iter()
        .map(|row| row.iter().zip(&shift).map(|(y, s)| if shifted { y - s } else { *y }).collect())
        .collect();
    [false, true].into_iter().any(|centred| {
        let units: Vec<Vec<f64>> = rows.iter().map(|row| without_mean(row, centred)).collect();
        let gain: Vec<f64> = moved[0].iter().zip(&units[0]).map(|(h, u)| h / u).collect();
        let sizes = moved.iter().zip(&units).map(|(made, u)| size(&gain, u, made));
        let sizes: Option<Vec<f64>> = sizes.collect();
        sizes.is_some_and(|sizes| near(1e3 * sizes[2], sizes[3]) && near(sizes[0], sizes[1]))
    })
}

/// The one number by which each element of `gain · u` is divided.
fn size(gain: &[f64], u: &[f64], made: &[f64]) -> Option<f64> {
    let scaled = || gain.iter().zip(u).map(|(g, u)| g * u);
    let (dot, square) =
        scaled().zip(made).fold((0.0, 0.0), |(d, s), (v, m)| (d + v * m, s + v * v));
    let size = square / dot;
    let most = largest(made);
    let fits = scaled().zip(made).all(|(v, m)| (v / size - m).abs() <= CLOSE * most);
    (size.is_finite() && size > 0.0 && fits).then_some(size)
}

/// What numbers that are the same differ by: constants are stored in 32 bits.
const CLOSE: f64 = 1e-6;

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= CLOSE * a.abs().max(b.abs())
}

fn largest(row: &[f64]) -> f64 {
    row.iter().fold(0.0, |m, x| x.abs().max(m))
}

fn without_mean(row: &[f64], centred: bool) -> Vec<f64> {
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    row.iter().map(|x| if centred { x - mean } else { *x }).collect()
}
