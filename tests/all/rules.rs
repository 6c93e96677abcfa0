//! What each rule does to a small graph, refusals included: `tests/graphs/*.onnxtxt` in, a snapshot
//! out. What it computes is measured in `rules/effects.rs`, the language of rules in `rules/language.rs`.

#[cfg(feature = "runtime")]
mod effects;
mod language;
mod patterns;

use crate::graphs::{Small, every_graph, model, nodes_named, rewritten};
use bitonnx::{
    proto::ModelProto,
    report::{Action, Report},
    rewrite::{Effect, Filter, Options, Placement, rewrite},
    rules::recipe,
    text,
};
use std::fmt::Write as _;

#[test]
fn rules_on_small_graphs() {
    for Small { name, description, model, rewritten } in every_graph() {
        let (report, changes) = (lines(&rewritten.report), changes(&model, &rewritten.model));
        let text = format!("{report}\n{changes}");
        assert_snapshot!(format!("rule@{name}"), text, description => description);
    }
}

/// What a rule keeps is in the rewritten model as it was in the source.
#[test]
fn kept_nodes_stay_as_they_were() {
    for Small { name, model, rewritten, .. } in every_graph() {
        if rewritten.report.converted().count() == 0 {
            assert!(rewritten.model == model, "{name}");
        }
        let kept = rewritten.report.projections.iter().filter(|e| e.action == Action::Keep);
        for node in kept.map(|e| &e.node) {
            let [before, after] = [&model, &rewritten.model].map(|model| nodes_named(model, node));
            assert!(!before.is_empty() && before == after, "{name}: {node}");
        }
    }
}

/// A rule whose arithmetic asks for what its pattern does not bind panics at its first match.
#[test]
fn every_rule_matches_a_graph() {
    let graphs = every_graph();
    let entries: Vec<_> = graphs.iter().flat_map(|g| &g.rewritten.report.projections).collect();
    for rule in recipe() {
        let wanted = match rule.effect() {
            Effect::Keep => Action::Keep,
            _ => Action::BitLinear,
        };
        let found = entries.iter().any(|e| e.rule == rule.name() && e.action == wanted);
        assert!(found, "no graph in tests/graphs is one for the rule {}", rule.name());
    }
}

/// A second rewrite takes no correction of the first for a projection, whatever the filters say.
#[test]
fn corrections_are_never_taken() {
    let options = Options::default().with(|options| {
        options.filters = vec![Filter::new(true, "").unwrap()];
        options.subln = Some(Placement::All);
        options.lrc_rank = Some(2);
    });
    let rewrite =
        |model: &ModelProto| rewrite(model.clone(), &recipe(), &options, &mut |_, _| {}).unwrap();
    for (float, opset) in [("float", 17), ("float", 23), ("float16", 14), ("float16", 17)] {
        let source = model(&format!(
            r#"<ir_version: 8, opset_import: ["" : {opset}]>
            g ({float}[m, 4] x) => ({float}[m, 3] y) <{float}[4, 3] w, {float}[3] b>
            {{ [product] p = MatMul(x, w) y = Add(b, p) }}"#
        ));
        let once = rewrite(&source);
        assert_eq!(once.report.converted().count(), 1);
        let twice = rewrite(&once.model);
        assert!(twice.model == once.model, "{float}, opset {opset}");
        let reasons = twice.report.kept().map(|entry| entry.reason.as_str());
        let corrections =
            reasons.filter(|why| why.contains("correction of the BitLinear `product`"));
        assert_eq!(corrections.count(), 2, "{float}, opset {opset}");
    }
}

/// A mask may come a long way.
#[test]
fn a_mask_is_followed_however_far() {
    let casts: String = (1..100_000).map(|i| format!("m{i} = Identity(m{})\n", i - 1)).collect();
    let source = model(&format!(
        r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[b, s, 4] x, int32 given) => (float[b, s, 4] y) <float[4, 12] w, float[12] b>
        {{ m0 = Identity(given) {casts} y = com.microsoft.Attention <num_heads = 2> (x, w, b, m99999) }}"#
    ));
    let report = rewritten(&source, &recipe()).report;
    let [entry] = &report.projections[..] else { panic!("{report:?}") };
    assert!(entry.reason.contains("it has 0 axes"), "{}", entry.reason);
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
    after.functions.retain(|f| f.domain() != "bitonnx");
    after.metadata_props.clear();
    text::diff::models(before, &after).to_string()
}

#[test]
fn definition_of_bit_linear() {
    for opset in [11, 14, 17, 23] {
        let function = bitonnx::operator::BitLinear::definition(opset).unwrap();
        let text = text::print::function(&function, text::Style::SHORT);
        assert_snapshot!(format!("definition@opset{opset}"), text);
    }
    assert!(bitonnx::operator::BitLinear::definition(10).is_err());
}
