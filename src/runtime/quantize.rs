//! Activations as products read them: rounded to int8 once, whoever reads them.
//!
//! ```text
//! x ─ RmsNorm ─ Mul(gain) ─┬─ Quantize ─ q_proj            x ─ Quantize(norm) ─┬─ q_proj
//!                          ├─ Quantize ─ k_proj     ⇒                          ├─ k_proj
//!                          └─ Quantize ─ v_proj                                └─ v_proj
//! ```
//!
//! Each takes in the norm before it. tract itself makes one of operators that are equal and read the same.

use super::{
    norm::{self, Norm},
    threads,
};
use crate::kernels::{self, Activations, Element, Kernel};
use half::f16;
use std::fmt;
use tract_hir::internal::*;

/// `x [..., k]`, normalised where there is a norm, each row rounded to int8.
///
/// The output has x's type and shape; what it holds is [`Activations`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quantize {
    pub k: usize,
    /// The bits of an f32.
    pub eps: u32,
    pub norm: Option<Norm>,
    pub kernel: Kernel,
}

/// What a [`Quantize`] made.
pub(super) fn activations(x: &Tensor) -> TractResult<&Activations> {
    Ok(&x.try_storage_as::<Rows>()?.0)
}

impl Quantize {
    fn rows<T: Element + Datum>(&self, x: &Tensor) -> TractResult<Rows> {
        let x = x.try_as_plain_ram()?.as_slice::<T>()?;
        let norm = self.norm.as_ref().map(|norm| -> TractResult<_> {
            let gain = norm.gain.try_as_plain_ram()?.as_slice()?;
            Ok(kernels::Norm { eps: f32::from_bits(norm.eps), gain })
        });
        let norm = norm.transpose()?;
        let mut activations = Activations::new();
        let blocks = activations.resize(x.len() / self.k, self.k);
        let tasks = blocks.scan(x, |rest, block| {
            let (rows, after) = rest.split_at_checked(block.rows() * self.k)?;
            *rest = after;
            Some((block, rows))
        });
        threads::for_each(tasks.collect(), x.len(), |(block, rows)| {
            Ok(block.quantize(self.kernel, rows, norm, f32::from_bits(self.eps))?)
        })?;
        Ok(Rows(activations))
    }
}

impl Op for Quantize {
    fn name(&self) -> StaticName {
        "Quantize".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        let norm = if self.norm.is_some() { ", norm" } else { "" };
        Ok(vec![format!("k: {}{norm}, kernel: {}", self.k, self.kernel.name())])
    }

    op_as_typed_op!();
}

impl EvalOp for Quantize {
    op_out_of_plan!();

    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let x = args_1!(inputs);
        let rows = match x.datum_type() {
            DatumType::F16 => self.rows::<f16>(&x)?,
            _ => self.rows::<f32>(&x)?,
        };
        Ok(tvec!(Tensor::from_storage(x.datum_type(), x.shape(), rows).into_tvalue()))
    }
}

impl TypedOp for Quantize {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let x = inputs[0];
        let floats = [DatumType::F32, DatumType::F16];
        ensure!(
            floats.contains(&x.datum_type),
            "BitLinear on {:?}; it takes f32 and f16",
            x.datum_type
        );
        ensure!(
            x.shape.last() == Some(&self.k.to_dim()),
            "BitLinear: X is {x:?}, its last axis is not {}",
            self.k
        );
        Ok(tvec!(x.datum_type.fact(x.shape.clone()).with_exotic_fact(RowsFact)))
    }

    /// Takes in a norm that nothing else reads.
    fn declutter(
        &self,
        model: &TypedModel,
        node: &TypedNode,
    ) -> TractResult<Option<TypedModelPatch>> {
        let value = node.inputs[0];
        rule_if!(self.norm.is_none() && !model.outputs.contains(&value));
        let mut readers = model.outlet_successors(value).iter().map(|r| model.node(r.node));
        rule_if!(readers.all(|reader| reader.op_is::<Quantize>()));
        rule_if_some!((norm, source) = norm::norm(model, value, self.k)?);
        let normalized = Quantize { norm: Some(norm), ..self.clone() };
        TypedModelPatch::replace_single_op(model, node, &[source], normalized).map(Some)
    }

    as_op!();
}

/// The content of a tensor that holds activations.
#[derive(Debug, Clone)]
struct Rows(Activations);

/// That a tensor holds activations.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RowsFact;

impl ExoticFact for RowsFact {
    fn buffer_sizes(&self) -> TVec<TDim> {
        tvec!()
    }
}

impl PartialEq for Rows {
    fn eq(&self, other: &Rows) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Rows {}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} rows of {} in int8", self.0.m(), self.0.k())
    }
}

impl TensorStorage for Rows {
    fn byte_len(&self) -> usize {
        self.0.m() * self.0.k()
    }

    fn is_empty(&self) -> bool {
        self.0.m() == 0
    }

    fn deep_clone(&self) -> Box<dyn TensorStorage> {
        Box::new(self.clone())
    }

    fn as_plain_ram(&self) -> Option<&PlainStorage> {
        None
    }

    fn as_plain_ram_mut(&mut self) -> Option<&mut PlainStorage> {
        None
    }

    fn into_plain_ram(self: Box<Self>) -> Option<PlainStorage> {
        None
    }

    fn dyn_hash(&self, state: &mut dyn std::hash::Hasher) {
        state.write_usize(self.0.m());
    }

    fn exotic_fact(&self, _: &[usize]) -> TractResult<Option<Box<dyn ExoticFact>>> {
        Ok(Some(RowsFact.into()))
    }
}
