//! `run`: a model's outputs, and how long they take.

use super::{
    Exit, Failure,
    args::Run,
    console::Console,
    files::{check_target, check_unread},
    profile::{self, Step, ms},
    random,
    table::{Align, Table, counted, size},
};
use anstyle::Style;
use bitonnx::{
    Error, ErrorKind, Result,
    npz::{self, Array},
    proto,
    runtime::{self, Options, Session},
    variants::LAMBDA,
};
use ndarray::arr0;
use serde::Serialize;
use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

type Arrays = BTreeMap<String, Array>;

/// What `run` prints.
#[derive(Debug, Serialize)]
struct Outcome {
    model: String,
    inputs: Vec<Value>,
    outputs: Vec<Value>,
    /// From the file to a model planned for these inputs.
    load_ms: f64,
    first_ms: f64,
    #[serde(flatten)]
    repeated: Option<Repeated>,
    threads: usize,
    kernel: &'static str,
    /// The most memory that the process has held; unknown on some systems.
    peak_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<Vec<Step>>,
}

/// An input or output as it was.
#[derive(Debug, Serialize)]
struct Value {
    name: String,
    dtype: &'static str,
    shape: Vec<usize>,
}

/// Times of the runs after the first.
#[derive(Debug, Serialize)]
struct Repeated {
    repeat: usize,
    min_ms: f64,
    median_ms: f64,
    max_ms: f64,
}

/// Runs the model and prints what came out and how long it took.
pub fn run(args: &Run, console: &mut Console) -> Result<Exit, Failure> {
    check_output(args)?;
    console.make_way_for(args.output.as_deref());
    let given = args.input.as_deref().map(npz::read).transpose()?;
    let (model, reading) = timed(|| proto::load(&args.model))?;
    let limits = random::Limits::of(&model);
    let named = |e: Error| e.within(args.model.display());
    let mut options = Options::default();
    options.threads = args.threads;
    let (mut session, building) = timed(|| Session::new(model, &options)).map_err(named)?;
    let inputs = inputs(args, given, session.inputs(), &limits)?;
    let ((), planning) = timed(|| session.prepare(&inputs)).map_err(named)?;
    let (outputs, first) = timed(|| session.run(&inputs)).map_err(named)?;
    let mut times = Vec::new();
    for _ in 0..args.repeat.map_or(0, NonZeroUsize::get) {
        times.push(timed(|| session.run(&inputs)).map_err(named)?.1);
    }
    let profile = args.profile.then(|| session.profile(&inputs)).transpose().map_err(named)?;
    if let Some(path) = &args.output {
        npz::write(path, outputs.iter().map(|(name, array)| (name.as_str(), array)))?;
    }

    let order = session.inputs().iter().filter_map(|v| inputs.get_key_value(&v.name));
    let outcome = Outcome {
        model: args.model.display().to_string(),
        inputs: order.map(|(name, array)| value(name, array)).collect(),
        outputs: outputs.iter().map(|(name, array)| value(name, array)).collect(),
        load_ms: ms(reading + building + planning),
        first_ms: ms(first),
        repeated: repeated(times),
        threads: session.threads(),
        kernel: session.kernel().name(),
        peak_bytes: peak_bytes(),
        profile: profile.map(|steps| steps.into_iter().map(Step::from).collect()),
    };
    if console.json() {
        console.print_json(&outcome)?;
    } else {
        print(&outcome, console)?;
    }
    Ok(Exit::Done)
}

/// The inputs that the arguments ask for, by name.
fn inputs(
    args: &Run,
    given: Option<Arrays>,
    values: &[runtime::Value],
    limits: &random::Limits,
) -> Result<Arrays, Failure> {
    let named = |e: Error| e.within(args.model.display());
    let needed: Vec<&runtime::Value> = values.iter().filter(|v| !limits.stored(&v.name)).collect();
    let (lambda, others): (Vec<_>, Vec<_>) = needed.into_iter().partition(|v| is_lambda(v));
    let mut inputs = match given {
        Some(inputs) => inputs,
        None if args.random => {
            random::inputs(&others, limits, &args.dims, args.seed).map_err(named)?
        }
        None if others.is_empty() => Arrays::new(),
        None => return Err(Failure::Usage(named(without_inputs(&others)))),
    };
    if let Some(lambda) = args.lambda {
        if values.iter().all(|value| value.name != LAMBDA) {
            return Err(named(without_lambda(values)).into());
        }
        inputs.insert(LAMBDA.into(), Array::F32(arr0(lambda).into_dyn()));
    }
    if !lambda.is_empty() && !inputs.contains_key(LAMBDA) {
        return Err(named(missing_lambda()).into());
    }
    Ok(inputs)
}

/// Whether a value is the input `lambda` of a QAT variant: one f32.
fn is_lambda(value: &runtime::Value) -> bool {
    let scalar = value.dims.as_ref().is_none_or(|dims| dims.is_empty());
    value.name == LAMBDA && value.dtype == "float32" && scalar
}

fn without_inputs(values: &[&runtime::Value]) -> Error {
    let listed: Vec<String> = values.iter().map(|v| format!("`{}` {v}", v.name)).collect();
    let mut random = String::from("--random");
    for dim in random::open(values) {
        random.push_str(&format!(" --dim '{dim}={}'", random::example(&dim)));
    }
    Error::new(
        ErrorKind::InvalidOption,
        "neither --input nor --random is given",
        format!("the model takes {}", listed.join(", ")),
        format!("{random}; or --input FILE.npz, with arrays of these names"),
    )
}

fn without_lambda(values: &[runtime::Value]) -> Error {
    let names: Vec<String> = values.iter().map(|v| format!("`{}`", v.name)).collect();
    Error::new(
        ErrorKind::InvalidOption,
        "--lambda is of no use",
        format!("the model has no input `{LAMBDA}`; its inputs are {}", names.join(", ")),
        "leave it out, or run a QAT variant",
    )
}

fn missing_lambda() -> Error {
    Error::new(
        ErrorKind::InvalidOption,
        format!("input `{LAMBDA}` is missing"),
        "the model blends from full precision (0) to quantised (1), and needs to be told how far",
        format!("--lambda 1, or an array `{LAMBDA}` in --input FILE.npz"),
    )
}

fn check_output(args: &Run) -> Result<()> {
    let read = [Some(&args.model), args.input.as_ref()];
    let Some(out) = &args.output else { return Ok(()) };
    check_unread(out, read.into_iter().flatten())?;
    check_target(out, true)
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let began = Instant::now();
    let result = work()?;
    Ok((result, began.elapsed()))
}

fn value(name: &str, array: &Array) -> Value {
    Value { name: name.to_owned(), dtype: array.dtype(), shape: array.shape().to_vec() }
}

fn repeated(mut times: Vec<Duration>) -> Option<Repeated> {
    times.sort_unstable();
    let (min, max) = (*times.first()?, *times.last()?);
    let middle = times.len() / 2;
    let median = match times.len() % 2 {
        0 => (times[middle - 1] + times[middle]) / 2,
        _ => times[middle],
    };
    Some(Repeated { repeat: times.len(), min_ms: ms(min), median_ms: ms(median), max_ms: ms(max) })
}

/// Linux keeps the mark; elsewhere nobody is asked.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kib.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn print(outcome: &Outcome, console: &mut Console) -> std::io::Result<()> {
    for (title, values) in [("INPUT", &outcome.inputs), ("OUTPUT", &outcome.outputs)] {
        let mut table =
            Table::new([(title, Align::Left), ("TYPE", Align::Left), ("SHAPE", Align::Left)]);
        for value in values {
            let cells = [value.name.clone(), value.dtype.to_owned(), format!("{:?}", value.shape)];
            table.row(Style::new(), cells);
        }
        table.print(console)?;
        writeln!(console.out())?;
    }
    let out = console.out();
    writeln!(out, "loaded in {:.1} ms, first run {:.3} ms", outcome.load_ms, outcome.first_ms)?;
    if let Some(r) = &outcome.repeated {
        let times =
            format!("min {:.3} ms, median {:.3} ms, max {:.3} ms", r.min_ms, r.median_ms, r.max_ms);
        writeln!(out, "{} more: {times}", r.repeat)?;
    }
    write!(out, "{}, kernel {}", counted(outcome.threads, "thread"), outcome.kernel)?;
    match outcome.peak_bytes {
        Some(bytes) => writeln!(out, ", at most {} of memory", size(bytes))?,
        None => writeln!(out)?,
    }
    outcome.profile.iter().try_for_each(|steps| profile::print(steps, console))
}
