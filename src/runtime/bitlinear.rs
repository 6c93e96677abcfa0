//! `bitonnx.BitLinear` as an operator of tract's.
//!
//! ```text
//! node ─ build ─► Declared ─ wire ─► BitLinear ─ declutter ─► with bias and norm ─ codegen ─► Packed
//! ```
//!
//! Codes and scale are constants, and become attributes of the operator: tract sees one input. So do a
//! bias that is added and a norm (SubLN) that comes before.

use super::{
    norm::{self, Norm},
    packed, threads,
};
use crate::{
    kernels::{self, Activations, Element, Kernel, Product, Weights},
    operator::{self, Codes},
    proto,
};
use half::f16;
use prost::Message as _;
use std::fmt;
use tract_core::ops::{binary::TypedBinOp, math};
use tract_hir::internal::*;
use tract_onnx::{model::ParsingContext, pb::NodeProto};

/// Reads a node, for tract's registry of ONNX operators.
pub(super) fn build(
    _: &ParsingContext,
    node: &NodeProto,
) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let node = proto::NodeProto::decode(&*node.encode_to_vec())?;
    let schema = operator::BitLinear::read(&node).map_err(|why| format_err!("{why}"))?;
    Ok((expand(Declared(schema)), vec![]))
}

/// The node, before types and shapes are known: X `[..., k]`, codes `[n, ceil(k/4)]`, scale `[1]` or `[n]`.
#[derive(Debug, Clone)]
struct Declared(operator::BitLinear);

impl Expansion for Declared {
    fn name(&self) -> StaticName {
        operator::BitLinear::NAME.into()
    }

    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        s: &mut Solver<'r>,
        inputs: &'p [TensorProxy],
        outputs: &'p [TensorProxy],
    ) -> InferenceResult {
        let [x, codes, scale] = inputs else { bail!("BitLinear takes three inputs") };
        let (y, k) = (&outputs[0], self.0.in_features);
        s.equals(&x.datum_type, &y.datum_type)?;
        s.equals(&codes.datum_type, u8::datum_type())?;
        s.equals(&codes.rank, 2)?;
        s.equals(&codes.shape[1], Codes::row_bytes(k).to_dim())?;
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
            s.equals(&x.shape[last], k.to_dim())?;
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
        let operator::BitLinear { in_features: k, eps } = self.0;
        let n = (self.0.outputs(codes.shape(), scale.shape()))
            .map_err(|why| format_err!("BitLinear `{prefix}`: {why}"))?;
        let terms = Terms { n, k, eps: eps.to_bits(), scale, norm: None, bias: None };
        let op = BitLinear { terms, codes };
        model.wire_node(prefix, op, &inputs[..1])
    }
}

/// `y = BitLinear(norm(x)) + bias`, x `[..., k]`, y `[..., n]`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct BitLinear {
    terms: Terms,
    codes: Arc<Tensor>,
}

/// All of a BitLinear but its codes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Terms {
    n: usize,
    k: usize,
    /// The bits of an f32.
    eps: u32,
    scale: Arc<Tensor>,
    /// What x goes through before it is quantised.
    norm: Option<Norm>,
    /// Of x's type, `n` elements.
    bias: Option<Arc<Tensor>>,
}

impl Terms {
    fn info(&self) -> String {
        let norm = if self.norm.is_some() { ", norm" } else { "" };
        let bias = if self.bias.is_some() { ", bias" } else { "" };
        format!("n: {}, k: {}{norm}{bias}", self.n, self.k)
    }

    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let [x] = inputs else { bail!("BitLinear takes one input, not {}", inputs.len()) };
        let floats = [DatumType::F32, DatumType::F16];
        let (datum_type, k) = (x.datum_type, self.k);
        ensure!(floats.contains(&datum_type), "BitLinear on {datum_type:?}; it takes f32 and f16");
        ensure!(
            x.shape.last() == Some(&k.to_dim()),
            "BitLinear: X is {x:?}, its last axis is not {k}"
        );
        let mut shape = x.shape.clone();
        shape.set(x.rank() - 1, self.n.to_dim());
        Ok(tvec!(datum_type.fact(shape)))
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TVec<(Cost, TDim)> {
        let rows: TDim = inputs[0].shape.iter().rev().skip(1).product();
        tvec!(
            (Cost::FMA(i8::datum_type()), rows * self.n * self.k),
            (Cost::Params(u8::datum_type()), (self.n * Codes::row_bytes(self.k)).to_dim())
        )
    }
}

impl Op for BitLinear {
    fn name(&self) -> StaticName {
        operator::BitLinear::NAME.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![self.terms.info()])
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for BitLinear {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Packed::new(self)?.run(&mut Scratch::default(), &inputs)
    }
}

impl TypedOp for BitLinear {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.terms.output_facts(inputs)
    }

    fn axes_mapping(&self, inputs: &[&TypedFact], _: &[&TypedFact]) -> TractResult<AxesMapping> {
        let leading: String = ('a'..).take(inputs[0].rank().saturating_sub(1)).collect();
        AxesMapping::from_strs(&[format!("{leading}y")], &[format!("{leading}z")])
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(self.terms.cost(inputs))
    }

    /// Takes in what comes before and after.
    fn declutter(
        &self,
        model: &TypedModel,
        node: &TypedNode,
    ) -> TractResult<Option<TypedModelPatch>> {
        match self.with_norm(model, node)? {
            Some(patch) => Ok(Some(patch)),
            None => self.with_bias(model, node),
        }
    }

    fn codegen(
        &self,
        model: &TypedModel,
        node: &TypedNode,
    ) -> TractResult<Option<TypedModelPatch>> {
        let packed = Packed::new(self)?;
        TypedModelPatch::replace_single_op(model, node, &node.inputs, packed).map(Some)
    }

    as_op!();
}

impl BitLinear {
    /// Takes in a norm that only BitLinears read.
    fn with_norm(
        &self,
        model: &TypedModel,
        node: &TypedNode,
    ) -> TractResult<Option<TypedModelPatch>> {
        let value = node.inputs[0];
        rule_if!(self.terms.norm.is_none() && !model.outputs.contains(&value));
        let mut readers = model.outlet_successors(value).iter().map(|r| model.node(r.node));
        rule_if!(readers.all(|reader| reader.op_is::<BitLinear>()));
        rule_if_some!((norm, source) = norm::norm(model, value, self.terms.k)?);
        let terms = Terms { norm: Some(norm), ..self.terms.clone() };
        let fused = BitLinear { terms, codes: self.codes.clone() };
        TypedModelPatch::replace_single_op(model, node, &[source], fused).map(Some)
    }

    /// Takes in a constant bias that alone reads the product.
    fn with_bias(
        &self,
        model: &TypedModel,
        node: &TypedNode,
    ) -> TractResult<Option<TypedModelPatch>> {
        rule_if!(self.terms.bias.is_none() && !model.outputs.contains(&node.id.into()));
        rule_if_some!(add = model.single_succ(node.id)?);
        rule_if!(add.op_as::<TypedBinOp>().is_some_and(|op| op.0.is::<math::Add>()));
        rule_if_some!(other = add.inputs.iter().find(|i| i.node != node.id));
        rule_if_some!(bias = model.outlet_fact(*other)?.konst.clone());
        let fact = model.outlet_fact(node.id.into())?;
        let n = self.terms.n;
        let along_last = bias.shape().last() == Some(&n) && bias.len() == n;
        let same_type = bias.datum_type() == fact.datum_type;
        rule_if!(along_last && same_type && bias.rank() <= fact.rank());
        let terms = Terms { bias: Some(bias), ..self.terms.clone() };
        let fused = BitLinear { terms, codes: self.codes.clone() };
        TypedModelPatch::fuse_with_next(model, node, fused).map(Some)
    }
}

/// [`BitLinear`] with its weights in the kernels' layout.
#[derive(Clone)]
struct Packed {
    terms: Terms,
    kernel: Kernel,
    weights: Arc<Weights>,
}

impl Packed {
    fn new(declared: &BitLinear) -> TractResult<Packed> {
        let (terms, codes) = (declared.terms.clone(), declared.codes.try_as_plain_ram()?);
        let weights = packed::ternary(codes.as_slice()?, terms.n, terms.k)?;
        Ok(Packed { terms, kernel: Kernel::from_env()?, weights })
    }

    fn run(&self, scratch: &mut Scratch, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let x = inputs.first().context("BitLinear without an input")?;
        match x.datum_type() {
            DatumType::F32 => self.run_on::<f32>(scratch, x),
            DatumType::F16 => self.run_on::<f16>(scratch, x),
            other => bail!("BitLinear on {other:?}; it takes f32 and f16"),
        }
    }

    fn run_on<T: Element + Datum>(
        &self,
        scratch: &mut Scratch,
        x: &Tensor,
    ) -> TractResult<TVec<TValue>> {
        let Terms { n, k, eps, scale, norm, bias } = &self.terms;
        let mut shape: TVec<usize> = x.shape().into();
        *shape.last_mut().context("BitLinear on a scalar")? = *n;
        let mut y = Tensor::zero_dt(T::datum_type(), &shape)?;
        let x = x.try_as_plain_ram()?;
        let x = x.as_slice::<T>()?;
        let (m, kernel) = (x.len() / k, self.kernel);

        let gain = norm.as_ref().map(|norm| norm.gain.try_as_plain_ram()).transpose()?;
        let gain = gain.as_ref().map(|gain| gain.as_slice::<f32>()).transpose()?;
        let norm = norm.as_ref().zip(gain);
        let norm = norm.map(|(norm, gain)| kernels::Norm { eps: f32::from_bits(norm.eps), gain });

        let activations = &mut scratch.activations;
        let blocks = activations.resize(m, *k);
        let rows = blocks.scan(x, |rest, block| {
            let (rows, after) = rest.split_at_checked(block.rows() * k)?;
            *rest = after;
            Some((block, rows))
        });
        threads::for_each(rows.collect(), x.len(), |(block, rows)| {
            Ok(block.quantize(kernel, rows, norm, f32::from_bits(*eps))?)
        })?;

        let (scale, bias) =
            (scale.try_as_plain_ram()?, bias.as_ref().map(|b| b.try_as_plain_ram()));
        let bias = bias.transpose()?;
        let bias = bias.as_ref().map(|b| b.as_slice::<T>()).transpose()?;
        let product =
            Product::new(kernel, activations, &self.weights, scale.as_slice::<f32>()?, bias)?;
        let mut plain = y.try_as_plain_ram_mut()?;
        let tasks = product.split(plain.as_slice_mut::<T>()?, PARTS * threads::count())?;
        threads::for_each(tasks, m * n * k / OPERATIONS_PER_ELEMENT, |task| {
            task.run();
            Ok(())
        })?;
        Ok(tvec!(y.into_tvalue()))
    }
}

/// Tasks per thread: enough to even out threads that are slowed down, few enough to stay long.
const PARTS: usize = 2;

/// tract measures work in elements. One element of its costs about what these many products do.
const OPERATIONS_PER_ELEMENT: usize = 64;

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Packed({:?}, {:?})", self.terms, self.kernel)
    }
}

impl PartialEq for Packed {
    fn eq(&self, other: &Self) -> bool {
        self.terms == other.terms
            && Arc::ptr_eq(&self.weights, &other.weights)
            && self.kernel.name() == other.kernel.name()
    }
}

impl Eq for Packed {}

impl Op for Packed {
    fn name(&self) -> StaticName {
        operator::BitLinear::NAME.into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![self.terms.info(), format!("kernel: {}", self.kernel.name())])
    }

    op_as_typed_op!();
}

impl EvalOp for Packed {
    not_out_of_plan!();

    fn state(&self, _: &EvalContext) -> TractResult<Option<Box<dyn OpState>>> {
        Ok(Some(Box::new(Scratch::default())))
    }
}

impl TypedOp for Packed {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        self.terms.output_facts(inputs)
    }

    fn cost(&self, inputs: &[&TypedFact]) -> TractResult<TVec<(Cost, TDim)>> {
        Ok(self.terms.cost(inputs))
    }

    as_op!();
}

/// Memory that each run uses anew.
#[derive(Default)]
struct Scratch {
    activations: Activations,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Scratch")
    }
}

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Scratch::default()
    }
}

impl OpState for Scratch {
    fn eval(
        &mut self,
        _: &EvalContext,
        op: &dyn Op,
        inputs: TVec<TValue>,
    ) -> TractResult<TVec<TValue>> {
        let packed = op.downcast_ref::<Packed>().context("BitLinear's scratch with another op")?;
        packed.run(self, &inputs)
    }

    fn reset_lanes(&mut self, _: &[LaneId]) -> TractResult<()> {
        Ok(())
    }
}
