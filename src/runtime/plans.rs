//! Plans of a model: what tract made of it for certain inputs.
//!
//! ```text
//! inputs ─ a plan that fits? ─► run
//!            │ no                ▲
//!            ├─ they grew ─► an open plan, verified ──────────┤
//!            ├─ else ─► a plan for these shapes, any values ──┤
//!            └─ there is none ─► one for these values too ────┘
//! ```
//!
//! A plan takes seconds for a model of any size, and a key-value cache grows with every token. So
//! where some axes grew, all by as much, they are planned as `S + constant` with S left open. Not
//! every model works in tract with a shape left open, and not every one that seems to is right: an
//! open plan is used once it has given what the plan for fixed shapes gives, on the same inputs.
//!
//! tract takes shapes, axes and bounds as constants only. Where they are computed from the values of
//! graph inputs, a plan is for those values: see [`ByValue`](super::lower::ByValue).

use super::{
    failure::{UNPLANNED, culprit, failed},
    guard::guarded,
    key::{Axis, Key},
    lower::Lowered,
    packed::Dense,
    walk::walk,
};
use crate::error::Result;
use std::collections::{HashSet, VecDeque};
use tract_core::optim::Optimizer;
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

/// tract simplifies a model in at most so many steps for each of its nodes. Less than one is enough, but
/// its rules for the bodies of `Scan` may go round in circles: each step leaves the same model.
const STEPS: usize = 16;

/// A plan for certain inputs.
pub(super) struct Plan {
    key: Key,
    /// Axes that may have other sizes than in the key, all larger or smaller by the same number.
    open: Vec<Axis>,
    pub state: TypedSimpleState,
}

/// The plans of one model.
#[derive(Default)]
pub(super) struct Plans {
    /// The one used last comes first.
    kept: VecDeque<Plan>,
    /// Axes that can't be left open.
    closed: HashSet<Vec<Axis>>,
    /// Whether new plans are for all values that tract may need.
    by_value: bool,
    dense: Dense,
}

/// A plan failed where it ran: that is why, if a closer one does better.
pub(super) enum Doubt {
    Open(Vec<Axis>),
    AnyValue,
}

impl Plans {
    /// How many are kept.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Keeps a plan as the one used last.
    pub fn keep(&mut self, plan: Plan) {
        self.kept.truncate(KEPT - 1);
        self.kept.push_front(plan);
    }

    /// Takes out, or makes, a plan for these inputs. `values` gives their values.
    pub fn take(
        &mut self,
        lowered: &Lowered,
        wanted: &Key,
        values: impl FnOnce() -> TVec<Tensor>,
    ) -> Result<Plan> {
        let fitting = self.kept.iter().position(|plan| plan.fits(wanted));
        if let Some(plan) = fitting.and_then(|index| self.kept.remove(index)) {
            return Ok(plan);
        }
        match self.open(lowered, wanted, values) {
            Some(plan) => Ok(plan),
            None => self.fixed(lowered, wanted),
        }
    }

    /// A plan for these shapes, and for the values that tract may need where it does.
    fn fixed(&mut self, lowered: &Lowered, wanted: &Key) -> Result<Plan> {
        let any = wanted.without(&lowered.by_value.at_need);
        if !self.by_value {
            let planned = plan(lowered, &self.dense, any.clone(), vec![]);
            if planned.is_ok() || any == *wanted {
                return planned;
            }
        }
        let planned = plan(lowered, &self.dense, wanted.clone(), vec![])?;
        self.by_value = true;
        Ok(planned)
    }

    /// An open plan in the place of one for smaller inputs, if it does the same.
    fn open(
        &mut self,
        lowered: &Lowered,
        wanted: &Key,
        values: impl FnOnce() -> TVec<Tensor>,
    ) -> Option<Plan> {
        let (index, axes) = self.kept.iter().enumerate().find_map(|(index, plan)| {
            let (axes, growth) = plan.key.growth(wanted)?;
            let may = growth > 0 && plan.open.is_empty() && plan.key.least(&axes) >= LEAST;
            (may && !self.closed.contains(&axes)).then_some((index, axes))
        })?;
        // Until it is shown to be right.
        self.closed.insert(axes.clone());
        let key = self.kept[index].key.clone();
        let values = key.cut(values()).ok()?;
        let mut open = plan(lowered, &self.dense, key, axes.clone()).ok()?;
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

    /// Drops a plan that failed for these inputs, and says what a closer one may mend.
    pub fn doubt(&mut self, failed: Plan, inputs: &Key) -> Option<Doubt> {
        if !failed.open.is_empty() {
            self.closed.insert(failed.open.clone());
            return Some(Doubt::Open(failed.open));
        }
        let any = failed.key != *inputs;
        self.by_value |= any;
        any.then_some(Doubt::AnyValue)
    }

    /// Takes a doubt back: the closer plan failed too.
    pub fn trust(&mut self, doubt: Doubt) {
        match doubt {
            Doubt::Open(axes) => {
                self.closed.remove(&axes);
            }
            Doubt::AnyValue => self.by_value = false,
        }
    }
}

impl Plan {
    fn fits(&self, wanted: &Key) -> bool {
        self.key.growth(wanted).is_some_and(|(axes, _)| {
            axes.is_empty() || axes == self.open && wanted.least(&axes) >= LEAST
        })
    }

    /// The outputs for these values; `None` where it fails.
    fn give(&mut self, values: &TVec<TValue>) -> Option<TVec<TValue>> {
        guarded(|| Ok(self.state.run(values.clone()).ok())).ok()?
    }
}

/// Plans the model for these inputs, with some axes left open.
fn plan(lowered: &Lowered, dense: &Dense, key: Key, open: Vec<Axis>) -> Result<Plan> {
    guarded(|| {
        let symbols = SymbolScope::default();
        let model = walk(lowered, key.feeds(&open, &symbols), symbols)?;
        let state = optimized(model, dense)
            .and_then(|m| m.into_runnable())
            .and_then(|plan| plan.spawn())
            .map_err(|e| failed(&culprit(lowered, &e), UNPLANNED, &e))?;
        Ok(Plan { key, open, state })
    })
}

/// What tract's `into_optimized` does, with packed matrices shared.
fn optimized(mut model: TypedModel, dense: &Dense) -> TractResult<TypedModel> {
    let steps = STEPS * model.nodes().len();
    Optimizer::declutter().stopping_at(steps).optimize(&mut model)?;
    model.optimize_with_session(&mut dense.optimizer().session())?;
    Ok(model)
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

#[cfg(test)]
mod tests {
    use super::*;

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
