//! The QAT variant: float projections that `lambda` blends into ternary ones.
//!
//! `w + λ·stop(t·s - w)` and `x + λ·stop(dequant(q(x)) - x)`, where `stop(d)` is
//! `Cast<f32>(Cast<i64>(d·2^40))·2^-40`: integers carry no gradient, which makes this the straight-through
//! estimator (Bengio et al., arXiv:1308.3432) in plain ONNX.

use crate::{
    draft::{Axis, Draft, Naming, reduce},
    proto::{TensorShapeProto, TypeProto, ValueInfoProto, tensor_proto::DataType, type_proto},
    quant::Layout,
};
use std::ops::Range;

/// The graph input that blends from float (0) to quantised (1).
pub const LAMBDA: &str = "lambda";

/// The largest magnitude that a blend whose difference was cut to multiples of 2^-40 leaves of a zero.
pub(crate) const RESIDUE: f32 = 1.0 / (1u64 << 40) as f32;

/// The input as a graph declares it: a float of rank 0, without a default.
pub(crate) fn lambda_input() -> ValueInfoProto {
    use type_proto::{Tensor, Value};
    let tensor = Tensor {
        elem_type: Some(DataType::Float as i32),
        shape: Some(TensorShapeProto::default()),
    };
    ValueInfoProto {
        name: Some(LAMBDA.into()),
        r#type: Some(TypeProto { value: Some(Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}

/// `a + λ·stop(b - a)`, made under a prefix.
fn blend(prefix: &str, a: &str, b: &str) -> String {
    format!(
        "{prefix}_error = Sub ({b}, {a})
         {prefix}_grown = Mul ({prefix}_error, TWO_40)
         {prefix}_whole = Cast <to = 7> ({prefix}_grown)
         {prefix}_held = Cast <to = 1> ({prefix}_whole)
         {prefix}_stop = Mul ({prefix}_held, TWO_MINUS_40)
         {prefix}_share = Mul ({prefix}_stop, lambda)
         {prefix} = Add ({a}, {prefix}_share)"
    )
}

/// A text that reads `input` in f32, by the name of `wide`.
fn in_f32(input: &str, wide: &str, data_type: DataType, text: &str) -> String {
    match data_type {
        DataType::Float => text.replace(wide, input),
        _ => format!("{wide} = Cast <to = 1> ({input})\n{text}"),
    }
}

/// Appends the product of two blends as `y`, in this type: like BitLinear it computes in f32 and casts once.
pub(crate) fn product(draft: &mut Draft, x: &str, w: &str, y: &str, data_type: DataType) {
    let bound = [("x", x), ("w", w), ("y", y)];
    match data_type {
        DataType::Float => draft.add("y = MatMul (x, w)", &bound, Naming::Labels),
        narrow => {
            let text =
                format!("wide = MatMul (x, w)\n[narrow] y = Cast <to = {}> (wide)", narrow as i32);
            draft.add(&text, &bound, Naming::Labels)
        }
    };
}

/// Lambda in this type.
pub(crate) fn lambda_as(draft: &mut Draft, data_type: DataType) -> String {
    match data_type {
        DataType::Float => LAMBDA.to_owned(),
        narrow => draft.shared(format!("lambda {}", narrow as i32), |draft| {
            let text = format!("lambda_narrow = Cast <to = {}> (lambda)", narrow as i32);
            draft.add(&text, &[("lambda", LAMBDA)], Naming::Values)
        }),
    }
}

/// Appends the blend of an activation `[..., k]` with its int8 form, in f32, and returns what it makes.
pub(crate) fn activation(draft: &mut Draft, x: &str, data_type: DataType) -> String {
    let peak = reduce("ReduceMax", "x_magnitude", Axis::Last, draft.store.opset);
    let text = format!(
        "x_magnitude = Abs (x_wide)
         x_peak = {peak}
         x_g = Max (x_peak, EPS)
         x_factor = Div (HIGH, x_g)
         x_scaled = Mul (x_wide, x_factor)
         x_rounded = Round (x_scaled)
         x_q = Clip (x_rounded, LOW, HIGH)
         x_step = Div (x_g, HIGH)
         x_dequantized = Mul (x_q, x_step)
         {}",
        blend("x_blend", "x_wide", "x_dequantized")
    );
    let text = in_f32("x", "x_wide", data_type, &text);
    draft.add(&text, &[("x", x), ("lambda", LAMBDA)], Naming::Values)
}

/// What shares one scale.
#[derive(Debug)]
pub(crate) enum Groups {
    /// Everything.
    Tensor,
    /// Each output.
    Channel,
    /// Parts of these numbers of outputs.
    Parts(Vec<usize>),
}

impl Groups {
    /// The groups that these ranges of outputs are.
    pub fn of(rows: &[Range<usize>]) -> Self {
        match rows {
            [_] => Groups::Tensor,
            rows if rows.iter().all(|r| r.len() == 1) => Groups::Channel,
            rows => Groups::Parts(rows.iter().map(Range::len).collect()),
        }
    }
}

/// Appends the blend of a weight with its ternary form, in f32, and returns what it makes: `[k, n]`.
///
/// The mean is taken in f64, so that every engine finds the same scale, and from it the same codes.
pub(crate) fn weight(
    draft: &mut Draft,
    w: &str,
    layout: Layout,
    groups: &Groups,
    data_type: DataType,
) -> String {
    let (inputs, outputs) = match layout {
        Layout::InOut => (Axis::First, 1),
        Layout::OutIn => (Axis::Second, 0),
    };
    let rows = reduce("ReduceMean", "w_double", inputs, draft.store.opset);
    let means = match groups {
        Groups::Channel => format!("w_mean = {rows}"),
        Groups::Tensor => format!(
            "w_means = {rows}
             w_mean = ReduceMean <keepdims = 1> (w_means)"
        ),
        Groups::Parts(sizes) => {
            format!("w_means = {rows}\n{}", part_means(sizes, outputs, draft.store.opset))
        }
    };
    let text = format!(
        "w_magnitude = Abs (w_wide)
         w_double = Cast <to = 11> (w_magnitude)
         {means}
         w_single = Cast <to = 1> (w_mean)
         w_scale = Max (w_single, EPS)
         w_inverse = Div (ONE, w_scale)
         w_scaled = Mul (w_wide, w_inverse)
         w_rounded = Round (w_scaled)
         w_code = Clip (w_rounded, MINUS_ONE, ONE)
         w_dequantized = Mul (w_code, w_scale)
         {}",
        blend("w_blend", "w_wide", "w_dequantized")
    );
    let text = in_f32("w", "w_wide", data_type, &text);
    let made = draft.add(&text, &[("w", w), ("lambda", LAMBDA)], Naming::Values);
    match layout {
        Layout::InOut => made,
        Layout::OutIn => {
            let text = "w_turned = Transpose <perm = [1, 0]> (w)";
            draft.add(text, &[("w", &made)], Naming::Values)
        }
    }
}

/// From the mean of each output to the mean of its part, at each output.
fn part_means(sizes: &[usize], axis: usize, opset: i64) -> String {
    let list = |items: &mut dyn Iterator<Item = String>| items.collect::<Vec<_>>().join(", ");
    let numbers = list(&mut sizes.iter().map(usize::to_string));
    let parts = list(&mut (0..sizes.len()).map(|i| format!("w_part_{i}")));
    let spread = list(&mut (0..sizes.len()).map(|i| format!("w_part_{i}_spread")));
    let mut text = match opset {
        ..13 => format!("{parts} = Split <axis = {axis}, split = [{numbers}]> (w_means)\n"),
        _ => format!(
            "w_sizes = Constant <value = int64[{}] {{{numbers}}}> ()
             {parts} = Split <axis = {axis}> (w_means, w_sizes)\n",
            sizes.len()
        ),
    };
    for (i, size) in sizes.iter().enumerate() {
        let shape = if axis == 0 { format!("{size}, 1") } else { format!("1, {size}") };
        text += &format!(
            "w_part_{i}_mean = ReduceMean <keepdims = 1> (w_part_{i})
             w_part_{i}_shape = Constant <value = int64[2] {{{shape}}}> ()
             w_part_{i}_spread = Expand (w_part_{i}_mean, w_part_{i}_shape)\n"
        );
    }
    text + &format!("w_mean = Concat <axis = {axis}> ({spread})")
}
