//! Normalisations: every map of a row that does not change when the row is scaled.
//!
//! ```text
//! x ─ … ─ value       value = gain · (x - mean)/size(x - mean) + shift, the mean often left out
//! ```

use super::cut::{Cut, Sight, noise, skips};
use crate::{
    array::{Array, Element as _},
    graph::{Constants, NodeId, View},
};

/// A normalisation along the last axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Norm<'m> {
    /// The node that makes its output.
    pub node: NodeId,
    /// What it normalises.
    pub input: &'m str,
    /// Whether the mean is taken off before.
    pub centred: bool,
    /// What a row whose root mean square is one is multiplied with, by element.
    pub gain: Vec<f32>,
    /// What is added, by element; empty where nothing is.
    pub shift: Vec<f32>,
    /// What is added to the mean square under the root, where that is what is done.
    pub eps: Option<f64>,
    /// Whether it is `x / sqrt(mean(x²) + eps) · gain` and nothing else, whatever the rank of `x`.
    pub rms: bool,
    /// The stored vectors that it is computed with.
    pub parameters: Vec<&'m str>,
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
    let (value, node) = bare(sight, view.producer(value)?)?;
    let mut found: Option<Norm> = None;
    for cut in sight.cuts(value).filter(|cut| !cut.is_elementwise()).take(NEAREST) {
        match of_cut(&cut, node, k) {
            // Of a mean taken off before, the rest of a norm makes one too.
            Some(norm) if norm.centred || found.is_none() => found = Some(norm),
            _ if found.is_some() => break,
            _ => {}
        }
        if found.as_ref().is_some_and(|norm| norm.centred) {
            break;
        }
    }
    found
}

/// How many values are tried as the input of a norm.
const NEAREST: usize = 3;

/// The value before nodes that leave every row as it is, and the node that makes it.
fn bare<'m>(sight: Sight<'_, 'm>, mut id: NodeId) -> Option<(&'m str, NodeId)> {
    loop {
        let node = sight.node(id);
        let perm = node.ints("perm");
        let passes = match node.standard() {
            "Identity" | "Cast" | "Dropout" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" => {
                true
            }
            "Transpose" => perm.is_some_and(|p| p.last() == Some(&(p.len() as i64 - 1))),
            _ => false,
        };
        let before = node.input.first().filter(|_| passes);
        match before.and_then(|value| sight.view.producer(value)) {
            Some(before) => id = before,
            None => return Some((node.output.first()?, id)),
        }
    }
}

fn of_cut<'m>(cut: &Cut<'_, 'm>, node: NodeId, k: Option<usize>) -> Option<Norm<'m>> {
    let sight = cut.sight;
    let parameters = parameters(cut);
    let k = k.or_else(|| parameters.iter().map(|(_, length)| *length).max())?;
    let width = sight.width(cut.x);
    if k < 2 || width.is_some_and(|width| width != k) {
        return None;
    }
    let rank = sight.view.rank(cut.x);
    let ranks = rank.map_or(vec![3, 2, 4], |rank| vec![rank]);
    let rows = rows(k);
    let tried = ranks.into_iter().filter_map(|rank| Some(form(&rows, &at_rank(cut, &rows, rank)?)));
    let tried: Vec<Option<Form>> = tried.collect();
    let form = tried.iter().flatten().next()?.clone();
    // An axis counted from the front is the last one in some ranks only.
    let sure = width.is_some() && tried.iter().all(|other| other.as_ref() == Some(&form));
    let rms = sure && form.eps.is_some() && !form.centred && form.shift.is_empty();
    let made = sight.node(node);
    let sum = made.output.get(3).filter(|sum| skips(made) && !sum.is_empty());
    Some(Norm {
        node,
        input: sum.map_or(cut.x, String::as_str),
        centred: form.centred,
        gain: form.gain,
        shift: form.shift,
        eps: form.eps,
        rms: rms && (sum.is_some() || !skips(made)),
        parameters: parameters.into_iter().map(|(name, _)| name).collect(),
    })
}

/// The stored vectors that a cut reads, with their lengths.
fn parameters<'m>(cut: &Cut<'_, 'm>) -> Vec<(&'m str, usize)> {
    let mut found = Vec::new();
    for tensor in cut.constants().filter_map(|v| cut.sight.constants.expression(v).ok()) {
        let vectors = tensor.initializers.into_iter().filter(|t| is_float(t.data_type()));
        let lengths = vectors.map(|t| (t.name(), t.dims.iter().product::<i64>() as usize));
        found.extend(lengths.filter(|(_, length)| *length > 1));
    }
    found
}

fn is_float(data_type: i32) -> bool {
    use crate::proto::tensor_proto::DataType::*;
    [Float, Float16, Bfloat16, Double].iter().any(|float| *float as i32 == data_type)
}

/// What a cut makes of rows, where they stand in a tensor of this rank.
fn at_rank(cut: &Cut, rows: &[Vec<f64>], rank: usize) -> Option<Vec<Vec<f64>>> {
    let k = rows[0].len();
    let mut shape = vec![1; rank.checked_sub(1)?];
    match &mut shape[..] {
        [.., outer, inner] => (*outer, *inner) = (2, rows.len() / 2),
        [only] => *only = rows.len(),
        [] => return None,
    }
    shape.push(k);
    let values = cut.at(Array::from_vec(&shape, rows.concat())?).ok()?;
    let made = values.get(cut.value).filter(|made| made.len() == rows.len() * k)?;
    let made = f64::unwrap(made)?.as_standard_layout().into_owned().into_raw_vec_and_offset().0;
    Some(made.chunks_exact(k).map(<[f64]>::to_vec).collect())
}

/// The number of large rows, where no eps counts. One that is so small that nothing else counts
/// follows, then its multiples.
const LARGE: usize = 5;
const SMALL: usize = 15;

fn rows(k: usize) -> Vec<Vec<f64>> {
    let mut noise = noise(k as u64);
    let mut row = |mean: f64| -> Vec<f64> {
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        (0..k).map(|i| mean + sign(i) * (1.25 + 0.25 * noise())).collect()
    };
    // No element is zero or the mean.
    let (a, b, c) = (row(0.25), row(-0.5), row(3.0));
    let times = |row: &[f64], by: f64| row.iter().map(|x| x * by).collect::<Vec<f64>>();
    let large = [times(&a, 1e5), times(&a, -1e5), times(&b, 3e4), times(&b, 3e7), times(&c, 2e5)];
    let small = |step: usize| match step {
        0 => 1e-30,
        step => 1e-18 * 25f64.powi(step as i32 - 1),
    };
    large.into_iter().chain((0..SMALL).map(|step| times(&a, small(step)))).collect()
}

/// `gain · u / sqrt(mean(u²) + eps) + shift`, where u is a row, perhaps without its mean.
#[derive(Debug, Clone, PartialEq)]
struct Form {
    centred: bool,
    gain: Vec<f32>,
    shift: Vec<f32>,
    eps: Option<f64>,
}

/// What was made of the rows, if it is a norm of each.
fn form(rows: &[Vec<f64>], made: &[Vec<f64>]) -> Option<Form> {
    let shift: Vec<f64> = made[0].iter().zip(&made[1]).map(|(a, b)| (a + b) / 2.0).collect();
    let shifted = largest(&shift) > CLOSE * largest(&made[0]);
    let moved: Vec<Vec<f64>> = made
        .iter()
        .map(|row| row.iter().zip(&shift).map(|(y, s)| if shifted { y - s } else { *y }).collect())
        .collect();
    [false, true].into_iter().find_map(|centred| {
        let units: Vec<Vec<f64>> = rows.iter().map(|row| without_mean(row, centred)).collect();
        let rms = mean_square(&units[0]).sqrt();
        let gain: Vec<f64> = moved[0].iter().zip(&units[0]).map(|(h, u)| h * rms / u).collect();
        let size = |row: usize| size(&gain, &units[row], &moved[row]);
        let sizes: Vec<f64> = (0..LARGE).map(size).collect::<Option<_>>()?;
        let scales = |factor: f64, of: f64| near(factor * of, sizes[3]);
        if !scales(1e3, sizes[2]) || !near(sizes[0], sizes[1]) {
            return None;
        }
        let plain = (0..LARGE).all(|row| near(sizes[row], mean_square(&units[row]).sqrt()));
        // Small numbers are lost beside a shift.
        let counts = |row: &usize| largest(&moved[*row]) > 0.1 * CLOSE * largest(&shift);
        let small = |row: usize| Some((mean_square(&units[row]), size(row)?));
        let small = || (LARGE..rows.len()).filter(counts).map(small).collect::<Option<Vec<_>>>();
        let eps = plain.then(small);
        Some(Form {
            centred,
            gain: gain.iter().map(|g| *g as f32).collect(),
            shift: if shifted { shift.iter().map(|s| *s as f32).collect() } else { Vec::new() },
            eps: eps.flatten().and_then(|small| eps_of(&small)),
        })
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

/// The eps that explains the sizes of rows of these mean squares, if one does.
fn eps_of(small: &[(f64, f64)]) -> Option<f64> {
    let (square, size) = *small.first()?;
    let eps = size * size - square;
    let eps = if eps > CLOSE * square { eps } else { 0.0 };
    small.iter().all(|(square, size)| near(*size, (square + eps).sqrt())).then_some(eps)
}

/// What numbers that are the same differ by: constants are stored in 32 bits.
const CLOSE: f64 = 1e-6;

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= CLOSE * a.abs().max(b.abs())
}

fn largest(row: &[f64]) -> f64 {
    row.iter().fold(0.0, |m, x| x.abs().max(m))
}

fn mean_square(row: &[f64]) -> f64 {
    row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64
}

fn without_mean(row: &[f64], centred: bool) -> Vec<f64> {
    let mean = row.iter().sum::<f64>() / row.len() as f64;
    row.iter().map(|x| if centred { x - mean } else { *x }).collect()
}
