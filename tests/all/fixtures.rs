//! What becomes of each projection of real exports.

use bitonnx::{
    proto,
    report::{Action, Report},
    rewrite::{Options, rewrite},
    rules::recipe,
};
use std::{fmt::Write as _, path::Path};

#[test]
fn reports_of_real_exports() {
    for name in [
        "bert-ortopt-attention",
        "bert-ts14-int8dyn",
        "bitbert-bias-ts17",
        "bitllama-packed-dyn18nofold",
        "gpt2-ts14",
        "llama-dyn18-slim",
        "llama-ts17fp16",
        "modernbert-dyn18",
        "nanollama-dyn18",
        "t5-decoder-merged-optimum",
        "torch-encoder-ts17",
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let model = proto::load(&path.join("model.onnx")).unwrap();
        let report = rewrite(model, &recipe(), &Options::default(), &mut |_, _| {}).unwrap().report;
        assert_snapshot!(format!("report@{name}"), table(&report));
    }
}

fn table(report: &Report) -> String {
    let mut text = String::new();
    for e in &report.projections {
        let what = match e.action {
            Action::BitLinear => format!("{} -> {} bytes", e.bytes_before, e.bytes_after),
            Action::Keep => format!("kept: {}", e.reason),
        };
        let shape = format!("{}x{} {}", e.out_features, e.in_features, e.dtype);
        writeln!(text, "{}  {}  {shape}  {}  {what}", e.node, e.role, e.rule).unwrap();
    }
    text
}

/// Rewriting what was rewritten finds nothing to do, and two rewrites give the same model.
#[test]
fn rewriting_is_idempotent_and_deterministic() {
    for entry in
        std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap()
    {
        let path = entry.unwrap().path().join("model.onnx");
        if !path.exists() {
            continue;
        }
        let once = |model| rewrite(model, &recipe(), &Options::default(), &mut |_, _| {}).unwrap();
        let model = proto::load(&path).unwrap();
        let first = once(model.clone());
        assert!(first.model == once(model).model, "{}", path.display());
        let again = once(first.model.clone());
        assert_eq!(again.report.converted().count(), 0, "{}", path.display());
        assert!(again.model == first.model, "{}", path.display());
    }
}
