//! What each rule does to a small graph, refusals included: `tests/graphs/*.onnxtxt` in, a snapshot out.

use bitonnx::{
    proto::ModelProto,
    report::{Action, Report},
    rewrite::{Filter, Options, rewrite},
    rules::recipe,
    text,
};
use std::{fmt::Write as _, fs, path::PathBuf};

#[test]
fn rules_on_small_graphs() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/graphs");
    let mut graphs: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    graphs.sort();
    assert!(!graphs.is_empty());
    for path in graphs {
        let source = fs::read_to_string(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        insta::with_settings!({
            snapshot_path => "../snapshots",
            prepend_module_to_snapshot => false,
            omit_expression => true,
            description => source.lines().next().unwrap().trim_start_matches("# "),
        }, {
            insta::assert_snapshot!(format!("rule@{name}"), rewritten(&source));
        });
    }
}

/// What became of each projection, then what changed in the graph.
fn rewritten(source: &str) -> String {
    let model = text::parse_model(source).unwrap();
    // Small graphs have no transformer around their projections: take every one.
    let filters = vec![Filter::new(true, "").unwrap()];
    let options = Options { filters, ..Options::default() };
    let result = rewrite(model.clone(), &recipe(), &options, &mut |_, _| {}).unwrap();
    format!("{}\n{}", lines(&result.report), changes(&model, &result.model))
}

fn lines(report: &Report) -> String {
    let mut text = String::new();
    for entry in &report.projections {
        let what = match entry.action {
            Action::BitLinear => {
                format!(
                    "scale {:.4}, {:.0} % zeros",
                    entry.scale.unwrap(),
                    100.0 * entry.zeros.unwrap()
                )
            }
            Action::Keep => format!("kept: {}", entry.reason),
        };
        writeln!(text, "{}  {}  {what}", entry.node, entry.rule).unwrap();
    }
    if text.is_empty() { "no projection\n".into() } else { text }
}

fn changes(before: &ModelProto, after: &ModelProto) -> String {
    let mut after = after.clone();
    // The definition has a snapshot of its own; digest and version change with everything.
    after.functions.clear();
    after.metadata_props.clear();
    text::diff::models(before, &after).to_string()
}

#[test]
fn definition_of_bit_linear() {
    for opset in [11, 14, 17, 23] {
        let function = bitonnx::rewrite::bit_linear(opset).unwrap();
        insta::with_settings!({
            snapshot_path => "../snapshots",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(
                format!("definition@opset{opset}"),
                text::print::function(&function, text::Style::SHORT)
            );
        });
    }
    assert!(bitonnx::rewrite::bit_linear(10).is_err());
}
