//! Running a model: named arrays in, named arrays out.

use super::{
    failure::{culprit, failed, reason},
    guard::guarded,
    key::{Input, Key},
    lower::{self, Lowered},
    plans::{Plan, Plans},
    tensor,
};
use crate::{
    error::{Error, ErrorKind, Result},
    kernels::{KERNEL_VARIABLE, Kernel},
    npz::Array,
    proto::{
        ModelProto, ValueInfoProto,
        tensor_shape_proto::{Dimension, dimension},
    },
};
use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    fmt,
    num::NonZeroUsize,
    time::{Duration, Instant},
};
use tract_hir::internal::*;
use tract_linalg::multithread::{Executor, multithread_tract_scope};

/// How to run a model.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Threads to use; every core when not given.
    pub threads: Option<NonZeroUsize>,
}

/// A graph input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Value {
    /// Its name.
    pub name: String,
    /// numpy's name of its element type, as [`Array::dtype`] gives it. bfloat16 is float32 here.
    pub dtype: &'static str,
    /// Its dimensions, outermost first; `None` where the model declares no shape.
    pub dims: Option<Vec<Dim>>,
}

impl fmt::Display for Value {
    /// Like `float32[batch, 4]`.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let dims = self.dims.as_ref().map(|d| d.iter().map(Dim::to_string).collect::<Vec<_>>());
        write!(f, "{}[{}]", self.dtype, dims.map_or_else(|| "...".into(), |d| d.join(", ")))
    }
}

/// One dimension of a graph input or output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Always this size.
    Fixed(usize),
    /// Of the same size wherever this name stands.
    Named(String),
    /// Of any size.
    Any,
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Dim::Fixed(size) => write!(f, "{size}"),
            Dim::Named(name) => f.write_str(name),
            Dim::Any => f.write_str("?"),
        }
    }
}

/// One step of a run: a node of what tract made of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// Its name, which begins with the name of the ONNX node that it comes from.
    pub node: String,
    /// tract's name of its operator.
    pub op: String,
    /// How long it took.
    pub took: Duration,
}

/// A model that is ready to run.
///
/// It is planned for the shapes of inputs, and the last few plans are kept. Where shapes only grow from
/// run to run, as those of a key-value cache do, one plan does for all of them if tract can do that.
pub struct Session {
    lowered: Lowered,
    executor: Executor,
    threads: usize,
    kernel: Kernel,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    plans: Plans,
}

impl Session {
    /// Reads the model. What depends on the shapes of inputs is left to the first run.
    pub fn new(model: ModelProto, options: &Options) -> Result<Session> {
        let lowered = guarded(|| lower::lower(model))?;
        let kernel = Kernel::from_env().map_err(|e| {
            let unset = format!("unset {KERNEL_VARIABLE}, or give it another name");
            Error::new(ErrorKind::InvalidOption, "the model can't be run", e.to_string(), unset)
        })?;
        let threads = options.threads.or_else(|| std::thread::available_parallelism().ok());
        let threads = threads.map_or(1, NonZeroUsize::get);
        Ok(Session {
            executor: guarded(|| Ok(executor(threads)))?,
            threads,
            kernel,
            inputs: described(&lowered.graph.input)?,
            outputs: described(&lowered.graph.output)?,
            plans: Plans::default(),
            lowered,
        })
    }

    /// The graph's inputs, in its order. Those that the model has a value for may be left out of a run.
    pub fn inputs(&self) -> &[Value] {
        &self.inputs
    }

    /// What a run gives, in the graph's order.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// Threads that a run may use.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// The kernel that computes BitLinear here.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Plans that are kept for runs to come.
    pub fn plans(&self) -> usize {
        self.plans.len()
    }

    /// Plans the model for inputs of these shapes, so that the next run with them need not.
    pub fn prepare(&mut self, inputs: &BTreeMap<String, Array>) -> Result<()> {
        let wanted = self.bind(inputs)?;
        let plan = self.plan(&wanted, inputs)?;
        self.plans.keep(plan);
        Ok(())
    }

    fn plan(&mut self, wanted: &Key, inputs: &BTreeMap<String, Array>) -> Result<Plan> {
        let values = || given(wanted, inputs).map(tensor::from_array).collect();
        let planned = multithread_tract_scope(self.executor.clone(), || {
            self.plans.take(&self.lowered, wanted, values)
        });
        planned.map_err(|e| self.explained(e, wanted))
    }

    /// Runs the model. Inputs are named as the graph's, outputs come in the graph's order.
    pub fn run(&mut self, inputs: &BTreeMap<String, Array>) -> Result<Vec<(String, Array)>> {
        self.execute(inputs, |state, given, at| {
            state.run_plan_with_eval(given, |context, op_state, node, inputs| {
                at.set(node.id);
                tract_core::plan::eval(context, op_state, node, inputs)
            })
        })
    }

    /// Runs the model and measures each step, in the order in which they ran.
    pub fn profile(&mut self, inputs: &BTreeMap<String, Array>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        self.execute(inputs, |state, given, at| {
            steps.clear();
            state.run_plan_with_eval(given, |context, op_state, node, inputs| {
                at.set(node.id);
                let start = Instant::now();
                let outputs = tract_core::plan::eval(context, op_state, node, inputs);
                let took = start.elapsed();
                steps.push(Step { node: node.name.clone(), op: node.op.name().into(), took });
                outputs
            })
        })?;
        Ok(steps)
    }

    /// `run` says which node it is at.
    fn execute(
        &mut self,
        inputs: &BTreeMap<String, Array>,
        mut run: impl FnMut(
            &mut TypedSimpleState,
            TVec<TValue>,
            &Cell<usize>,
        ) -> TractResult<TVec<TValue>>,
    ) -> Result<Vec<(String, Array)>> {
        let wanted = self.bind(inputs)?;
        // What plans failed for: not that, if the closest fails too.
        let mut doubts = Vec::new();
        let error = loop {
            let mut plan = match self.plan(&wanted, inputs) {
                Ok(plan) => plan,
                Err(e) => break e,
            };
            let given = given(&wanted, inputs);
            let given = given.map(|a| tensor::from_array(a).into_tvalue()).collect();
            let executor = self.executor.clone();
            let at = Cell::new(0);
            let run = || Ok(multithread_tract_scope(executor, || run(&mut plan.state, given, &at)));
            let error = match guarded(run) {
                Ok(Ok(values)) => {
                    self.plans.keep(plan);
                    return self.named(values);
                }
                Ok(Err(e)) => failed(&culprit(&self.lowered, &e), "failed while it ran", &e),
                Err(e) => {
                    let node = self.lowered.label(&plan.state.model().node(at.get()).name);
                    let what = format!("{node} failed while it ran");
                    // A panic tells of tract's own arrays.
                    let why = "tract panicked: it can't compute this operator for these values";
                    Error::new(e.kind(), what, why, e.hint())
                }
            };
            // A plan that fails half way is not used again.
            match self.plans.doubt(plan, &wanted) {
                Some(doubt) => doubts.push(doubt),
                None => break self.explained(error, &wanted),
            }
        };
        doubts.into_iter().for_each(|doubt| self.plans.trust(doubt));
        Err(error)
    }

    /// Outputs by name.
    fn named(&self, values: TVec<TValue>) -> Result<Vec<(String, Array)>> {
        let named = self.outputs.iter().zip(values);
        named
            .map(|(output, value)| {
                let array = tensor::to_array(value.into_tensor());
                let array = array.map_err(|e| {
                    let hint = "export the model with outputs of numbers";
                    let what = format!("output `{}` can't be read", output.name);
                    Error::new(ErrorKind::Unsupported, what, reason(&e), hint)
                })?;
                Ok((output.name.clone(), array))
            })
            .collect()
    }

    /// Checks the inputs against the model and says what a plan depends on in them.
    fn bind(&self, inputs: &BTreeMap<String, Array>) -> Result<Key> {
        if let Some(unknown) = inputs.keys().find(|k| self.inputs.iter().all(|v| v.name != **k)) {
            let names: Vec<&str> = self.inputs.iter().map(|v| v.name.as_str()).collect();
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!("the model has no input `{unknown}`"),
                format!("its inputs are {}", names.join(", ")),
                "name the arrays as the graph's inputs",
            ));
        }
        let mut bound = Vec::new();
        for value in &self.inputs {
            match inputs.get(&value.name) {
                Some(array) => bound.push(self.bind_one(value, array)?),
                None if self.lowered.stored.contains_key(&value.name) => {}
                None => {
                    return Err(Error::new(
                        ErrorKind::InvalidInput,
                        format!("input `{}` is missing", value.name),
                        format!("the model needs it: {value}"),
                        "give an array of that name",
                    ));
                }
            }
        }
        Ok(Key(bound))
    }

    fn bind_one(&self, value: &Value, array: &Array) -> Result<Input> {
        let unfit = |why: String| {
            Err(Error::new(
                ErrorKind::InvalidInput,
                format!("input `{}` does not fit", value.name),
                why,
                format!("give an array like {value}"),
            ))
        };
        if array.dtype() != value.dtype {
            return unfit(format!("it is {}, and the model takes {}", array.dtype(), value.dtype));
        }
        let shape = array.shape();
        if let Some(dims) = &value.dims {
            if dims.len() != shape.len() {
                let rank = dims.len();
                return unfit(format!("it has shape {shape:?}, and the model takes {rank} axes"));
            }
            let mut sizes = dims.iter().zip(shape).enumerate();
            let wrong = sizes.find(|(_, (d, s))| matches!(d, Dim::Fixed(fixed) if fixed != *s));
            if let Some((axis, (fixed, size))) = wrong {
                return unfit(format!("axis {axis} has size {size}, and the model takes {fixed}"));
            }
        }
        let by_value = self.lowered.by_value.may_be(&value.name);
        Ok(Input {
            name: value.name.clone(),
            datum_type: tensor::array_type(array),
            shape: shape.to_vec(),
            value: by_value.then(|| Arc::new(tensor::from_array(array))),
        })
    }

    /// The error, with what is odd about the inputs as the hint: a dimension of one name that has two
    /// sizes. Some models work with that.
    fn explained(&self, error: Error, inputs: &Key) -> Error {
        let mut first: HashMap<&str, (usize, &str)> = HashMap::new();
        for value in &self.inputs {
            let Some(input) = inputs.0.iter().find(|i| i.name == value.name) else { continue };
            for (dim, &size) in value.dims.iter().flatten().zip(&input.shape) {
                let Dim::Named(name) = dim else { continue };
                let (other, owner) = *first.entry(name).or_insert((size, &value.name));
                if other != size {
                    let hint = format!(
                        "give inputs of one `{name}`: it is {other} in `{owner}` and {size} in `{}`",
                        value.name
                    );
                    return error.with_hint(hint);
                }
            }
        }
        error
    }
}

/// The arrays of these inputs, in their order.
fn given<'a>(
    inputs: &'a Key,
    arrays: &'a BTreeMap<String, Array>,
) -> impl Iterator<Item = &'a Array> {
    inputs.0.iter().filter_map(|input| arrays.get(&input.name))
}

fn executor(threads: usize) -> Executor {
    match threads {
        0 | 1 => Executor::SingleThread,
        _ => Executor::multithread_with_name(threads, "bitonnx"),
    }
}

fn described(values: &[ValueInfoProto]) -> Result<Vec<Value>> {
    values.iter().map(describe).collect()
}

fn describe(value: &ValueInfoProto) -> Result<Value> {
    let kind = lower::tensor_type(value);
    let Some((kind, dtype)) = kind.and_then(|t| Some((t, tensor::dtype_name(t.elem_type())?)))
    else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("`{}` can't be given or taken", value.name()),
            "it is not a tensor of bools, integers or floats",
            "export the model with tensors only",
        ));
    };
    let dims = kind.shape.as_ref().map(|s| s.dim.iter().map(dim).collect());
    Ok(Value { name: value.name().to_owned(), dtype, dims })
}

fn dim(dim: &Dimension) -> Dim {
    match &dim.value {
        Some(dimension::Value::DimValue(size)) => {
            usize::try_from(*size).map_or(Dim::Any, Dim::Fixed)
        }
        Some(dimension::Value::DimParam(name)) if !name.is_empty() => Dim::Named(name.clone()),
        _ => Dim::Any,
    }
}
