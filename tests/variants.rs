//! SubLN, low-rank corrections and the QAT variant: what each does to a small graph and to a real export,
//! as snapshots; and the way from a QAT file back.

#[path = "rules/graphs.rs"]
#[allow(dead_code, reason = "shared with the tests of the rules")]
mod graphs;

use bitonnx::{
    proto::{self, ModelProto},
    report::{Action, Report},
    rewrite::{
        Filter, Granularity, LowRank, LowRankInit, Manifest, Options, Placement, Preset, Rank,
        Trainable, rewrite,
    },
    rules::recipe,
    text,
};
use std::{fmt::Write as _, fs, path::PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn small(name: &str) -> ModelProto {
    graphs::model(&fs::read_to_string(format!("{ROOT}/tests/variants/{name}.onnxtxt")).unwrap())
}

fn fixture(name: &str) -> ModelProto {
    proto::load(&PathBuf::from(format!("{ROOT}/tests/fixtures/{name}/model.onnx"))).unwrap()
}

fn none() -> Options {
    Options { subln: Some(Placement::None), ..Options::default() }
}

fn placed(placement: Placement) -> Options {
    Options { subln: Some(placement), ..Options::default() }
}

fn corrected(rank: usize, init: LowRankInit) -> Options {
    Options { lrc: Some(LowRank { rank: Rank::Fixed(rank), init }), ..none() }
}

fn trained(options: Options) -> Options {
    Options { qat: Some(Trainable::default()), ..options }
}

struct Made {
    model: ModelProto,
    report: Report,
    manifest: Option<Manifest>,
}

fn made(source: &ModelProto, options: &Options) -> Made {
    let made = rewrite(source.clone(), &recipe(), options, &mut |_, _| {}).unwrap();
    Made { model: made.model, report: made.report, manifest: made.manifest }
}

/// The options, norms and corrections by projection, warnings, and what the model became.
fn told(source: &ModelProto, made: &Made) -> String {
    let mut text = format!("options: {}\n", made.report.options);
    text.push_str(&projections(&made.report));
    made.report.warnings.iter().for_each(|warning| writeln!(text, "warning: {warning}").unwrap());
    let mut after = made.model.clone();
    after.functions.clear();
    after.metadata_props.clear();
    let diff = text::diff::models(source, &after).to_string();
    write!(text, "\n{}", folded(&diff)).unwrap();
    text
}

/// A line for each projection.
fn projections(report: &Report) -> String {
    let mut text = String::new();
    for entry in &report.projections {
        let norm = entry.subln.as_deref().unwrap_or("none");
        let Action::BitLinear = entry.action else {
            writeln!(text, "{}: {}, left as it is", entry.node, entry.role).unwrap();
            continue;
        };
        write!(text, "{}: {}, norm before it {norm}", entry.node, entry.role).unwrap();
        if let (Some(rank), Some(before), Some(after)) =
            (entry.lrc_rank, entry.error, entry.lrc_error)
        {
            write!(
                text,
                ", correction of rank {rank}, |W - t·s - U·Vᵀ| / |W| {before:.2} to {after:.2}"
            )
            .unwrap();
        }
        text.push('\n');
    }
    text
}

/// A diff with long runs of unchanged lines cut to their ends.
fn folded(diff: &str) -> String {
    const ENDS: usize = 2;
    let lines: Vec<&str> = diff.lines().collect();
    let mut text = String::new();
    for run in lines.chunk_by(|a, b| a.starts_with(' ') == b.starts_with(' ')) {
        let hidden = run.len().saturating_sub(2 * ENDS);
        if !run[0].starts_with(' ') || hidden < 3 {
            run.iter().for_each(|line| writeln!(text, "{line}").unwrap());
            continue;
        }
        run[..ENDS].iter().for_each(|line| writeln!(text, "{line}").unwrap());
        writeln!(text, "  … {hidden} lines as before").unwrap();
        run[run.len() - ENDS..].iter().for_each(|line| writeln!(text, "{line}").unwrap());
    }
    text
}

/// What a manifest trains, and of what it freezes more than the constants of the new nodes.
fn manifest(manifest: &Manifest) -> String {
    let mut text = String::new();
    let (constants, entries): (Vec<_>, Vec<_>) = manifest
        .initializers
        .iter()
        .partition(|entry| !entry.trainable && entry.name.starts_with("bitonnx_"));
    for entry in entries {
        let trained = if entry.trainable { "trained" } else { "frozen" };
        let read =
            entry.identity.as_ref().map_or(String::new(), |name| format!(", read as {name}"));
        let of = entry.projection.as_ref().map_or(String::new(), |name| format!(" of {name}"));
        writeln!(text, "{trained}: {}, {}{of}{read}", entry.name, entry.role).unwrap();
    }
    writeln!(text, "frozen: {} constants of the new nodes", constants.len()).unwrap();
    text
}

macro_rules! assert_told {
    ($name:expr, $text:expr) => {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!($name, $text);
        });
    };
}

#[test]
fn placements_on_a_small_block() {
    let source = small("block");
    for (name, placement) in [
        ("none", Placement::None),
        ("attention", Placement::Attention),
        ("output", Placement::Output),
        ("all", Placement::All),
    ] {
        assert_told!(format!("subln@{name}"), told(&source, &made(&source, &placed(placement))));
    }
}

#[test]
fn placements_on_other_patterns() {
    for name in ["plain", "half", "new_norm"] {
        let source = small(name);
        assert_told!(
            format!("subln@all_{name}"),
            told(&source, &made(&source, &placed(Placement::All)))
        );
    }
}

/// ModernBERT has a norm before each projection into a block, BitNet one inside each projection.
#[test]
fn norms_of_a_models_own_get_no_second_one() {
    for name in ["modernbert-dyn18", "bitllama-subln-dyn18"] {
        let source = fixture(name);
        let made = made(&source, &placed(Placement::All));
        assert_told!(format!("subln@own_{name}"), projections(&made.report));
    }
}

#[test]
fn what_was_trained_ternary_gets_norms_by_hand_only() {
    let source = fixture("bitllama-ste-ts17");
    let inserted = |options: &Options| {
        let report = made(&source, options).report;
        report.projections.iter().filter(|p| p.subln.as_deref() == Some("inserted")).count()
    };
    assert_eq!(inserted(&Options::default()), 0);
    assert!(inserted(&placed(Placement::Output)) > 0);
}

#[test]
fn corrections() {
    let source = small("plain");
    let svd = corrected(2, LowRankInit::Svd);
    assert_told!("lrc@svd", told(&source, &made(&source, &svd)));
    let zeros = Options { subln: Some(Placement::Output), ..corrected(1, LowRankInit::Zeros) };
    assert_told!("lrc@zeros", told(&source, &made(&source, &zeros)));
}

#[test]
fn a_ratio_is_of_the_lesser_side() {
    let source = small("block");
    let rank = Rank::Ratio(0.3);
    let options = Options { lrc: Some(LowRank { rank, init: LowRankInit::Svd }), ..none() };
    let report = made(&source, &options).report;
    assert!(report.projections.iter().all(|p| p.lrc_rank == Some(2)), "floor(0.3 · 8)");
}

#[test]
fn a_rank_that_is_too_large_is_refused_before_any_work() {
    let options = corrected(9, LowRankInit::Svd);
    let error = rewrite(small("block"), &recipe(), &options, &mut |_, _| {
        panic!("no weight should be read");
    });
    let error = error.unwrap_err();
    assert_eq!(error.what(), "the correction of node `q` can't be made");
    assert!(error.why().contains("rank 9 is more than 8"), "{error}");
}

#[test]
fn qat_on_small_graphs() {
    let cases = [
        ("block", trained(none())),
        ("plain", trained(none())),
        (
            "half",
            trained(Options { subln: Some(Placement::Output), ..corrected(1, LowRankInit::Zeros) }),
        ),
        (
            "new_norm",
            trained(Options { granularity: Granularity::Channel, ..placed(Placement::All) }),
        ),
    ];
    for (name, options) in cases {
        let source = small(name);
        let made = made(&source, &options);
        let text = told(&source, &made) + "\n" + &manifest(made.manifest.as_ref().unwrap());
        assert_told!(format!("qat@{name}"), text);
    }
}

#[test]
fn variants_of_a_real_export() {
    let source = fixture("bert-ts14");
    let inference = Options { subln: Some(Placement::Output), ..corrected(4, LowRankInit::Svd) };
    assert_told!("subln@bert-ts14", told(&source, &made(&source, &inference)));
    assert_told!("qat@bert-ts14", told(&source, &made(&source, &trained(inference))));
}

/// The same weights: what is written directly, and what comes back from a QAT file.
#[test]
fn a_qat_file_gives_the_inference_model() {
    let channel = Options { granularity: Granularity::Channel, ..placed(Placement::All) };
    let cases = [
        ("block", none()),
        ("block", placed(Placement::All)),
        ("block", channel.clone()),
        ("plain", placed(Placement::All)),
        ("plain", corrected(2, LowRankInit::Svd)),
        ("half", placed(Placement::Output)),
        ("half", corrected(2, LowRankInit::Svd)),
        ("new_norm", channel),
    ];
    for (name, options) in cases {
        let source = small(name);
        let direct = made(&source, &options);
        let qat = made(&source, &trained(options));
        let back = made(&qat.model, &Options::default());
        let (mut direct, mut back) = (direct.model, back.model);
        // They have other sources.
        direct.metadata_props.retain(|p| p.key() != "bitonnx.source");
        back.metadata_props.retain(|p| p.key() != "bitonnx.source");
        for model in [&mut direct, &mut back] {
            let stored = &mut model.graph.as_mut().unwrap().initializer;
            stored.sort_by(|a, b| a.name().cmp(b.name()));
        }
        let difference = text::diff::models(&direct, &back).to_string();
        // Which rule made a node is not in the text, and the order of what is stored does not matter.
        let changed: Vec<&str> =
            difference.lines().filter(|l| l.starts_with(['+', '-']) && l.contains('=')).collect();
        assert!(changed.is_empty(), "{name}: {changed:#?}");
    }
}

#[test]
fn a_qat_file_stays_as_it_is_when_asked_for_one() {
    let qat = made(&small("plain"), &trained(placed(Placement::All))).model;
    let again = made(&qat, &trained(placed(Placement::All)));
    assert!(again.model == qat && again.manifest.is_none());
}

#[test]
fn a_qat_file_keeps_what_it_left_float() {
    let filters = vec![Filter::new(false, "^fc1$").unwrap()];
    let qat = made(&small("plain"), &trained(Options { filters, ..none() })).model;
    let report = made(&qat, &Options::default()).report;
    let converted: Vec<&str> = report.converted().map(|p| p.node.as_str()).collect();
    assert_eq!(converted, ["qkv", "o", "fc2"]);
    assert_eq!(report.kept().next().unwrap().reason, "the QAT file leaves it as it is");
}

#[test]
fn presets_and_filters_say_what_is_trained() {
    let source = small("block");
    let names = |preset: Preset, filters: &[(bool, &str)]| -> Vec<String> {
        let filters = filters.iter().map(|(take, p)| Filter::new(*take, p).unwrap()).collect();
        let qat = Some(Trainable { preset, filters });
        let lrc = corrected(1, LowRankInit::Svd).lrc;
        let options = Options { qat, lrc, subln: Some(Placement::Output), ..none() };
        let manifest = made(&source, &options).manifest.unwrap();
        manifest.initializers.into_iter().filter(|i| i.trainable).map(|i| i.name).collect()
    };
    assert_eq!(names(Preset::SublnOnly, &[]), ["wo_subln_gain", "wd_subln_gain"]);
    assert_eq!(
        names(Preset::LrcOnly, &[(false, "^w[gu]"), (false, "wq|wk|wv"), (true, "^bo$")]),
        ["bo", "wo_lrc_u", "wo_lrc_v", "wd_lrc_u", "wd_lrc_v"]
    );
    let all = names(Preset::All, &[]);
    assert!(["wq", "bo", "norm_1", "norm_2", "wd"].iter().all(|w| all.iter().any(|n| n == w)));
    assert!(!all.iter().any(|n| n == "eps" || n == "two"));
}
