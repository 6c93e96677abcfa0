//! Plans of a model: what tract made of it for inputs of certain shapes.
//!
//! ```text
//! shapes ─ a plan that fits? ─► run
//!            │ no                 ▲
//!            ├─ they grew ─► an open plan, verified ─┤
//!            └─ else ─► a plan for these shapes ─────┘
//! ```
//!
//! A plan takes seconds for a model of any size, and a key-value cache grows with every token. So
//! where some axes grew, all by as much, they are planned as `S + constant` with S left open. Not
//! every model works in tract with a shape left open, and not every one that seems to is right: an
//! open plan is used once it has given what the plan for fixed shapes gives, on the same inputs.

use super::{
    guard::guarded,
    lower::Lowered,
    packed::Dense,
    walk::{Feed, chain, walk},
};
use crate::error::{Error, ErrorKind, Result};
use std::collections::{HashSet, VecDeque};
use tract_hir::internal::*;

/// Plans that are kept: say, for prompts of some lengths and for a token.
const KEPT: usize = 4;

/// The least size that is left open: tract takes an open size for one that is not broadcast.
const LEAST: usize = 2;

/// How far an open plan's floats may be from those of a plan for fixed shapes, as a share of the
/// largest: other kernels sum in another order, and an activation may round to another integer.
const TOLERANCE: f32 = 5e-3;

/// The same where numbers are f16.
const TOLERANCE_F16: f32 = 2e-2;

/// What a plan depends on in one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub name: String,
    pub datum_type: DatumType,
    pub shape: Vec<usize>,
    /// The value, where the input decides which branch of an `If` runs.
    pub decision: Option<bool>,
}

/// A plan for inputs of certain shapes.
pub(super) struct Plan {
    inputs: Vec<Input>,
    /// Axes that may have other sizes than in `inputs`, all larger or smaller by the same number.
    open: Vec<Axis>,
    pub state: TypedSimpleState,
}

/// An input, and an axis of it.
pub(super) type Axis = (usize, usize);

/// The plans of one model.
#[derive(Default)]
pub(super) struct Plans {
    /// The one used last comes first.
    kept: VecDeque<Plan>,
    /// Axes that can't be left open.
    closed: HashSet<Vec<Axis>>,
    dense: Dense,
}

impl Plans {
    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Takes out the plan used last.
    pub fn take(&mut self) -> Option<Plan> {
        self.kept.pop_front()
    }

    /// Keeps a plan as the one used last.
    pub fn keep(&mut self, plan: Plan) {
        self.kept.truncate(KEPT - 1);
        self.kept.push_front(plan);
    }

    /// Makes a plan for these inputs the one used last. `values` gives their values.
    pub fn prepare(
        &mut self,
        lowered: &Lowered,
        wanted: &[Input],
        values: impl FnOnce() -> TVec<Tensor>,
    ) -> Result<()> {
        let fitting = self.kept.iter().position(|plan| plan.fits(wanted));
        let plan = match fitting.and_then(|index| self.kept.remove(index)) {
            Some(plan) => plan,
            None => match self.open(lowered, wanted, values) {
                Some(plan) => plan,
                None => plan(lowered, &self.dense, wanted.to_vec(), vec![])?,
            },
        };
        self.keep(plan);
        Ok(())
    }

    /// An open plan in the place of one for smaller inputs, if it does the same.
    fn open(
        &mut self,
        lowered: &Lowered,
        wanted: &[Input],
        values: impl FnOnce() -> TVec<Tensor>,
    ) -> Option<Plan> {
        let (index, axes) = self.kept.iter().enumerate().find_map(|(index, plan)| {
            let (axes, growth) = difference(&plan.inputs, wanted)?;
            let may = growth > 0 && plan.open.is_empty() && least(&plan.inputs, &axes) >= LEAST;
            (may && !self.closed.contains(&axes)).then_some((index, axes))
        })?;
        // Until it is shown to be right.
        self.closed.insert(axes.clone());
        let inputs = self.kept[index].inputs.clone();
        let values = cut(values(), &inputs).ok()?;
        let mut open = plan(lowered, &self.dense, inputs, axes.clone()).ok()?;
        let given = open.give(&values)?;
        // A plan that fails half way is not used again.
        let mut fixed = self.kept.remove(index)?;
        if !agree(&fixed.give(&values)?, &given) {
            self.kept.insert(index, fixed);
            return None;
        }
        self.closed.remove(&axes);
        Some(open)
    }

    /// Drops a plan that failed. The axes that it left open, if any, are left open no more.
    pub fn close(&mut self, failed: Plan) -> Option<Vec<Axis>> {
        let axes = Some(failed.open).filter(|axes| !axes.is_empty())?;
        self.closed.insert(axes.clone());
        Some(axes)
    }

    /// Axes may be left open again.
    pub fn reopen(&mut self, axes: &[Axis]) {
        self.closed.remove(axes);
    }
}

impl Plan {
    fn fits(&self, wanted: &[Input]) -> bool {
        difference(&self.inputs, wanted).is_some_and(|(axes, _)| {
            axes.is_empty() || axes == self.open && least(wanted, &axes) >= LEAST
        })
    }

    /// The outputs for these values; `None` where it fails.
    fn give(&mut self, values: &TVec<TValue>) -> Option<TVec<TValue>> {
        let run = || self.state.run(values.clone()).map_err(|e| failed("the plan failed", &e));
        guarded(run).ok()
    }
}

/// The axes that have other sizes in `b` than in `a`, and how much larger those are: the same for all
/// of them. `None` where they are not, or where anything else differs.
fn difference(a: &[Input], b: &[Input]) -> Option<(Vec<Axis>, isize)> {
    let alike = |a: &Input, b: &Input| {
        let kind = (&a.name, a.datum_type, a.decision, a.shape.len());
        kind == (&b.name, b.datum_type, b.decision, b.shape.len())
    };
    if a.len() != b.len() || !a.iter().zip(b).all(|(a, b)| alike(a, b)) {
        return None;
    }
    let (mut axes, mut growths) = (Vec::new(), HashSet::new());
    for (input, (a, b)) in a.iter().zip(b).enumerate() {
        for (axis, (&a, &b)) in
            a.shape.iter().zip(&b.shape).enumerate().filter(|(_, (a, b))| a != b)
        {
            axes.push((input, axis));
            growths.insert(b as isize - a as isize);
        }
    }
    (growths.len() < 2).then(|| (axes, growths.into_iter().next().unwrap_or_default()))
}

/// The smallest size of these axes.
fn least(inputs: &[Input], axes: &[Axis]) -> usize {
    axes.iter().map(|&(input, axis)| inputs[input].shape[axis]).min().unwrap_or_default()
}

/// Plans the model for these inputs, with some axes left open.
fn plan(lowered: &Lowered, dense: &Dense, inputs: Vec<Input>, open: Vec<Axis>) -> Result<Plan> {
    guarded(|| {
        let symbols = SymbolScope::default();
        let model = walk(lowered, feeds(&inputs, &open, &symbols), symbols)?;
        let state = optimized(model, dense)
            .and_then(|m| m.into_runnable())
            .and_then(|plan| plan.spawn())
            .map_err(|e| failed("the model can't be planned for these inputs", &e))?;
        Ok(Plan { inputs, open, state })
    })
}

/// What tract's `into_optimized` does, with packed matrices shared.
fn optimized(model: InferenceModel, dense: &Dense) -> TractResult<TypedModel> {
    let mut model = model.into_typed()?.into_decluttered()?;
    model.optimize_with_session(&mut dense.optimizer().session())?;
    Ok(model)
}

fn feeds<'i>(inputs: &'i [Input], open: &[Axis], symbols: &SymbolScope) -> Vec<Feed<'i>> {
    let least = least(inputs, open);
    let size = |input: usize, axis: usize, size: usize| match open.contains(&(input, axis)) {
        true => symbols.sym("S").to_dim() + (size - least),
        false => size.to_dim(),
    };
    let of = |(index, input): (usize, &'i Input)| {
        let shape = input.shape.iter().enumerate().map(|(axis, n)| size(index, axis, *n));
        let shape: TVec<TDim> = shape.collect();
        Feed {
            name: input.name.as_str().into(),
            fact: InferenceFact::dt_shape(input.datum_type, &*shape),
            decision: input.decision,
        }
    };
    inputs.iter().enumerate().map(of).collect()
}

/// The values, cut to the sizes of these inputs, which are no larger.
fn cut(values: TVec<Tensor>, inputs: &[Input]) -> TractResult<TVec<TValue>> {
    let one = |(value, input): (Tensor, &Input)| {
        let mut sizes = input.shape.iter().enumerate();
        let cut = sizes.try_fold(value, |value, (axis, &size)| match value.shape()[axis] == size {
            true => Ok(value),
            false => value.slice(axis, 0, size),
        });
        cut.map(Tensor::into_tvalue)
    };
    values.into_iter().zip(inputs).map(one).collect()
}

/// Whether two plans gave the same.
fn agree(a: &[TValue], b: &[TValue]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| close(a, b).unwrap_or(false))
}

/// Whether two results are the same: integers and what is not finite exactly, floats nearly.
fn close(a: &Tensor, b: &Tensor) -> TractResult<bool> {
    if a.datum_type() != b.datum_type() || a.shape() != b.shape() {
        return Ok(false);
    }
    if !a.datum_type().is_float() {
        return Ok(a == b);
    }
    let tolerance = if a.datum_type() == DatumType::F16 { TOLERANCE_F16 } else { TOLERANCE };
    let (a, b) = (a.cast_to::<f32>()?, b.cast_to::<f32>()?);
    let (a, b) = (a.to_plain_array_view::<f32>()?, b.to_plain_array_view::<f32>()?);
    let largest = a.iter().filter(|a| a.is_finite()).fold(0f32, |most, a| most.max(a.abs()));
    let same = |a: f32, b: f32| a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan();
    let near = |a: f32, b: f32| (a - b).abs() <= tolerance * largest;
    Ok(a.iter().zip(&b).all(|(&a, &b)| same(a, b) || near(a, b)))
}

/// An error of tract's.
pub(super) fn failed(what: &str, e: &TractError) -> Error {
    Error::new(
        ErrorKind::Failed,
        what,
        chain(e),
        "check the inputs; if they are right, report the model to bitonnx",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(shapes: &[&[usize]]) -> Vec<Input> {
        let of = |shape: &&[usize]| Input {
            name: String::new(),
            datum_type: DatumType::F32,
            shape: shape.to_vec(),
            decision: None,
        };
        shapes.iter().map(of).collect()
    }

    #[test]
    fn growth_is_the_same_for_all_axes_or_none() {
        let of = |past, total, x| inputs(&[&[past, 2], &[total], &[x, 2]]);
        let base = of(3, 4, 1);
        assert_eq!(difference(&base, &base), Some((vec![], 0)));
        assert_eq!(difference(&base, &of(5, 6, 1)), Some((vec![(0, 0), (1, 0)], 2)));
        assert_eq!(difference(&base, &of(1, 2, 1)), Some((vec![(0, 0), (1, 0)], -2)));
        assert_eq!(difference(&base, &of(5, 7, 1)), None);
        assert_eq!(difference(&base, &of(3, 4, 1)[..2]), None);
        let mut decided = of(5, 6, 1);
        decided[1].decision = Some(true);
        assert_eq!(difference(&base, &decided), None);
    }

    #[test]
    fn values_are_cut_to_what_a_plan_is_for() {
        let value = tensor2(&[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let cut = cut(tvec![value], &inputs(&[&[2, 2]])).unwrap();
        assert_eq!(*cut[0], tensor2(&[[1f32, 2.0], [4.0, 5.0]]));
    }

    #[test]
    fn plans_agree_on_floats_nearly_and_on_the_rest_exactly() {
        let agree = |a: Tensor, b: Tensor| agree(&[a.into_tvalue()], &[b.into_tvalue()]);
        assert!(agree(tensor1(&[1f32, -8.0]), tensor1(&[1.01f32, -8.0])));
        assert!(!agree(tensor1(&[1f32, -8.0]), tensor1(&[1.1f32, -8.0])));
        assert!(!agree(tensor1(&[1f32, -8.0]), tensor1(&[1f64, -8.0])));
        assert!(!agree(tensor1(&[1f32]), tensor2(&[[1f32]])));
        assert!(!agree(tensor1(&[1000i64]), tensor1(&[1001i64])));
        let infinite = || tensor1(&[f32::NEG_INFINITY, f32::NAN, 1.0]);
        assert!(agree(infinite(), infinite()));
        assert!(!agree(infinite(), tensor1(&[f32::INFINITY, f32::NAN, 1.0])));
        assert!(!agree(infinite(), tensor1(&[f32::NEG_INFINITY, 0.0, 1.0])));
    }
}
