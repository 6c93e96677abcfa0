//! Running models with tract: whole exports against their reference outputs, and the operators.
#![cfg(feature = "runtime")]

use bitonnx::{
    npz::{self, Array},
    proto,
    runtime::{Options, Session},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// One reference run: inputs and outputs by name.
struct Case {
    inputs: BTreeMap<String, Array>,
    outputs: BTreeMap<String, Array>,
}

fn cases(folder: &Path) -> Vec<Case> {
    cases_of(&folder.join("io.npz"))
}

fn cases_of(file: &Path) -> Vec<Case> {
    let arrays = npz::read(file).unwrap();
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    for (key, array) in arrays {
        let mut parts = key.splitn(3, '/');
        let (case, side, name) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
        let case = cases
            .entry(case.to_owned())
            .or_insert(Case { inputs: BTreeMap::new(), outputs: BTreeMap::new() });
        let side = if side == "in" { &mut case.inputs } else { &mut case.outputs };
        side.insert(name.to_owned(), array);
    }
    cases.into_values().collect()
}

fn floats(array: &Array) -> Vec<f64> {
    match array {
        Array::F16(a) => a.iter().map(|v| v.to_f64()).collect(),
        Array::F32(a) => a.iter().map(|&v| f64::from(v)).collect(),
        Array::F64(a) => a.iter().copied().collect(),
        Array::I64(a) => a.iter().map(|&v| v as f64).collect(),
        Array::I32(a) => a.iter().map(|&v| f64::from(v)).collect(),
        Array::Bool(a) => a.iter().map(|&v| f64::from(u8::from(v))).collect(),
        other => panic!("no fixture has outputs of type {}", other.dtype()),
    }
}

/// The largest difference, as a share of the largest reference value.
fn relative(reference: &Array, got: &Array) -> f64 {
    assert_eq!(reference.shape(), got.shape());
    let (reference, got) = (floats(reference), floats(got));
    let finite = |v: &&f64| v.is_finite();
    let largest = reference.iter().filter(finite).fold(0f64, |m, v| m.max(v.abs()));
    let difference = reference.iter().zip(&got).fold(0f64, |m, (r, g)| match r.is_finite() {
        true if g.is_finite() => m.max((r - g).abs()),
        false if r == g || r.is_nan() == g.is_nan() && !g.is_finite() => m,
        _ => f64::INFINITY,
    });
    if difference == 0.0 { 0.0 } else { difference / largest.max(1e-30) }
}

/// Runs every case of a fixture; the largest relative difference of each.
fn run(folder: &Path) -> bitonnx::Result<Vec<f64>> {
    run_cases(&folder.join("model.onnx"), cases(folder))
}

fn run_cases(model: &Path, cases: Vec<Case>) -> bitonnx::Result<Vec<f64>> {
    let model = proto::load(model)?;
    let mut session = Session::new(model, &Options::default())?;
    let mut worst = Vec::new();
    for case in cases {
        let got = session.run(&case.inputs)?;
        let of = |(name, reference): (&String, &Array)| {
            let (_, array) = got.iter().find(|(n, _)| n == name).expect("every output is there");
            relative(reference, array)
        };
        worst.push(case.outputs.iter().map(of).fold(0.0, f64::max));
    }
    Ok(worst)
}

fn fixtures() -> Vec<PathBuf> {
    let folder = std::env::var("BITONNX_FIXTURES").unwrap_or_else(|_| "tests/fixtures".into());
    let mut folders: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.join("io.npz").exists())
        .collect();
    folders.sort();
    folders
}

#[test]
fn fixtures_match_their_reference() {
    for folder in fixtures() {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        match run(&folder) {
            Ok(worst) => {
                let worst: Vec<String> = worst.iter().map(|w| format!("{w:.1e}")).collect();
                println!("{name:32} {}", worst.join(" "));
            }
            Err(e) => println!("{name:32} FAIL {} | {}", e.what(), &e.why().chars().take(700).collect::<String>()),
        }
    }
}

/// Operators that the runtime mends or says in other operators, against ONNX Runtime.
#[test]
fn operators_match_onnx_runtime() {
    let mut models: Vec<PathBuf> = std::fs::read_dir("tests/operators")
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .collect();
    models.sort();
    assert!(!models.is_empty());
    let mut wrong = Vec::new();
    for model in models {
        match run_cases(&model, cases_of(&model.with_extension("npz"))) {
            Ok(worst) if worst.iter().all(|w| *w < 2e-4) => {}
            Ok(worst) => wrong.push(format!("{}: {worst:?}", model.display())),
            Err(e) => wrong.push(format!("{}: {e}", model.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
