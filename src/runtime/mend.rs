//! Operators of tract's that are not right for every model, mended.

use super::{composite::TRACT, key::OPEN};
use std::sync::LazyLock;
use tract_core::ops::{cast::cast, einsum::EinSum, math};
use tract_hir::{
    internal::*,
    ops::{array::ConstantOfShape, logic::wire_with_rank_broadcast},
};
use tract_onnx::{
    Onnx,
    model::{OnnxOpRegister, ParsingContext},
    pb::NodeProto,
};

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Puts the mended operators in the place of tract's.
pub(super) fn register(onnx: &mut Onnx) {
    onnx.op_register.insert("Gemm", gemm);
    onnx.op_register.insert("Cast", cast_to);
    onnx.op_register.insert("ConstantOfShape", constant_of_shape);
    onnx.op_register.insert("ReduceMax", |c, n| rewired(c, n, Extreme));
    onnx.op_register.insert("ReduceMean", reduce_all);
    onnx.op_register.insert("ReduceMin", |c, n| rewired(c, n, Extreme));
    onnx.op_register.insert("ReduceSum", reduce_all);
}

/// tract's own operators.
static STOCK: LazyLock<OnnxOpRegister> = LazyLock::new(|| tract_onnx::onnx().op_register);

/// tract's own operator for a node.
fn stock(context: &ParsingContext, node: &NodeProto) -> Built {
    let build = STOCK.0.get(&node.op_type).context("tract has no such operator")?;
    build(context, node)
}

/// tract's own operator for a node, wired in another way.
fn rewired(context: &ParsingContext, node: &NodeProto, wiring: impl Wiring) -> Built {
    let (op, captured) = stock(context, node)?;
    match op.as_op().downcast_ref::<Box<dyn Expansion>>().cloned() {
        Some(inner) => Ok((expand(Rewired { inner, wiring }), captured)),
        None => Ok((op, captured)),
    }
}

/// What to wire around one of tract's operators.
trait Wiring: std::fmt::Debug + Clone + Send + Sync + 'static {
    /// Wires the operator, and what it needs before and after it.
    fn wire(&self, site: Site) -> TractResult<TVec<OutletId>>;
}

/// One of tract's operators, and where to wire it.
struct Site<'a> {
    inner: &'a dyn Expansion,
    prefix: &'a str,
    model: &'a mut TypedModel,
    inputs: &'a [OutletId],
}

#[derive(Debug, Clone)]
struct Rewired<W> {
    inner: Box<dyn Expansion>,
    wiring: W,
}

impl<W: Wiring> Expansion for Rewired<W> {
    fn name(&self) -> StaticName {
        self.inner.as_ref().name()
    }

    fn nboutputs(&self) -> TractResult<usize> {
        self.inner.as_ref().nboutputs()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        self.inner.as_ref().rules(s, inputs, outputs)
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        self.wiring.wire(Site { inner: self.inner.as_ref(), prefix, model, inputs })
    }
}

/// `alpha · op(A) · op(B) + beta · C` in any float type; tract multiplies by constants of f32.
fn gemm(_: &ParsingContext, node: &NodeProto) -> Built {
    let gemm = Gemm {
        alpha: node.get_attr_opt("alpha")?.unwrap_or(1.0),
        beta: node.get_attr_opt("beta")?.unwrap_or(1.0),
        trans_a: node.get_attr_opt("transA")?.unwrap_or(false),
        trans_b: node.get_attr_opt("transB")?.unwrap_or(false),
    };
    Ok((expand(gemm), vec![]))
}

#[derive(Debug, Clone)]
struct Gemm {
    alpha: f32,
    beta: f32,
    trans_a: bool,
    trans_b: bool,
}

impl Expansion for Gemm {
    fn name(&self) -> StaticName {
        "Gemm".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let ([a, b, ..], [y]) = (inputs, outputs) else { bail!("Gemm takes two or three inputs") };
        for value in [a, b, y] {
            s.equals(&value.rank, 2)?;
        }
        for value in inputs {
            s.equals(&value.datum_type, &y.datum_type)?;
        }
        let (k_of_a, m_of_a) = if self.trans_a { (0, 1) } else { (1, 0) };
        let (n_of_b, k_of_b) = if self.trans_b { (0, 1) } else { (1, 0) };
        s.equals(&a.shape[m_of_a], &y.shape[0])?;
        s.equals(&a.shape[k_of_a], &b.shape[k_of_b])?;
        s.equals(&b.shape[n_of_b], &y.shape[1])
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let datum_type = model.outlet_fact(inputs[0])?.datum_type;
        let axes = AxesMapping::for_numpy_matmul(2, self.trans_a, self.trans_b, false)?;
        let product = EinSum::new(axes, datum_type);
        let product = model.wire_node(format!("{prefix}.ab"), product, &inputs[..2])?[0];
        let y = scaled(&format!("{prefix}.alpha"), model, product, self.alpha)?;
        match inputs.get(2) {
            None => Ok(tvec!(y)),
            Some(&c) => {
                let c = scaled(&format!("{prefix}.beta"), model, c, self.beta)?;
                wire_with_rank_broadcast(format!("{prefix}.add"), model, math::add(), &[y, c])
            }
        }
    }
}

/// The value times a number, in its own type.
fn scaled(
    name: &str,
    model: &mut TypedModel,
    value: OutletId,
    factor: f32,
) -> TractResult<OutletId> {
    if factor == 1.0 {
        return Ok(value);
    }
    let datum_type = model.outlet_fact(value)?.datum_type;
    let factor = tensor0(factor).cast_to_dt(datum_type)?.into_owned();
    let factor = model.add_const(format!("{name}.factor"), factor)?;
    Ok(wire_with_rank_broadcast(name, model, math::mul(), &[value, factor])?[0])
}

/// `ConstantOfShape`, of f32 where it has no value; tract takes f64.
fn constant_of_shape(context: &ParsingContext, node: &NodeProto) -> Built {
    match node.attribute.is_empty() {
        true => Ok((expand(ConstantOfShape::new(rctensor0(0f32))), vec![])),
        false => stock(context, node),
    }
}

/// `Cast`, to 64-bit integers as such where no shape is open, and for recipes. tract makes its symbolic
/// ones of them, which open shapes need and several of its operators do not take.
fn cast_to(context: &ParsingContext, node: &NodeProto) -> Built {
    if node.get_attr::<DatumType>("to")? != DatumType::I64 {
        return stock(context, node);
    }
    match node.domain == TRACT || context.template.symbols.get(OPEN).is_none() {
        true => Ok((Box::new(cast(DatumType::I64)), vec![])),
        false => Ok((expand(OpenCast), vec![])),
    }
}

/// A cast to 64-bit integers where shapes are open: to symbolic ones, but of floats, which tract would take
/// through 32 bits on that way, and cut what is larger.
#[derive(Debug, Clone)]
struct OpenCast;

impl OpenCast {
    fn to(from: DatumType) -> DatumType {
        if from.is_float() { DatumType::I64 } else { DatumType::TDim }
    }
}

impl Expansion for OpenCast {
    fn name(&self) -> StaticName {
        "Cast".into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 1)?;
        check_output_arity(outputs, 1)?;
        s.equals(&outputs[0].rank, &inputs[0].rank)?;
        s.equals(&outputs[0].shape, &inputs[0].shape)?;
        s.given(&inputs[0].datum_type, move |s, from| {
            s.equals(&outputs[0].datum_type, OpenCast::to(from))
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let from = model.outlet_fact(inputs[0])?.datum_type;
        model.wire_node(prefix, cast(OpenCast::to(from)), inputs)
    }
}

/// A sum or mean over every axis, accumulated in f64. A ternary weight's scale is one, and an error
/// in it changes codes.
fn reduce_all(context: &ParsingContext, node: &NodeProto) -> Built {
    let axes = node.input.get(1).is_some_and(|axes| !axes.is_empty());
    let axes = axes || node.attribute.iter().any(|a| a.name == "axes");
    let all = !axes && node.get_attr_opt::<i64>("noop_with_empty_axes")?.unwrap_or(0) == 0;
    if all { rewired(context, node, Accurate) } else { stock(context, node) }
}

/// An operator of one input, computed in f64.
#[derive(Debug, Clone)]
struct Accurate;

impl Wiring for Accurate {
    fn wire(&self, site: Site) -> TractResult<TVec<OutletId>> {
        let Site { inner, prefix, model, inputs } = site;
        let datum_type = model.outlet_fact(inputs[0])?.datum_type;
        if datum_type != DatumType::F32 {
            return inner.wire(prefix, model, inputs);
        }
        let wide = model.wire_node(format!("{prefix}.wide"), cast(DatumType::F64), inputs)?;
        let wide = inner.wire(prefix, model, &wide)?;
        model.wire_node(format!("{prefix}.narrow"), cast(datum_type), &wide)
    }
}

/// The largest or smallest of some elements. Bools are taken as bytes, and floats by halves: tract begins
/// with the least finite number, which twice is the infinity that it does not know.
#[derive(Debug, Clone)]
struct Extreme;

impl Wiring for Extreme {
    fn wire(&self, site: Site) -> TractResult<TVec<OutletId>> {
        let Site { inner, prefix, model, inputs } = site;
        let datum_type = model.outlet_fact(inputs[0])?.datum_type;
        let wide = match datum_type {
            DatumType::Bool => DatumType::U8,
            // The least numbers of 16 bits have no half of that size.
            DatumType::F16 => DatumType::F32,
            other => other,
        };
        let mut inputs: TVec<OutletId> = inputs.into();
        inputs[0] = model.wire_node(format!("{prefix}.wide"), cast(wide), &inputs[..1])?[0];
        let (half, whole) = if wide.is_float() { (0.5, 2.0) } else { (1.0, 1.0) };
        inputs[0] = scaled(&format!("{prefix}.half"), model, inputs[0], half)?;
        let made = inner.wire(prefix, model, &inputs)?[0];
        let made = scaled(&format!("{prefix}.whole"), model, made, whole)?;
        model.wire_node(format!("{prefix}.narrow"), cast(datum_type), &[made])
    }
}
