//! Rules keep what they promise: the source and the rewritten graph on the same random inputs.
//!
//! Neither side runs our kernels: the source is standard operators, and so is a BitLinear's definition,
//! which stands in its place.

use crate::graphs::{Numbers, Small, declared, every_graph};
use bitonnx::{
    npz::Array,
    proto::{ModelProto, tensor_proto::DataType},
    rewrite::Effect,
    rules::recipe,
    runtime::{Options, Session},
    text::{Style, parse_model, print},
};
use half::f16;
use ndarray::{ArrayD, IxDyn};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

#[test]
fn rules_keep_their_promise() {
    let promises: HashMap<&str, Effect> = recipe().iter().map(|r| (r.name(), r.effect())).collect();
    let mut shown = BTreeSet::new();
    let mut measured = String::new();
    for Small { name, model, rewritten, .. } in every_graph() {
        let rules: BTreeSet<String> =
            rewritten.report.converted().map(|entry| entry.rule.clone()).collect();
        if rules.is_empty() || UNMEASURED.iter().any(|(graph, _)| *graph == name) {
            continue;
        }
        let exact = rules.iter().all(|rule| promises[rule.as_str()] == Effect::Exact);
        for (output, noise) in compare(&model, &rewritten.model) {
            assert!(!exact || noise == Noise::Rounding, "{name}: `{output}` has {noise:?}");
            writeln!(measured, "{name}  {output}  {noise}").unwrap();
        }
        shown.extend(rules.into_iter().filter(|r| exact || promises[r.as_str()] != Effect::Exact));
    }
    assert_snapshot!("effects", measured, description => "Signal over noise of each output.");
    for (rule, effect) in promises {
        assert!(effect == Effect::Keep || shown.contains(rule), "nothing shows what {rule} does");
    }
}

/// Graphs that the runtime does not run, and why.
const UNMEASURED: [(&str, &str); 2] = [
    ("attention_packed", "it knows no mask of 3·batch + 2 elements"),
    ("bitnet_look_alikes", "it knows no domain `custom`"),
];

/// How far an output is from the source's.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Noise {
    /// As far as another order of float operations takes it.
    Rounding,
    /// Signal over noise.
    Decibel(f64),
}

impl std::fmt::Display for Noise {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Noise::Rounding => f.write_str("equal"),
            Noise::Decibel(ratio) => write!(f, "{ratio:.0} dB"),
        }
    }
}

/// The noise of each output.
fn compare(source: &ModelProto, rewritten: &ModelProto) -> Vec<(String, Noise)> {
    let inputs = inputs(source);
    let run = |model: ModelProto| {
        let mut session = Session::new(model, &Options::default()).unwrap();
        session.run(&inputs).unwrap()
    };
    let pairs = run(source.clone()).into_iter().zip(run(inlined(rewritten)));
    pairs.map(|((name, a), (_, b))| (name, noise(&a, &b))).collect()
}

/// The model with its BitLinears as the function that it carries, instead of our operator.
fn inlined(model: &ModelProto) -> ModelProto {
    let text = print::model(model, Style::Full);
    parse_model(&text.replace("bitonnx.", "inlined.").replace("\"bitonnx\"", "\"inlined\""))
        .unwrap()
}

fn inputs(model: &ModelProto) -> BTreeMap<String, Array> {
    let inputs = &model.graph.as_ref().unwrap().input;
    let named = inputs.iter().enumerate().map(|(seed, input)| {
        let (kind, dims) = declared(input.r#type.as_ref().unwrap());
        (input.name().to_owned(), random(kind, &dims, 100 + seed as u64))
    });
    named.collect()
}

/// Random numbers; small integers, so that they may be indices, lengths and masks.
fn random(kind: DataType, dims: &[usize], seed: u64) -> Array {
    let mut numbers = Numbers::new(seed);
    macro_rules! array {
        ($number:expr) => {
            ArrayD::from_shape_simple_fn(IxDyn(dims), $number).into()
        };
    }
    match kind {
        DataType::Float => array!(|| numbers.float()),
        DataType::Float16 => array!(|| f16::from_f32(numbers.float())),
        DataType::Int64 => array!(|| numbers.below(3) as i64),
        DataType::Int32 => array!(|| numbers.below(3) as i32),
        DataType::Bool => array!(|| numbers.below(2) == 1),
        other => panic!("no random {other:?}"),
    }
}

fn noise(reference: &Array, array: &Array) -> Noise {
    assert_eq!((reference.dtype(), reference.shape()), (array.dtype(), array.shape()));
    let ((epsilon, reference), (_, array)) = (numbers(reference), numbers(array));
    let largest = reference.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let differences = || reference.iter().zip(&array).map(|(a, b)| a - b);
    if differences().all(|d| d.abs() <= epsilon * largest) {
        return Noise::Rounding;
    }
    let power = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    let ratio = power(&mut reference.iter().copied()) / power(&mut differences());
    Noise::Decibel(10.0 * ratio.log10())
}

/// The numbers, and what their type rounds by, with some room.
fn numbers(array: &Array) -> (f64, Vec<f64>) {
    match array {
        Array::F32(a) => (1e-5, a.iter().map(|x| f64::from(*x)).collect()),
        Array::F16(a) => (2e-3, a.iter().map(|x| x.to_f64()).collect()),
        Array::I32(a) => (0.0, a.iter().map(|x| f64::from(*x)).collect()),
        other => panic!("an output of {}", other.dtype()),
    }
}
