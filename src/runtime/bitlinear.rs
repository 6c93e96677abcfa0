//! `bitonnx::BitLinear` as an operator of tract's.
//!
//! ```text
//! node ─ build ─► Declared ─ wire ─► Quantize ─ BitLinear ─ declutter ─► with a norm and a bias
//! ```
//!
//! Codes and scale are constants, and become attributes of the operator, as does a bias that is added.

use super::{
    packed,
    quantize::{self, Quantize},
    threads,
};
use crate::kernels::{Element, Kernel, Product, Weights};
use half::f16;
use tract_core::ops::{binary::TypedBinOp, math};
use tract_hir::internal::*;
use tract_onnx::{model::ParsingContext, pb::NodeProto};

/// The operator's name in ONNX.
pub(super) const NAME: &str = "BitLinear";

/// Reads a node, for tract's registry of ONNX operators.
pub(super) fn build(
    _: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    ensure!(
        node.domain == super::DOMAIN,
        "BitLinear is of domain `{}`, not `{}`",
        super::DOMAIN,
        node.domain
    );
    let k: usize = node.get_attr("in_features")?;
    let eps: f32 = node.get_attr_opt("eps")?.unwrap_or(1e-5);
    ensure!(k > 0, "BitLinear: in_features is 0");
    ensure!(eps > 0.0 && eps.is_finite(), "BitLinear: eps is {eps}");
    Ok((expand(Declared { k, eps }), vec![]))
}

/// The node, before types and shapes are known: X `[..., k]`, codes `[n, ceil(k/4)]`, scale `[1]` or `[n]`.
#[derive(Debug, Clone)]
struct Declared {
    k: usize,
    eps: f32,
}

impl Expansion for Declared {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        check_input_arity(inputs, 3)?;
        check_output_arity(outputs, 1)?;
        let [x, codes, scale] = [&inputs[0], &inputs[1], &inputs[2]];
        let y = &outputs[0];
        s.equals(&x.datum_type, &y.datum_type)?;
        s.equals(&codes.datum_type, u8::datum_type())?;
        s.equals(&codes.rank, 2)?;
        s.equals(&codes.shape[1], self.k.div_ceil(4).to_dim())?;
        s.equals(&scale.datum_type, f32::datum_type())?;
        s.equals(&scale.rank, 1)?;
        s.equals(&x.rank, &y.rank)?;
        s.given(&x.rank, move |s, rank| {
            let Some(last) = (rank as usize).checked_sub(1) else {
                bail!("BitLinear: X is a scalar")
            };
            for axis in 0..last {
                s.equals(&x.shape[axis], &y.shape[axis])?;
            }
            s.equals(&x.shape[last], self.k.to_dim())?;
            s.equals(&y.shape[last], &codes.shape[0])
        })
    }

    fn wire(
        &self,
        prefix: &str,
        model: &mut TypedModel,
        inputs: &[OutletId],
    ) -> TractResult<TVec<OutletId>> {
        let constant = |slot: usize, what: &str| -> TractResult<Arc<Tensor>> {
            let constant = model.outlet_fact(inputs[slot])?.konst.clone();
            constant.with_context(|| {
                format!("BitLinear `{prefix}`: its {what} must be an initializer, not computed")
            })
        };
        let (codes, scale) = (constant(1, "codes")?, constant(2, "scale")?);
        ensure!(codes.rank() == 2, "BitLinear `{prefix}`: codes have shape {:?}", codes.shape());
        let n = codes.shape()[0];
        ensure!(
            scale.len() == 1 || scale.len() == n,
            "BitLinear `{prefix}`: {} scales for {n} outputs",
            scale.len()
        );
        let codes = codes.try_as_plain_ram()?.as_slice()?;
        let (weights, kernel) = (packed::ternary(codes, n, self.k)?, Kernel::from_env()?);
        let quantize = Quantize { k: self.k, eps: self.eps.to_bits(), norm: None, kernel };
        let rows = model.wire_node(format!("{prefix}.quantize"), quantize, &inputs[..1])?;
        model.wire_node(prefix, BitLinear { weights, scale, bias: None, kernel }, &rows)
    }
}

/// `y = x·Wᵀ + bias`: x `[..., k]` as [`Quantize`] makes it, y `[..., n]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BitLinear {
    weights: Arc<Weights>,
    scale: Arc<Tensor>,
    /// Of x's type, `n` elements.
    bias: Option<Arc<Tensor>>,
    kernel: Kernel,
}

impl BitLinear {
    fn run<T: Element + Datum>(&self, x: &Tensor) -> TractResult<Tensor> {
        let (m, n, k) = (x.len() / self.weights.k(), self.weights.n(), self.weights.k());
        let mut shape: TVec<usize> = x.shape().into();
        *shape.last_mut().context("BitLinear on a scalar")? = n;
        let mut y = Tensor::zero_dt(T::datum_type(), &shape)?;
        let bias = self.bias.as_ref().map(|bias| bias.try_as_plain_ram()?.as_slice::<T>());
        let (scale, bias) = (self.scale.try_as_plain_ram()?.as_slice()?, bias.transpose()?);
        let x = quantize::activations(x)?;
        let product = Product::new(self.kernel, x, &self.weights, scale, bias)?;
        let mut plain = y.try_as_plain_ram_mut()?;
        let tasks = product.split(plain.as_slice_mut()?, PARTS * threads::count())?;
        threads::for_each(tasks, m * n * k / OPERATIONS_PER_ELEMENT, |task| {
            task.run();
            Ok(())
        })?;
        Ok(y)
    }
}

/// Tasks per thread: enough to even out threads that are slowed down, few enough to stay long.
const PARTS: usize = 2;

/// tract measures work in elements. One element of its costs about what these many products do.
const OPERATIONS_PER_ELEMENT: usize = 64;

impl Op for BitLinear {
    fn name(&self) -> StaticName {
        NAME.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let bias = if self.bias.is_some() { ", bias" } else { "" };
        Ok(vec![format!("{:?}{bias}, kernel: {}", self.weights, self.kernel.name())])
    }

    op_as_typed_op!();
}

impl EvalOp for BitLinear {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        let y = match x.datum_type() {
            DatumType::F16 => self.run::<f16>(&x)?,
            _ => self.run::<f32>(&x)?,
        };
        Ok(tvec!(y.into_tvalue()))
    }
}

impl TypedOp for BitLinear {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let mut shape = inputs[0].shape.clone();
        shape.set(shape.rank() - 1, self.weights.n().to_dim());
        Ok(tvec!(inputs[0].datum_type.fact(shape)))
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        let products = inputs[0].shape.volume() * self.weights.n();
        Ok(tvec!(
            (Cost::FMA(i8::datum_type()), products),
            (Cost::Params(u8::datum_type()), self.weights.bytes().to_dim())
        ))
    }

    /// Takes in a constant bias that alone reads the product.
    fn declutter(
        &self,
        model: &TypedModel,
        node: &TypedNode,
    ) -> TractResult<Option<TypedModelPatch>> {
        rule_if!(self.bias.is_none() && !model.outputs.contains(&node.id.into()));
        rule_if_some!(add = model.single_succ(node.id)?);
        rule_if!(add.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<math::Add>()));
        rule_if_some!(other = add.inputs.iter().find(|i| i.node != node.id));
        rule_if_some!(bias = model.outlet_fact(*other)?.konst.clone());
        let fact = model.outlet_fact(node.id.into())?;
        let along_last = bias.shape().last() == Some(&bias.len()) && bias.len() == self.weights.n();
        let same_type = bias.datum_type() == fact.datum_type;
        rule_if!(along_last && same_type && bias.rank() <= fact.rank());
        let fused = BitLinear { bias: Some(bias), ..self.clone() };
        TypedModelPatch::fuse_with_next(model, node, fused).map(Some)
    }

    as_op!();
}
