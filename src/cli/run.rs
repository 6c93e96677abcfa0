//! `run`: a model's outputs, and how long they take.

use super::{
    Exit, Failure,
    args::Run,
    console::Console,
    files::{in_file, same_file},
    profile::{self, Step},
    random,
    table::{Align, Table, size},
};
use anstyle::Style;
use bitonnx::{
    Error, Result,
    npz::{self, Array},
    proto,
    runtime::{Options, Session},
};
use serde::Serialize;
use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

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
    let given = args.input.as_deref().map(npz::read).transpose()?;
    let (model, reading) = timed(|| proto::load(&args.model))?;
    let limits = random::Limits::of(&model);
    let named = |e: Error| in_file(&args.model, &e);
    let options = Options { threads: args.threads };
    let (mut session, building) = timed(|| Session::new(model, &options)).map_err(named)?;
    let inputs = match given {
        Some(inputs) => inputs,
        None => random::inputs(session.inputs(), &limits, &args.dims, args.seed).map_err(named)?,
    };
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

fn check_output(args: &Run) -> Result<()> {
    let read = [Some(&args.model), args.input.as_ref()];
    match &args.output {
        Some(out) if read.into_iter().flatten().any(|path| same_file(path, out)) => {
            Err(Error::new(
                format!("{} can't be written", out.display()),
                "this very command reads it",
                "write the outputs to another file",
            ))
        }
        _ => Ok(()),
    }
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let began = Instant::now();
    let result = work()?;
    Ok((result, began.elapsed()))
}

/// Milliseconds to the microsecond.
pub fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
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
    let width = console.width();
    for (title, values) in [("INPUT", &outcome.inputs), ("OUTPUT", &outcome.outputs)] {
        let mut table =
            Table::new([(title, Align::Left), ("TYPE", Align::Left), ("SHAPE", Align::Left)]);
        for value in values {
            let cells = [value.name.clone(), value.dtype.to_owned(), format!("{:?}", value.shape)];
            table.row(Style::new(), cells);
        }
        table.write(console.out(), width)?;
        writeln!(console.out())?;
    }
    let out = console.out();
    writeln!(out, "loaded in {:.1} ms, first run {:.3} ms", outcome.load_ms, outcome.first_ms)?;
    if let Some(r) = &outcome.repeated {
        let times =
            format!("min {:.3} ms, median {:.3} ms, max {:.3} ms", r.min_ms, r.median_ms, r.max_ms);
        writeln!(out, "{} more: {times}", r.repeat)?;
    }
    let threads = if outcome.threads == 1 { "thread" } else { "threads" };
    write!(out, "{} {threads}, kernel {}", outcome.threads, outcome.kernel)?;
    match outcome.peak_bytes {
        Some(bytes) => writeln!(out, ", at most {} of memory", size(bytes))?,
        None => writeln!(out)?,
    }
    outcome.profile.iter().try_for_each(|steps| profile::print(steps, console))
}
