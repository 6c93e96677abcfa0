//! Fake quantisation of activations.
//!
//! A model trained with BitLinear rounds each row of an activation `x` to int8 codes and back:
//!
//! ```text
//! g = max(max|x|, eps)     q = clip(round(x·127/g), -128, 127)     x_q = q·g/127
//! ```
//!
//! It is looked at in three steps, each of which can be another one: what is rounded, `u = x·127/g`; how,
//! on the numbers where roundings differ; and what becomes of the codes.

use super::cut::{Cut, Sight, Values, at_rank, noise, numbers};
use crate::{
    array::Array,
    graph::{Constants, NodeId, View, facts},
    proto::{NodeProto, is_float, tensor_proto::DataType},
};
use std::collections::HashSet;

/// A product of quantised activations and a constant weight, scales included.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    /// The activation before quantisation.
    pub x: String,
    /// The node that multiplies it with the weight.
    pub product: NodeId,
    /// What the weight's scale is to be multiplied with.
    pub factor: f32,
    /// The least `g`.
    pub eps: f32,
    /// Whether the way from `x` to the product changes the float type.
    pub casts: bool,
}

/// Why a value is no such product.
#[derive(Debug, Clone, PartialEq)]
pub enum NotQuantized {
    /// It is not made of one row's fake quantisation.
    Foreign,
    /// It is, but by another arithmetic: a sentence.
    Otherwise(String),
}

/// The fake quantisation that feeds `root`, if any.
///
/// `root` is the product itself when the scale `g/127` is part of its operand, else the last node
/// that multiplies or divides the product by the row's scale. Only of the product itself it is said
/// that its arithmetic is another one: each projection is refused once.
pub fn quantized(
    view: &View,
    constants: &Constants,
    root: NodeId,
) -> Result<Quantized, NotQuantized> {
    let product = product_below(view, constants, root).ok_or(NotQuantized::Foreign)?;
    let sight = Sight { product: Some(product), ..Sight::new(view, constants) };
    let output = view.node(root).output.first().ok_or(NotQuantized::Foreign)?;
    let rounding = |cut: &Cut| cut.nodes().any(|node| rounds(constants, node));
    let mut cuts = sight.cuts(output).filter(rounding).take(NEAREST).peekable();
    let unfollowed = || match rounded_before(view, constants, product).filter(|_| root == product) {
        Some(node) => NotQuantized::Otherwise(format!(
            "node `{}` rounds its activation, by way of nodes that are no fake quantisation of its rows",
            node.label()
        )),
        None => NotQuantized::Foreign,
    };
    let k = cuts.peek().and_then(|_| in_features(sight, product)).ok_or_else(unfollowed)?;
    let mut nearest = foreign();
    for cut in cuts {
        match of_cut(&cut, product, root, k) {
            Ok(found) => return Ok(found),
            // The one that comes furthest says best what is another arithmetic.
            Err(other) if other.step > nearest.step => nearest = other,
            Err(_) => {}
        }
    }
    match nearest.step {
        Step::Foreign => Err(unfollowed()),
        _ if root != product => Err(NotQuantized::Foreign),
        _ => Err(NotQuantized::Otherwise(nearest.why)),
    }
}

/// The product with a constant weight at the bottom of a chain of scalings, `root` included. Where it
/// is not the root it is a `MatMul`: what has its scales after it has no factors inside.
fn product_below(view: &View, constants: &Constants, root: NodeId) -> Option<NodeId> {
    let (mut seen, mut level) = (HashSet::new(), vec![root]);
    for _ in 0..CHAIN {
        let found = level.iter().find(|id| match view.node(**id).standard() {
            "MatMul" => true,
            "Gemm" => **id == root,
            _ => **id == root && view.node(root).is("com.microsoft.FusedMatMul"),
        });
        if let Some(product) = found {
            let weight = view.node(*product).input.get(1)?;
            return constants.is_constant(weight).then_some(*product);
        }
        let scales = |id: &&NodeId| {
            matches!(view.node(**id).standard(), "Identity" | "Cast" | "Mul" | "Div" | "Neg")
        };
        let inputs = level.iter().filter(scales).flat_map(|id| &view.node(*id).input);
        level = inputs.filter_map(|v| view.producer(v)).filter(|id| seen.insert(*id)).collect();
    }
    None
}

/// The node that rounds what a product reads, where elements are only moved and scaled from there on.
fn rounded_before<'m>(
    view: &View<'m>,
    constants: &Constants,
    product: NodeId,
) -> Option<&'m NodeProto> {
    let mut ahead: Vec<&str> = view.node(product).input(0).into_iter().collect();
    let mut seen = HashSet::new();
    while let Some(value) = ahead.pop() {
        if !seen.insert(value) || constants.is_constant(value) {
            continue;
        }
        let Some(id) = view.producer(value) else { continue };
        let node = view.node(id);
        match node.standard() {
            "Round" | "QuantizeLinear" | "DynamicQuantizeLinear" => return Some(node),
            "Concat" | "Div" | "Mul" => ahead.extend(node.inputs()),
            "Clip" | "DequantizeLinear" => ahead.extend(node.input(0)),
            _ if facts::moves(node) || facts::cuts(node) => ahead.extend(node.input(0)),
            _ => {}
        }
    }
    None
}

/// How many values are tried as the `x` of one product.
const NEAREST: usize = 16;

/// The longest way from the scaling of a product to the product.
const CHAIN: usize = 12;

/// Whether a node may round: only to save the trouble of trying what does not.
fn rounds(constants: &Constants, node: &NodeProto) -> bool {
    let to = || node.int("to").unwrap_or(0) as i32;
    match node.standard() {
        "Round" | "Floor" | "Ceil" | "Mod" => true,
        "Cast" => !is_float(to()) && to() != DataType::Bool as i32,
        // Adding rounds where floats are one apart.
        "Add" => node.input.iter().any(|v| constants.scalar(v).is_some_and(|c| c.abs() > 1e6)),
        _ => node.op_type().ends_with("QuantizeLinear"),
    }
}

/// How far the arithmetic is BitLinear's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Foreign,
    /// It rounds.
    Rounds,
    /// It rounds by a scale.
    Scales,
    /// The scale is the row's.
    Row,
    /// So is the rounding.
    Codes,
}

/// What is another arithmetic, and at which step.
struct Other {
    step: Step,
    why: String,
}

fn foreign() -> Other {
    Other { step: Step::Foreign, why: String::new() }
}

/// Where the rank of `x` is not known, it has to be right in each that the nodes allow.
fn of_cut(cut: &Cut, product: NodeId, root: NodeId, k: usize) -> Result<Quantized, Other> {
    let shape = cut.sight.shape(cut.x);
    if shape.width.is_some_and(|width| width != k) {
        return Err(foreign());
    }
    let (mut found, mut broken) = (None, foreign());
    for rank in shape.ranks() {
        match Trial::new(cut, product, rank, k) {
            Ok(trial) => {
                if shape.width.is_none() {
                    trial.keeps_rows()?;
                }
                found = Some(trial.judge(root)?);
            }
            Err(why) => broken = why,
        }
    }
    found.ok_or(broken)
}

/// The length of the rows that a product multiplies.
fn in_features(sight: Sight, product: NodeId) -> Option<usize> {
    let node = sight.node(product);
    let stored = || {
        let weight = sight.constants.matrix(node.input(1)?).ok()?;
        Some(weight.shape()[usize::from(node.flag("transB"))])
    };
    sight.shape(node.input(0)?).width.or_else(stored)
}

/// What a cut makes of rows of all magnitudes.
struct Trial<'c, 'a, 'm> {
    cut: &'c Cut<'a, 'm>,
    product: NodeId,
    rows: Vec<Vec<f64>>,
    values: Values<'m>,
    /// The last value before the product that is integers.
    codes: &'m str,
}

/// The number of rows, each of another magnitude: one below any eps, then all that a model has.
const ROWS: usize = 18;

fn magnitude(row: usize) -> f64 {
    if row == 0 { 1e-20 } else { 1.371_947_1e-13 * 10f64.powi(row as i32) }
}

/// The place of a row's largest element.
fn peak(row: usize, k: usize) -> usize {
    row * 7 % k
}

fn rows(k: usize) -> Vec<Vec<f64>> {
    let mut noise = noise(k as u64);
    let mut made = |row: usize| -> Vec<f64> {
        let mut elements: Vec<f64> = (0..k).map(|_| 0.97 * noise()).collect();
        elements[peak(row, k)] = if row.is_multiple_of(2) { 1.0 } else { -1.0 };
        // Of one sign, where a zero point shows.
        match row {
            14 => elements.iter_mut().for_each(|x| *x = x.abs()),
            15 => elements.iter_mut().for_each(|x| *x = -x.abs()),
            _ => {}
        }
        elements.iter().map(|x| x * magnitude(row)).collect()
    };
    (0..ROWS).map(&mut made).collect()
}

/// How what is rounded comes to be codes.
struct Rounded<'a, 'm> {
    /// From what is rounded to the codes.
    cut: Cut<'a, 'm>,
    /// What is rounded.
    u: Vec<f64>,
    /// What each row was multiplied with to be that; absent where it is no multiple.
    scales: Option<Vec<f64>>,
    /// The node that rounds it.
    node: &'m NodeProto,
    /// Whether that node does nothing else.
    plain: bool,
}

impl<'c, 'a, 'm> Trial<'c, 'a, 'm> {
    /// In f64, where nothing but the arithmetic shows, or in f32 where it needs just that.
    fn new(cut: &'c Cut<'a, 'm>, product: NodeId, rank: usize, k: usize) -> Result<Self, Other> {
        let rows = rows(k);
        let mut broken = foreign();
        for float in [DataType::Double, DataType::Float] {
            let x = at_rank(&rows, rank, float).ok_or_else(foreign)?;
            let (values, end) = cut.until(x);
            let codes = codes(cut, product, &values, ROWS * k);
            match (end, codes) {
                (Ok(()), Some(codes)) => return Ok(Trial { cut, product, rows, values, codes }),
                (Ok(()), None) => {}
                (Err((node, why)), codes) => {
                    let node = cut.sight.node(node);
                    let operand = node.input.first().and_then(|v| values.get(v.as_str()));
                    let whole = operand.is_some_and(|x| x.len() == ROWS * k);
                    if codes.is_some() || whole && rounds(cut.sight.constants, node) {
                        let why = format!("its activation is quantised in another way: {why}");
                        broken = Other { step: Step::Scales, why };
                    }
                }
            }
        }
        Err(broken)
    }

    fn judge(&self, root: NodeId) -> Result<Quantized, Other> {
        let sight = self.cut.sight;
        let rounded = self.rounded().ok_or_else(foreign)?;
        let at = |step| move |why| Other { step, why };
        let eps = match self.eps(&rounded) {
            Ok(eps) => eps,
            Err(_) if !self.is_quantised(root) => return Err(foreign()),
            Err(what) => {
                let unscaled = rounded.cut.x == self.cut.x;
                let step = if unscaled { Step::Rounds } else { Step::Scales };
                return Err(at(step)(format!("node `{}` rounds {what}", rounded.node.label())));
            }
        };
        self.rounding(&rounded).map_err(at(Step::Row))?;
        let operand = &sight.node(self.product).input[0];
        if root != self.product && self.factor(operand, eps).is_ok() {
            return Err(foreign());
        }
        let output = if root == self.product { operand } else { &sight.node(root).output[0] };
        let factor = self.factor(output, eps).map_err(at(Step::Codes))?;
        Ok(Quantized {
            x: self.cut.x.to_owned(),
            product: self.product,
            factor: factor as f32,
            eps: if eps == 0.0 { UNBOUNDED } else { eps as f32 },
            casts: self.casts(),
        })
    }

    /// Where the file does not tell the length of a row of `x`, nothing may change it.
    fn keeps_rows(&self) -> Result<(), Other> {
        let shape = |value: Option<&str>| {
            let shape = self.values.get(value?)?.shape();
            (shape.iter().product::<usize>() == ROWS * self.k()).then_some(shape)
        };
        let reshapes = |node: &&NodeProto| match (shape(node.input(0)), shape(node.output(0))) {
            (Some(before), Some(after)) => before != after,
            _ => false,
        };
        let Some(node) = self.cut.nodes().find(reshapes) else { return Ok(()) };
        let (node, x) = (node.label(), self.cut.x);
        let why =
            format!("node `{node}` reshapes what is quantised of `{x}`, whose rows may be shorter");
        Err(Other { step: Step::Scales, why })
    }

    fn k(&self) -> usize {
        self.rows[0].len()
    }

    /// A value of the shape of `x`, row after row.
    fn numbers(&self, value: &str) -> Option<Vec<f64>> {
        numbers(self.values.get(value)?).filter(|numbers| numbers.len() == ROWS * self.k())
    }

    /// What each row is multiplied with to be a value's, if the value is the rows scaled.
    fn scales(&self, value: &[f64]) -> Option<Vec<f64>> {
        let each = self.rows.iter().zip(value.chunks_exact(self.k()));
        each.map(|(x, y)| multiple(x, y)).collect()
    }

    /// The nearest value before the codes that is the rows scaled, else what is rounded whatever it is.
    fn rounded(&self) -> Option<Rounded<'a, 'm>> {
        let sight = Sight { product: None, ..self.cut.sight };
        let mut nearest: Option<Rounded> = None;
        for cut in sight.cuts(self.codes) {
            let u = self.numbers(cut.x)?;
            if is_integers(&u) {
                continue;
            }
            let scales = self.scales(&u);
            let end = scales.as_ref().is_some_and(|s| s.iter().all(|scale| near(*scale, 1.0)));
            let (found, rounding) = (scales.is_some(), self.rounding_node(&cut, &u));
            let (plain, node) = (rounding.is_some(), rounding.or(cut.nodes().last())?);
            let rounded = Rounded { cut, u, scales, node, plain };
            if found && !(end && nearest.is_some()) {
                return Some(rounded);
            }
            if end {
                break;
            }
            nearest = nearest.or(Some(rounded));
        }
        nearest
    }

    /// The first node that makes integers near what it is given.
    fn rounding_node(&self, cut: &Cut<'_, 'm>, u: &[f64]) -> Option<&'m NodeProto> {
        let rounds = |node: &&NodeProto| {
            let made = self.numbers(&node.output[0]);
            made.is_some_and(|made| {
                is_integers(&made)
                    && made.iter().zip(u).all(|(q, u)| u.abs() > 128.0 || (q - u).abs() <= 1.5)
            })
        };
        cut.nodes().find(rounds)
    }

    /// The least `g`, 0 where there is none, if what is rounded is `x·127/g`; else what is.
    fn eps(&self, rounded: &Rounded) -> Result<f64, String> {
        let scales = rounded.scales.as_ref().ok_or_else(|| self.unlike(&rounded.u))?;
        if !rounded.plain && scales.iter().all(|scale| near(*scale, 1.0)) {
            return Err(UNLIKE.to_owned());
        }
        let last = ROWS - 1;
        let (scale, levels) = (scales[last], scales[last] * magnitude(last));
        if scales.iter().all(|other| near(*other, scale)) {
            let whole = levels <= 256.5 && near(levels, levels.round());
            return Err(match whole {
                true => "by one scale for all tokens, not by each token's own".to_owned(),
                false => format!("x·{scale:.4}, a scale that is no token's own, not x·127/g"),
            });
        }
        let least = levels / scales[0];
        let eps = if near(least, magnitude(0)) { 0.0 } else { least };
        let every = |g: fn(f64, f64) -> f64| {
            let mut rows = scales.iter().enumerate();
            rows.all(|(row, scale)| near(scale * g(magnitude(row), eps), levels))
        };
        if every(f64::max) && near(levels, 127.0) {
            return Ok(eps);
        }
        Err(if every(f64::max) {
            format!("x·{levels:.4}/g, not x·127/g")
        } else if every(|g, eps| g + eps) {
            format!("by the largest magnitude plus {eps:.1e}, instead of keeping it above")
        } else {
            UNLIKE.to_owned()
        })
    }

    /// What is rounded where it is not the rows scaled.
    fn unlike(&self, u: &[f64]) -> String {
        let k = self.k();
        let rows = || self.rows.iter().zip(u.chunks_exact(k));
        let grouped = |group: usize| {
            let mut groups = rows().flat_map(|(x, u)| x.chunks(group).zip(u.chunks(group)));
            groups.all(|(x, u)| multiple(x, u).is_some())
        };
        let from_last = |row: &[f64]| row.iter().map(|x| x - row[k - 1]).collect::<Vec<f64>>();
        let shifted = rows().all(|(x, u)| multiple(&from_last(x), &from_last(u)).is_some());
        match (2..k).rev().find(|group| k.is_multiple_of(*group) && grouped(*group)) {
            Some(group) => format!("each {group} elements by a scale of their own, not each token"),
            None if shifted && k > 2 => "what a zero point shifts".to_owned(),
            None => UNLIKE.to_owned(),
        }
    }

    /// Whether the codes are `u` rounded half to even, clipped at -128 and 127 or not at all.
    fn rounding(&self, rounded: &Rounded) -> Result<(), String> {
        let u = rounded.cut.x;
        let probes = PROBES.iter().flat_map(|u| [*u, -u]).cycle().take(ROWS * self.k());
        let probes: Vec<f64> = probes.map(f64::from).collect();
        let broken = |why: &str| format!("its activation is quantised in another way: {why}");
        let shape = self.values[u].shape();
        let made = Array::from_vec(shape, probes.iter().map(|u| *u as f32).collect());
        let (values, end) = rounded.cut.until(made.ok_or_else(|| broken("by another shape"))?);
        end.map_err(|(_, why)| broken(&why))?;
        let codes_of = |value: &str| -> Option<Vec<(f64, f64)>> {
            let codes = numbers(values.get(value)?)?;
            (codes.len() == probes.len()).then(|| probes.iter().copied().zip(codes).collect())
        };
        let codes = codes_of(self.codes).ok_or_else(|| broken("by another shape"))?;
        let within = |by: Rounding, most: f64| {
            let mut near = codes.iter().filter(|(u, _)| u.abs() <= most);
            near.all(|(u, q)| (by(*u) - q).abs() < 1e-3)
        };
        if within(f64::round_ties_even, 127.25) {
            return Ok(());
        }
        if !within(f64::round_ties_even, 3.0) {
            let known = ROUNDINGS.iter().find(|(_, by)| within(*by, 3.0));
            let how = known.map_or("in a way of its own", |(how, _)| how);
            return Err(format!("node `{}` rounds {how}, not half to even", rounded.node.label()));
        }
        let ends = |codes: &[(f64, f64)]| {
            codes.iter().fold((0.0, 0.0), |(l, h): (f64, f64), (_, q)| (l.min(*q), h.max(*q)))
        };
        let (low, high) = ends(&codes);
        let clips = |node: &&NodeProto| {
            codes_of(&node.output[0]).is_some_and(|made| ends(&made) == (low, high))
        };
        let node = rounded.cut.nodes().find(clips).unwrap_or(rounded.node);
        Err(format!("node `{}` clips the codes to {low}..{high}, not to -128..127", node.label()))
    }

    /// What a value is in multiples of the codes times `g/127`.
    fn factor(&self, value: &str, eps: f64) -> Result<f64, String> {
        let k = self.k();
        // In units of the row's `g`, so that all rows count alike.
        let in_g = |numbers: Vec<f64>| -> Vec<f64> {
            let each = numbers.iter().enumerate();
            each.map(|(i, number)| number / magnitude(i / k).max(eps)).collect()
        };
        let y = in_g(self.numbers(value).ok_or_else(|| format!("`{value}` has another shape"))?);
        let x = in_g(self.rows.concat());
        let codes = self.numbers(self.codes).unwrap_or_default();
        let q: Vec<f64> = codes.iter().map(|code| code / 127.0).collect();
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let fits = |of_q: f64, of_x: f64| {
            let close = |i: usize| (of_q * q[i] + of_x * x[i] - y[i]).abs() <= CLOSE * of_q.abs();
            (0..y.len()).all(close)
        };
        let (qq, qy) = (dot(&q, &q), dot(&q, &y));
        if fits(qy / qq, 0.0) {
            return Ok(qy / qq);
        }
        // Least squares of the two that a blend has.
        let (qx, xx, xy) = (dot(&q, &x), dot(&x, &x), dot(&x, &y));
        let whole = qq * xx - qx * qx;
        let (of_q, of_x) = ((qy * xx - xy * qx) / whole, (xy * qq - qy * qx) / whole);
        if fits(of_q, of_x) {
            return Err(format!("its operand `{value}` is still {of_x:.3} parts unquantised"));
        }
        Err(format!("`{value}` is not the codes `{}` times g/127", self.codes))
    }

    /// Whether `root` does not change where the least element of a row moves between the same roundings.
    fn is_quantised(&self, root: NodeId) -> bool {
        let (output, k) = (self.cut.sight.node(root).output[0].as_str(), self.k());
        let mut moved = self.rows.concat();
        let least = |row: &Vec<f64>| {
            let least = |a: &usize, b: &usize| row[*a].abs().total_cmp(&row[*b].abs());
            (0..k).min_by(least).unwrap_or(0)
        };
        let places: Vec<usize> =
            self.rows.iter().enumerate().map(|(row, x)| row * k + least(x)).collect();
        let by = |place: usize| 1e-6 * magnitude(place / k);
        places.iter().for_each(|place| moved[*place] += by(*place));
        let x = &self.values[self.cut.x];
        let again = Array::from_vec(x.shape(), moved).and_then(|moved| moved.cast(x.dtype()));
        let again = again.and_then(|x| numbers(self.cut.until(x).0.get(output)?));
        let (Some(before), Some(after)) = (self.numbers(output), again) else { return false };
        let stays = |place: &&usize| {
            let top = **place / k * k + peak(**place / k, k);
            let slope = before[top] / self.rows[**place / k][top % k];
            (after[**place] - before[**place]).abs() <= 0.25 * (slope * by(**place)).abs()
        };
        places.iter().filter(stays).count() * 10 > ROWS * 8
    }

    /// Whether a float other than a code changes its width on the way to the product.
    fn casts(&self) -> bool {
        let float = self.values[self.cut.x].dtype();
        let floats = |v: &str| self.values.get(v).is_some_and(|array| array.dtype() == float);
        let before = self.cut.nodes.iter().take_while(|id| **id != self.product);
        let mut casts = before.map(|id| self.cut.sight.node(*id)).filter(|node| node.is("Cast"));
        casts.any(|cast| {
            let codes = self.numbers(&cast.input[0]).is_none_or(|numbers| is_integers(&numbers));
            !codes && floats(&cast.input[0]) && floats(&cast.output[0])
        })
    }
}

/// The least `g` of a source that has none: 127 over it is finite, and no row of a model is as small.
const UNBOUNDED: f32 = 1e-30;

const UNLIKE: &str = "its activation, but not by a scale of 127 over the row's largest magnitude";

/// Where roundings differ: at halves, beside them, and at the ends; and beyond these, for what clips.
#[rustfmt::skip]
const PROBES: [f32; 20] = [
    0.0, 0.25, 0.499, 0.5, 0.501, 0.75, 1.0, 1.499, 1.5, 1.501, 2.5, 3.5, 63.5, 64.5, 99.75, 125.5, 126.5,
    126.75, 127.0, 1000.0,
];

type Rounding = fn(f64) -> f64;

/// Other roundings, as what they are called.
const ROUNDINGS: [(&str, Rounding); 5] = [
    ("halves up", |u| (u + 0.5).floor()),
    ("halves away from zero", f64::round),
    ("towards zero", f64::trunc),
    ("down", f64::floor),
    ("up", f64::ceil),
];

/// The last value before the product that is integers, as many as there are elements in `x`.
fn codes<'m>(
    cut: &Cut<'_, 'm>,
    product: NodeId,
    values: &Values<'m>,
    count: usize,
) -> Option<&'m str> {
    let before = cut.nodes.iter().rev().skip_while(|id| **id >= product);
    let mut outputs = before.flat_map(|id| cut.sight.node(*id).output.first());
    outputs.find_map(|output| {
        let numbers = numbers(values.get(output.as_str())?)?;
        let codes = numbers.len() == count && is_integers(&numbers);
        (codes && numbers.iter().any(|q| q.abs() > 1.5)).then_some(output.as_str())
    })
}

fn is_integers(numbers: &[f64]) -> bool {
    numbers.iter().all(|q| (q - q.round()).abs() < 1e-3)
}

/// What makes `y` of `x`, if that is one factor.
fn multiple(x: &[f64], y: &[f64]) -> Option<f64> {
    let (x0, y0) = x.iter().zip(y).max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))?;
    let scale = y0 / x0;
    x.iter().zip(y).all(|(x, y)| (x * scale - y).abs() <= CLOSE * y0.abs()).then_some(scale)
}

/// What numbers that are the same differ by: constants are stored in 32 bits.
const CLOSE: f64 = 4e-6;

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= CLOSE * a.abs().max(b.abs())
}
