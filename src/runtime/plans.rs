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
use crate::error::{Error, Result};
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
type Axis = (usize, usize);

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
        let fixed = &mut self.kept[index];
        let open = plan(lowered, &self.dense, fixed.inputs.clone(), axes.clone()).ok();
        let open = open.and_then(|mut open| agree(fixed, &mut open, values()).then_some(open));
        if open.is_some() {
            self.kept.remove(index);
        } else {
            self.closed.insert(axes);
        }
        open
    }

    /// Drops a plan that failed. Whether its axes were left open for it, and from now on are not.
    pub fn close(&mut self, failed: Plan) -> bool {
        !failed.open.is_empty() && self.closed.insert(failed.open)
    }
}

impl Plan {
    fn fits(&self, wanted: &[Input]) -> bool {
        difference(&self.inputs, wanted).is_some_and(|(axes, _)| {
            axes.is_empty() || axes == self.open && least(wanted, &axes) >= LEAST
        })
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

/// Whether both plans give the same for these values, cut to the sizes that both are for.
fn agree(fixed: &mut Plan, open: &mut Plan, values: TVec<Tensor>) -> bool {
    let run = |plan: &mut Plan, values: &TVec<TValue>| {
        guarded(|| plan.state.run(values.clone()).map_err(|e| failed("the plan failed", &e)))
    };
    let cut = |value: Tensor, input: &Input| {
        let axes = 0..value.rank();
        axes.zip(&input.shape).try_fold(value, |v, (axis, &size)| match v.shape()[axis] == size {
            true => Ok(v),
            false => v.slice(axis, 0, size),
        })
    };
    let values =
        values.into_iter().zip(&fixed.inputs).map(|(v, i)| cut(v, i).map(Tensor::into_tvalue));
    let Ok(values) = values.collect::<TractResult<TVec<TValue>>>() else { return false };
    let (Ok(a), Ok(b)) = (run(fixed, &values), run(open, &values)) else { return false };
    a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| close(a, b).unwrap_or(false))
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
    Error::new(what, chain(e), "check the inputs; if they are right, report the model to bitonnx")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{runtime::lower::lower, text::parse_model};

    /// A plan's session as far as it matters here.
    struct Session {
        lowered: Lowered,
        plans: Plans,
    }

    impl Session {
        fn of(graph: &str) -> Session {
            let text = format!("<ir_version: 8, opset_import: [\"\" : 17]> {graph}");
            let lowered = lower(parse_model(&text).unwrap()).unwrap();
            Session { lowered, plans: Plans::default() }
        }

        /// Prepares for inputs of these shapes that count up from 0, and gives the outputs.
        fn run(&mut self, inputs: &[(&str, &[usize])]) -> TVec<TValue> {
            let values = || inputs.iter().map(|(_, shape)| counting(shape)).collect::<TVec<_>>();
            self.plans.prepare(&self.lowered, &wanted(inputs), values).unwrap();
            let given = values().into_iter().map(Tensor::into_tvalue).collect();
            self.plans.kept[0].state.run(given).unwrap()
        }

        fn open(&self) -> &[Axis] {
            &self.plans.kept[0].open
        }
    }

    fn wanted(inputs: &[(&str, &[usize])]) -> Vec<Input> {
        let of = |(name, shape): &(&str, &[usize])| Input {
            name: (*name).to_owned(),
            datum_type: DatumType::F32,
            shape: shape.to_vec(),
            decision: None,
        };
        inputs.iter().map(of).collect()
    }

    fn counting(shape: &[usize]) -> Tensor {
        let count = shape.iter().product::<usize>();
        let numbers: Vec<f32> = (0..count).map(|i| i as f32).collect();
        Tensor::from_shape(shape, &numbers).unwrap()
    }

    /// A cache of `past` rows that a run adds one to, and a mask as long as the sum.
    const CACHE: &str = "g (float[past, 2] old, float[total] mask, float[1, 2] x) => (float[total, 2] new, float y) {
        new = Concat <axis = 0> (old, x)
        m = MatMul(mask, new)
        y = ReduceSum <keepdims = 0> (m)
    }";

    #[test]
    fn one_plan_does_for_a_growing_cache() {
        let mut session = Session::of(CACHE);
        for past in 1..9 {
            let inputs = [("old", &[past, 2][..]), ("mask", &[past + 1]), ("x", &[1, 2])];
            let outputs = session.run(&inputs);
            let fresh = Session::of(CACHE).run(&inputs);
            assert_eq!(outputs, fresh, "{past}");
            assert_eq!(session.open().len(), if past < 3 { 0 } else { 2 }, "{past}");
        }
        // The plan for one row, and the open one in the place of that for two.
        assert_eq!(session.plans.kept.len(), 2);
        // Smaller again, but never so small that it would be broadcast.
        session.run(&[("old", &[2, 2]), ("mask", &[3]), ("x", &[1, 2])]);
        assert_eq!(session.open().len(), 2);
        session.run(&[("old", &[1, 2]), ("mask", &[2]), ("x", &[1, 2])]);
        assert_eq!(session.open().len(), 0);
        assert_eq!(session.plans.kept.len(), 2);
    }

    /// What a recipe computes is planned for shapes that are known.
    #[test]
    fn what_cannot_be_left_open_is_planned_for_each_shape_and_tried_once() {
        let mut session = Session::of(
            "g (float[2, n] x) => (float[2, 2] y) { y = com.microsoft.FusedMatMul <alpha = 2.0, transB = 1> (x, x) }",
        );
        for n in 3..9 {
            let outputs = session.run(&[("x", &[2, n])]);
            let sum = (0..n).map(|i| 2.0 * (i * i) as f32).sum::<f32>();
            assert_eq!(outputs[0].to_plain_array_view::<f32>().unwrap()[[0, 0]], sum);
            assert_eq!(session.open(), []);
        }
        assert_eq!(session.plans.closed.len(), 1);
        assert_eq!(session.plans.kept.len(), KEPT);
    }

    #[test]
    fn growth_is_the_same_for_all_axes_or_none() {
        let of =
            |past, total, x| wanted(&[("old", &[past, 2]), ("mask", &[total]), ("x", &[x, 2])]);
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
    fn a_plan_that_gives_something_else_does_not_agree() {
        let inputs = wanted(&[("x", &[3])]);
        let plan = |add: f32| {
            let text =
                format!("g (float[n] x) => (float[n] y) <float a = {{{add}}}> {{ y = Add(x, a) }}");
            plan(&Session::of(&text).lowered, &Dense::default(), inputs.clone(), vec![]).unwrap()
        };
        let agree = |a, b| agree(&mut plan(a), &mut plan(b), tvec![counting(&[5])]);
        assert!(agree(1.0, 1.0));
        assert!(agree(1.0, 1.001));
        assert!(!agree(1.0, 1.1));
    }

    #[test]
    fn plans_share_what_is_packed() {
        let mut session = Session::of(
            "g (float[n, 4] x, float[m] z) => (float[n, 4] y, float[m] w) <float[4, 4] a = {
                1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 9.0
            }> { y = MatMul(x, a) w = Neg(z) }",
        );
        for m in [1, 5] {
            let outputs = session.run(&[("x", &[3, 4]), ("z", &[m])]);
            let y = outputs[0].to_plain_array_view::<f32>().unwrap();
            assert_eq!((y[[0, 0]], y[[0, 1]]), (22.0, 28.0));
        }
        assert_eq!(session.plans.kept.len(), 2);
        assert_eq!(session.plans.dense.len(), 1);
    }
}
