//! Fake quantisation of activations, recognised by its arithmetic instead of its spelling.
//!
//! A model trained with BitLinear rounds each row of an activation `x` to int8 codes and back:
//!
//! ```text
//! g = max(max|x|, eps)     q = clip(round(x·127/g), -128, 127)     x_q = q·g/127
//! ```
//!
//! Exporters and authors write this in many ways: `127 / g` as a reciprocal or not, dividing by the
//! factor or multiplying by its inverse, straight-through as `x + (x_q - x)`, with a lambda, with the
//! scale after the product. All are sums and products of the same few things, so every value on the
//! way is reduced to a [`Form`]: what it is in terms of `x`, `q` and powers of `g`. Two spellings are
//! the same arithmetic when they have the same form.

use crate::{
    graph::{Constants, NodeId, View},
    proto::{NodeProto, tensor_proto::DataType},
};
use std::{
    cell::Cell,
    collections::{HashMap, HashSet},
};

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

/// Why a value has no usable form.
#[derive(Debug, Clone, PartialEq)]
pub enum Stop {
    /// It is not made of one row's fake quantisation.
    Foreign,
    /// It is, but by another arithmetic: a sentence.
    Other(String),
}

/// The fake quantisation that feeds `root`, if any.
///
/// `root` is the product itself when the scale `g/127` is part of its operand, else the last node
/// that multiplies or divides the product by the row's scale. Only of the product itself it is said
/// that its arithmetic is another one: each projection is refused once.
pub fn quantized(view: &View, constants: &Constants, root: NodeId) -> Result<Quantized, Stop> {
    let product = product_below(view, constants, root).ok_or(Stop::Foreign)?;
    of_product(view, constants, root, product).map_err(|stop| match stop {
        Stop::Other(_) if root != product => Stop::Foreign,
        stop => stop,
    })
}

fn of_product(
    view: &View,
    constants: &Constants,
    root: NodeId,
    product: NodeId,
) -> Result<Quantized, Stop> {
    let node = view.node(product);
    let operand = node.input.first().ok_or(Stop::Foreign)?;
    let round = rounding(view, operand).ok_or(Stop::Foreign)?;
    if !view.node(round).is("Round") {
        let node = view.node(round);
        return Err(Stop::Other(format!(
            "node `{}` quantises with {}",
            node.label(),
            node.operator()
        )));
    }
    let mut stop = Stop::Foreign;
    for x in bases(view, constants, round) {
        let row = Row {
            view,
            constants,
            x,
            product,
            eps: Cell::new(None),
            unbounded: Cell::new(None),
            casts: Cell::new(false),
            seen: HashMap::new().into(),
        };
        match row.complete(root).and_then(|term| Ok((term, row.least()?))) {
            Ok((Term { factor, .. }, eps)) => {
                let (factor, casts) = ((factor * 127.0) as f32, row.casts.get());
                return Ok(Quantized { x: x.to_owned(), product, factor, eps, casts });
            }
            // The nearest says best what is another arithmetic.
            Err(other) if stop == Stop::Foreign => stop = other,
            Err(_) => {}
        }
    }
    match stop {
        Stop::Foreign => Err(Stop::Other(format!(
            "node `{}` rounds its activation, but not by a scale of 127 over the row's largest magnitude",
            view.node(round).label()
        ))),
        other => Err(other),
    }
}

/// What an operator does on the way from `x` to the product and its scaling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Multiplies activations and a weight.
    Product,
    /// Passes its one input on, perhaps as another type.
    Same,
    /// Multiplies or divides.
    Scaling,
    /// Keeps within bounds.
    Bounding,
    /// Adds or subtracts.
    Sum,
    /// Makes integers.
    Rounding,
    /// Makes of integers what they stand for.
    Dequantizing,
}

/// The operators that walks over the graph know. Their arithmetic is in [`Row::made_by`]: one that is not in
/// both is foreign.
const OPERATORS: &[(&str, Part)] = &[
    ("MatMul", Part::Product),
    ("Gemm", Part::Product),
    ("com.microsoft.FusedMatMul", Part::Product),
    ("Identity", Part::Same),
    ("Cast", Part::Same),
    ("Mul", Part::Scaling),
    ("Div", Part::Scaling),
    ("Neg", Part::Scaling),
    ("Clip", Part::Bounding),
    ("Min", Part::Bounding),
    ("Max", Part::Bounding),
    ("Add", Part::Sum),
    ("Sub", Part::Sum),
    ("Round", Part::Rounding),
    ("Floor", Part::Rounding),
    ("Ceil", Part::Rounding),
    ("QuantizeLinear", Part::Rounding),
    ("DynamicQuantizeLinear", Part::Rounding),
    ("DequantizeLinear", Part::Dequantizing),
];

fn part(node: &NodeProto) -> Option<Part> {
    OPERATORS.iter().find(|(name, _)| node.is(name)).map(|(_, part)| *part)
}

/// The nearest node that `is` it, from `start` on upwards along the inputs that `through` gives.
fn upwards<'m>(
    view: &View<'m>,
    start: NodeId,
    is: impl Fn(NodeId) -> bool,
    through: impl Fn(&'m NodeProto) -> Vec<&'m str>,
) -> Option<NodeId> {
    let mut seen = HashSet::new();
    let mut level = vec![start];
    for _ in 0..CHAIN {
        if let Some(found) = level.iter().find(|id| is(**id)) {
            return Some(*found);
        }
        let inputs = level.iter().flat_map(|id| through(view.node(*id)));
        level = inputs.filter_map(|v| view.producer(v)).filter(|id| seen.insert(*id)).collect();
    }
    None
}

/// The least `g` of a source that has none: 127 over it is finite, and no row of a model is as small.
const UNBOUNDED: f32 = 1e-30;

/// Longest way from a product to the rounding of its operand, or from its scaling to it.
const CHAIN: usize = 12;

fn inputs(node: &NodeProto) -> Vec<&str> {
    node.input.iter().map(String::as_str).collect()
}

/// The product with a constant weight at the bottom of a chain of scalings, `root` included. Where it
/// is not the root it is a `MatMul`: what has its scales after it has no factors inside.
fn product_below(view: &View, constants: &Constants, root: NodeId) -> Option<NodeId> {
    let is_product = |id: NodeId| match part(view.node(id)) {
        Some(Part::Product) => id == root || view.node(id).is("MatMul"),
        _ => false,
    };
    let product = upwards(view, root, is_product, |node| match part(node) {
        Some(Part::Same | Part::Scaling) => inputs(node),
        _ => Vec::new(),
    })?;
    constants.is_constant(view.node(product).input.get(1)?).then_some(product)
}

/// The nearest node before `value` that rounds, reached through elementwise arithmetic only.
fn rounding(view: &View, value: &str) -> Option<NodeId> {
    let rounds = |id: NodeId| part(view.node(id)) == Some(Part::Rounding);
    upwards(view, view.producer(value)?, rounds, |node| match part(node) {
        Some(Part::Sum) if node.is("Add") => straight_through(view, node).into_iter().collect(),
        Some(Part::Product | Part::Rounding) | None => Vec::new(),
        Some(_) => inputs(node),
    })
}

/// The difference that an `Add` adds to `x` in `x + (x_q - x)`; other sums lead to other layers.
fn straight_through<'m>(view: &View<'m>, add: &'m NodeProto) -> Option<&'m str> {
    let [a, b] = &add.input[..] else { return None };
    let adds = |x: &String, difference: &String| {
        let mut node = view.node(view.producer(difference)?);
        while matches!(part(node), Some(Part::Same | Part::Scaling)) {
            let maker = |v: &String| view.producer(v).map(|id| view.node(id));
            node = node.input.iter().find_map(maker)?;
        }
        (node.is("Sub") && node.input.get(1) == Some(x)).then_some(())
    };
    match (adds(a, b), adds(b, a)) {
        (Some(()), _) => Some(b),
        (_, Some(())) => Some(a),
        _ => None,
    }
}

/// What may be `x` in `round(x·f)`, the likelier first: what is multiplied or divided, then what that is
/// made of in the same way, for `round(x·127/g)` and `round(x/g·127)`.
fn bases<'m>(view: &View<'m>, constants: &Constants, round: NodeId) -> Vec<&'m str> {
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    let mut next: Vec<&str> = view.node(round).input.iter().take(1).map(String::as_str).collect();
    for _ in 0..CHAIN {
        let nodes = next.iter().filter_map(|v| view.producer(v)).map(|id| view.node(id));
        let steps = nodes.flat_map(|node| {
            let (count, scaled) = match (part(node), node.standard()) {
                (_, "Mul") => (2, true),
                (_, "Div") => (1, true),
                (Some(Part::Same | Part::Bounding), _) => (1, false),
                _ => (0, false),
            };
            inputs(node).into_iter().take(count).map(move |value| (value, scaled))
        });
        let varies = steps.filter(|(value, _)| !constants.is_constant(value));
        let steps: Vec<_> = varies.filter(|step| seen.insert(*step)).collect();
        found.extend(steps.iter().filter(|(_, scaled)| *scaled).map(|(value, _)| *value));
        next = steps.into_iter().map(|(value, _)| value).collect();
    }
    found
}

/// `factor · g^power`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Term {
    factor: f64,
    power: i32,
}

/// What a value is in terms of one row `x`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// One number a row, or a constant.
    Scalar(Term),
    /// `factor · max|x|`, before it is kept from zero.
    Peak(f64),
    /// `factor · max|x|` without the axis that it was taken over.
    Dropped(f64),
    /// `factor · |x|`.
    Magnitude(f64),
    /// `factor · max x`.
    Highest(f64),
    /// `factor · min x`.
    Lowest(f64),
    /// `x·a + q·b`, either of them absent.
    Blend { x: Option<Term>, q: Option<Term> },
    /// The product of `q` and the weight.
    Product(Term),
}

/// The arithmetic of one row.
struct Row<'a, 'm> {
    view: &'a View<'m>,
    constants: &'a Constants<'a, 'm>,
    x: &'a str,
    product: NodeId,
    eps: Cell<Option<f64>>,
    /// A node that scales by the largest magnitude as it is, even if it is zero.
    unbounded: Cell<Option<NodeId>>,
    casts: Cell<bool>,
    seen: std::cell::RefCell<HashMap<String, Result<Form, Stop>>>,
}

type Formed = Result<Form, Stop>;

impl Row<'_, '_> {
    /// The scale of the product that ends at `root`: the first node where it holds the row's once.
    fn complete(&self, root: NodeId) -> Result<Term, Stop> {
        let at = |id: NodeId| match self.form(&self.view.node(id).output[0])? {
            Form::Product(term) => Ok(term),
            _ => Err(Stop::Foreign),
        };
        let (product, term) = (at(self.product)?, at(root)?);
        match (product.power, term.power) {
            (1, _) if root != self.product => Err(Stop::Foreign),
            (_, 1) => Ok(term),
            (_, power) => Err(Stop::Other(format!(
                "`{}` carries the row's scale to the power {power}, not once",
                self.view.node(root).output[0]
            ))),
        }
    }

    fn form(&self, value: &str) -> Formed {
        if value == self.x {
            return Ok(Form::Blend { x: Some(Term::ONE), q: None });
        }
        if let Some(known) = self.seen.borrow().get(value) {
            return known.clone();
        }
        let found = match self.constant(value) {
            Some(factor) => Ok(Form::Scalar(Term { factor, power: 0 })),
            None => self.view.producer(value).map_or(Err(Stop::Foreign), |id| self.made_by(id)),
        };
        self.seen.borrow_mut().insert(value.to_owned(), found.clone());
        found
    }

    fn made_by(&self, id: NodeId) -> Formed {
        let node = self.view.node(id);
        if id == self.product {
            return self.product(node);
        }
        let operand =
            |index: usize| node.input.get(index).map_or(Err(Stop::Foreign), |v| self.form(v));
        match node.standard() {
            "Identity" => operand(0),
            "Unsqueeze" => self.kept_axis(node, operand(0)),
            "Cast" => self.cast(node, operand(0)?),
            "Abs" => magnitude(operand(0)?),
            "ReduceMax" | "ReduceMin" => self.peak(node, operand(0)?),
            "Clip" => self.clamp(
                node,
                operand(0)?,
                self.bound(node, "min", 1),
                self.bound(node, "max", 2),
            ),
            "Max" | "Min" if node.input.len() == 2 => self.extremum(node, operand(0)?, operand(1)?),
            "Round" => self.round(node, operand(0)?),
            "Neg" => scale(operand(0)?, Term { factor: -1.0, power: 0 }),
            "Reciprocal" => scale(Form::Scalar(Term::ONE), self.scalar(id, operand(0)?)?.inverse()),
            "Mul" => match (operand(0)?, operand(1)?) {
                (Form::Scalar(term), other) | (other, Form::Scalar(term)) => scale(other, term),
                (peak @ Form::Peak(_), other) | (other, peak @ Form::Peak(_)) => {
                    scale(other, self.scalar(id, peak)?)
                }
                _ => Err(Stop::Foreign),
            },
            "Div" => scale(operand(0)?, self.scalar(id, operand(1)?)?.inverse()),
            "Add" => self.add(node, operand(0)?, operand(1)?),
            "Sub" => {
                self.add(node, operand(0)?, scale(operand(1)?, Term { factor: -1.0, power: 0 })?)
            }
            _ => Err(Stop::Foreign),
        }
    }

    /// What node `id` scales by.
    fn scalar(&self, id: NodeId, form: Form) -> Result<Term, Stop> {
        match form {
            Form::Scalar(term) => Ok(term),
            Form::Peak(factor) => {
                self.unbounded.set(Some(id));
                Ok(Term { factor, power: 1 })
            }
            _ => Err(Stop::Foreign),
        }
    }

    /// The least `g`. Where the source has none, a row of zeros is NaN there, and stays zero here.
    fn least(&self) -> Result<f32, Stop> {
        match (self.eps.get(), self.unbounded.get()) {
            (Some(eps), None) => Ok(eps as f32),
            (None, _) => Ok(UNBOUNDED),
            (Some(eps), Some(id)) => Err(Stop::Other(format!(
                "node `{}` scales by the largest magnitude, another by one kept above {eps}",
                self.view.node(id).label()
            ))),
        }
    }

    fn product(&self, node: &NodeProto) -> Formed {
        match self.form(&node.input[0])? {
            Form::Blend { x: None, q: Some(term) } => Ok(Form::Product(term)),
            Form::Blend { x: Some(share), q: Some(_) } => Err(Stop::Other(format!(
                "its operand `{}` is still {:.3} parts unquantised",
                node.input[0], share.factor
            ))),
            _ => Err(Stop::Foreign),
        }
    }

    /// Integer casts hold the codes exactly; other values would be cut.
    fn cast(&self, node: &NodeProto, form: Form) -> Formed {
        let to = node.int("to").and_then(|t| DataType::try_from(t as i32).ok());
        let is_float = matches!(
            to,
            Some(DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double)
        );
        let holds_codes = matches!(
            to,
            Some(DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64)
        );
        match form {
            Form::Blend { x: None, q: Some(Term::ONE) } if is_float || holds_codes => Ok(form),
            Form::Blend { .. } if is_float => {
                self.casts.set(true);
                Ok(form)
            }
            form if is_float => Ok(form),
            _ => Err(Stop::Other(format!(
                "node `{}` casts to integers what is not its codes",
                node.label()
            ))),
        }
    }

    fn peak(&self, node: &NodeProto, form: Form) -> Formed {
        let lowest = node.is("ReduceMin");
        let (factor, kept, dropped): (f64, fn(f64) -> Form, _) = match form {
            Form::Magnitude(factor) if !lowest => (factor, Form::Peak, Some(Form::Dropped(factor))),
            Form::Blend { x: Some(Term { factor, power: 0 }), q: None } if factor > 0.0 => {
                (factor, if lowest { Form::Lowest } else { Form::Highest }, None)
            }
            _ => return Err(Stop::Foreign),
        };
        let axes = self.constants.integers(node, "axes", 1);
        let made = if node.int("keepdims") == Some(0) { dropped } else { Some(kept(factor)) };
        let made = made.ok_or(Stop::Foreign);
        match axes.as_deref() {
            Some([-1]) => made,
            Some(&[axis]) if self.rank(&node.input[0]) == axis.checked_add(1) => made,
            axes => Err(Stop::Other(format!(
                "node `{}` takes the largest magnitude over axes {}, not over each row",
                node.label(),
                axes.map_or("all".into(), |a| format!("{a:?}"))
            ))),
        }
    }

    /// `Unsqueeze` of the last axis gives back the axis that a reduction without `keepdims` dropped.
    fn kept_axis(&self, node: &NodeProto, form: Formed) -> Formed {
        let axes = self.constants.integers(node, "axes", 1);
        match form? {
            Form::Dropped(factor) if axes.as_deref() == Some(&[-1]) => Ok(Form::Peak(factor)),
            _ => Err(Stop::Foreign),
        }
    }

    fn constant(&self, value: &str) -> Option<f64> {
        self.constants.value(value).ok()?.scalar()
    }

    fn rank(&self, value: &str) -> Option<i64> {
        self.view.rank(value).map(|rank| rank as i64)
    }

    /// A clip's bound; infinite where it has none, `None` where it is not constant.
    fn bound(&self, node: &NodeProto, name: &str, input: usize) -> Option<f64> {
        let open = if name == "min" { f64::NEG_INFINITY } else { f64::INFINITY };
        if let Some(bound) = node.float(name) {
            return Some(bound.into());
        }
        match node.input.get(input).filter(|v| !v.is_empty()) {
            Some(value) => self.constant(value),
            None => Some(open),
        }
    }

    fn extremum(&self, node: &NodeProto, a: Form, b: Form) -> Formed {
        let (form, bound) = match (a, b) {
            // The larger of max x and -min x is max |x|.
            (Form::Highest(high), Form::Lowest(low)) | (Form::Lowest(low), Form::Highest(high))
                if node.is("Max") && high > 0.0 && low == -high =>
            {
                return Ok(Form::Peak(high));
            }
            (Form::Scalar(Term { factor, power: 0 }), form)
            | (form, Form::Scalar(Term { factor, power: 0 })) => (form, Some(factor)),
            _ => return Err(Stop::Foreign),
        };
        match node.standard() {
            "Max" => self.clamp(node, form, bound, Some(f64::INFINITY)),
            _ => self.clamp(node, form, Some(f64::NEG_INFINITY), bound),
        }
    }

    fn clamp(&self, node: &NodeProto, form: Form, low: Option<f64>, high: Option<f64>) -> Formed {
        let (Some(low), Some(high)) = (low, high) else { return Err(Stop::Foreign) };
        let differs = |what: &str| Err(Stop::Other(format!("node `{}` {what}", node.label())));
        match form {
            Form::Peak(factor) if factor > 0.0 && low > 0.0 && high >= f64::from(f32::MAX) => {
                let eps = low / factor;
                match self.eps.replace(Some(eps)) {
                    Some(other) if other != eps => {
                        differs(&format!("keeps the scale above {eps}, another node above {other}"))
                    }
                    _ => Ok(Form::Scalar(Term { factor, power: 1 })),
                }
            }
            Form::Blend { x: None, q: Some(Term { factor, power: 0 }) }
            | Form::Blend { x: Some(Term { factor, power: -1 }), q: None } => {
                let reach = if matches!(form, Form::Blend { q: None, .. }) {
                    factor
                } else {
                    127.0 * factor
                };
                // A bound that the codes never reach may be left out, as -128 always is.
                if low <= -reach.abs() && high >= reach.abs() {
                    Ok(form)
                } else {
                    differs(&format!("clips the codes to {low}..{high}, not to -128..127"))
                }
            }
            _ => differs(&format!(
                "clips to {low}..{high} what is neither the codes nor their scale"
            )),
        }
    }

    fn round(&self, node: &NodeProto, form: Form) -> Formed {
        let differs = |what: String| {
            Err(Stop::Other(format!("node `{}` rounds {what}, not x·127/g", node.label())))
        };
        match form {
            Form::Blend { x: Some(Term { factor, power: -1 }), q: None } if near(factor, 127.0) => {
                Ok(Form::Blend { x: None, q: Some(Term::ONE) })
            }
            Form::Blend { x: Some(Term { factor, power: -1 }), q: None } => {
                differs(format!("x·{factor:.4}/g"))
            }
            Form::Blend { x: Some(Term { factor, power: 0 }), q: None } => {
                differs(format!("x·{factor:.4}, a scale that is no token's own"))
            }
            _ => Err(Stop::Foreign),
        }
    }

    fn add(&self, node: &NodeProto, a: Form, b: Form) -> Formed {
        match (a, b) {
            (Form::Scalar(a), Form::Scalar(b)) if a.power == b.power => {
                Ok(Form::Scalar(Term { factor: a.factor + b.factor, power: a.power }))
            }
            (Form::Blend { x: xa, q: qa }, Form::Blend { x: xb, q: qb }) => {
                Ok(Form::Blend { x: sum(xa, xb)?, q: sum(qa, qb)? })
            }
            (Form::Peak(_), Form::Scalar(eps)) | (Form::Scalar(eps), Form::Peak(_)) => {
                Err(Stop::Other(format!(
                    "node `{}` adds {} to the largest magnitude instead of keeping it above",
                    node.label(),
                    eps.factor
                )))
            }
            (Form::Blend { .. }, Form::Scalar(by)) | (Form::Scalar(by), Form::Blend { .. }) => {
                Err(Stop::Other(format!(
                    "node `{}` shifts the activation by {}: a zero point or another rounding",
                    node.label(),
                    by.factor
                )))
            }
            _ => Err(Stop::Foreign),
        }
    }
}

impl Term {
    const ONE: Term = Term { factor: 1.0, power: 0 };

    fn times(self, other: Term) -> Term {
        Term { factor: self.factor * other.factor, power: self.power + other.power }
    }

    fn inverse(self) -> Term {
        Term { factor: 1.0 / self.factor, power: -self.power }
    }
}

fn scale(form: Form, by: Term) -> Formed {
    let times = |term: Option<Term>| term.map(|t| t.times(by));
    Ok(match form {
        Form::Scalar(term) => Form::Scalar(term.times(by)),
        Form::Blend { x, q } => Form::Blend { x: times(x), q: times(q) },
        Form::Product(term) => Form::Product(term.times(by)),
        Form::Peak(factor) if by.power == 0 => Form::Peak(factor * by.factor),
        Form::Magnitude(factor) if by.power == 0 => Form::Magnitude(factor * by.factor),
        Form::Highest(factor) if by.power == 0 => Form::Highest(factor * by.factor),
        Form::Lowest(factor) if by.power == 0 => Form::Lowest(factor * by.factor),
        Form::Peak(_)
        | Form::Dropped(_)
        | Form::Magnitude(_)
        | Form::Highest(_)
        | Form::Lowest(_) => return Err(Stop::Foreign),
    })
}

fn magnitude(form: Form) -> Formed {
    match form {
        Form::Blend { x: Some(Term { factor, power: 0 }), q: None } => {
            Ok(Form::Magnitude(factor.abs()))
        }
        _ => Err(Stop::Foreign),
    }
}

/// The sum of two terms; what cancels is absent.
fn sum(a: Option<Term>, b: Option<Term>) -> Result<Option<Term>, Stop> {
    match (a, b) {
        (Some(a), Some(b)) if a.power != b.power => Err(Stop::Foreign),
        (Some(a), Some(b)) => {
            let factor = a.factor + b.factor;
            Ok((!near(a.factor, -b.factor)).then_some(Term { factor, power: a.power }))
        }
        (one, other) => Ok(one.or(other)),
    }
}

/// Equal up to the rounding of a few f32 operations.
fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}
