//! SubLN, low-rank corrections and the QAT variant: what each does to a small graph and to a real export,
//! as snapshots; and the way from a QAT file back.

use crate::graphs;
use bitonnx::{
    ErrorKind,
    proto::{self, ModelProto},
    report::{Action, Report},
    rewrite::{Filter, Granularity, LowRankInit, Options, Placement, Trainable, rewrite},
    rules::recipe,
    text,
    variants::Manifest,
};
use half::f16;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::PathBuf,
};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn small(name: &str) -> ModelProto {
    graphs::model(&fs::read_to_string(format!("{ROOT}/tests/variants/{name}.onnxtxt")).unwrap())
}

fn fixture(name: &str) -> ModelProto {
    proto::load(&PathBuf::from(format!("{ROOT}/tests/fixtures/{name}/model.onnx"))).unwrap()
}

fn none() -> Options {
    placed(Placement::None)
}

fn placed(placement: Placement) -> Options {
    Options::default().with(|o| o.subln = Some(placement))
}

fn corrected(rank: usize, init: LowRankInit) -> Options {
    none().with(|o| (o.lrc_rank, o.lrc_init) = (Some(rank), Some(init)))
}

fn trained(options: Options) -> Options {
    options.with(|o| o.qat = true)
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

#[test]
fn placements_on_a_small_block() {
    let source = small("block");
    for (name, placement) in [
        ("none", Placement::None),
        ("attention", Placement::Attention),
        ("output", Placement::Output),
        ("all", Placement::All),
    ] {
        assert_snapshot!(
            format!("subln@{name}"),
            told(&source, &made(&source, &placed(placement)))
        );
    }
}

#[test]
fn placements_on_other_patterns() {
    for name in ["plain", "half", "new_norm"] {
        let source = small(name);
        assert_snapshot!(
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
        assert_snapshot!(format!("subln@own_{name}"), projections(&made.report));
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
    assert_snapshot!("lrc@svd", told(&source, &made(&source, &svd)));
    let zeros = corrected(1, LowRankInit::Zeros).with(|o| o.subln = Some(Placement::Output));
    assert_snapshot!("lrc@zeros", told(&source, &made(&source, &zeros)));
}

#[test]
fn a_ratio_is_of_the_lesser_side() {
    let source = small("block");
    let options = none().with(|o| o.lrc_ratio = Some(0.3));
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
    assert_eq!(error.kind(), ErrorKind::InvalidOption);
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
            trained(corrected(1, LowRankInit::Zeros).with(|o| o.subln = Some(Placement::Output))),
        ),
        (
            "new_norm",
            trained(placed(Placement::All).with(|o| o.granularity = Granularity::Channel)),
        ),
    ];
    for (name, options) in cases {
        let source = small(name);
        let made = made(&source, &options);
        let text = told(&source, &made) + "\n" + &manifest(made.manifest.as_ref().unwrap());
        assert_snapshot!(format!("qat@{name}"), text);
    }
}

#[test]
fn variants_of_a_real_export() {
    let source = fixture("bert-ts14");
    let inference = corrected(4, LowRankInit::Svd).with(|o| o.subln = Some(Placement::Output));
    assert_snapshot!("subln@bert-ts14", told(&source, &made(&source, &inference)));
    assert_snapshot!("qat@bert-ts14", told(&source, &made(&source, &trained(inference))));
}

/// Takes every projection, whatever its role.
fn every(options: Options) -> Options {
    options.with(|o| o.filters = vec![Filter::new(true, ".").unwrap()])
}

/// The initializers of a model by name, with their data.
fn stored(model: &ModelProto) -> BTreeMap<String, Vec<u8>> {
    let initializers = &model.graph.as_ref().unwrap().initializer;
    let data = |t: &proto::TensorProto| proto::raw_bytes(t).unwrap().into_owned();
    // A computed weight is stored as floats in a QAT file, under a name of its own.
    initializers.iter().map(|t| (t.name().replace("_float", ""), data(t))).collect()
}

/// The same weights: what is written directly, and what comes back from a QAT file.
#[test]
fn a_qat_file_gives_the_inference_model() {
    let channel = placed(Placement::All).with(|o| o.granularity = Granularity::Channel);
    let cases = [
        ("block", none()),
        ("block", placed(Placement::All)),
        ("block", channel.clone()),
        ("plain", placed(Placement::All)),
        ("plain", corrected(2, LowRankInit::Svd)),
        ("half", placed(Placement::Output)),
        ("half", corrected(2, LowRankInit::Svd)),
        ("new_norm", channel),
        ("branches", every(corrected(2, LowRankInit::Svd))),
        ("shared", every(placed(Placement::All))),
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
        assert_eq!(stored(&direct), stored(&back), "{name}");
        let difference = text::diff::models(&direct, &back).to_string();
        // Which rule made a node is not in the text, and the order of what is stored does not matter.
        let nodes = |sign: char| -> Vec<String> {
            let lines = difference.lines().filter(|l| l.starts_with(sign) && l.contains('='));
            lines.map(|l| l[1..].replace("_float", "")).collect()
        };
        assert_eq!(nodes('-'), nodes('+'), "{name}");
    }
}

/// Writes other numbers into an initializer of f32 or f16.
fn put(model: &mut ModelProto, name: &str, number: impl Fn(usize) -> f32) {
    let stored = &mut model.graph.as_mut().unwrap().initializer;
    let tensor = stored.iter_mut().find(|t| t.name() == name).unwrap();
    let numbers = (0..tensor.dims.iter().product::<i64>() as usize).map(number);
    let bytes: Vec<u8> = match tensor.data_type() {
        1 => numbers.flat_map(f32::to_le_bytes).collect(),
        _ => numbers.flat_map(|n| f16::from_f32(n).to_le_bytes()).collect(),
    };
    (tensor.raw_data, tensor.float_data) = (Some(bytes.into()), vec![]);
}

/// While they are trained, projections of one input have a norm each.
#[test]
fn norms_of_one_input_are_one_again_where_their_gains_are_equal() {
    let text = fs::read_to_string(format!("{ROOT}/tests/variants/shared.onnxtxt")).unwrap();
    let newer = text.replace(": 18", ": 23");
    let half = text.replace("float[", "float16[");
    let options = trained(every(placed(Placement::All)));
    for source in [text, newer, half] {
        let Made { model, manifest, .. } = made(&graphs::model(&source), &options);
        let entries = manifest.unwrap().initializers.into_iter();
        let gains: Vec<String> =
            entries.filter(|e| e.role == "subln_gain").map(|e| e.name).collect();
        assert_eq!(gains.len(), 4);
        let norms = |qat: &ModelProto| {
            let graph = made(qat, &Options::default()).model.graph.unwrap();
            let products = graph.node.iter().filter(|n| n.is("bitonnx.BitLinear"));
            products.map(|n| n.input[0].clone()).collect::<BTreeSet<_>>().len()
        };
        let mut qat = model;
        assert_eq!(norms(&qat), 1, "all gains are ones");
        put(&mut qat, &gains[1], |i| 0.5 + i as f32);
        assert_eq!(norms(&qat), 2, "one gain was trained");
        put(&mut qat, &gains[3], |i| 0.5 + i as f32);
        assert_eq!(norms(&qat), 2, "another was trained to the same");
    }
}

/// The main graph with every value that nobody else knows under a name that says nothing.
fn anonymous(mut model: ModelProto) -> ModelProto {
    let graph = model.graph.as_mut().unwrap();
    let known: BTreeSet<String> =
        graph.input.iter().chain(&graph.output).map(|v| v.name().to_owned()).collect();
    let stored = graph.initializer.iter_mut().filter_map(|t| t.name.as_mut());
    let values = graph.node.iter_mut().flat_map(|n| n.input.iter_mut().chain(&mut n.output));
    let mut names = BTreeMap::new();
    for name in stored.chain(values).filter(|n| !n.is_empty() && !known.contains(*n)) {
        let number = names.len();
        *name = names.entry(name.clone()).or_insert_with(|| format!("v{number}")).clone();
    }
    for (number, node) in graph.node.iter_mut().enumerate() {
        node.name = Some(format!("n{number}"));
    }
    model
}

#[test]
fn a_qat_file_comes_back_whatever_its_values_are_called() {
    let operators = |qat: &ModelProto| -> Vec<String> {
        let graph = made(qat, &Options::default()).model.graph.unwrap();
        graph.node.iter().map(|node| node.operator().to_string()).collect()
    };
    for (name, options) in [
        ("shared", every(placed(Placement::All))),
        ("half", every(corrected(2, LowRankInit::Svd))),
        ("new_norm", every(placed(Placement::All))),
    ] {
        let qat = made(&small(name), &trained(options)).model;
        assert_eq!(operators(&anonymous(qat.clone())), operators(&qat), "{name}");
    }
}

#[test]
fn a_parameter_that_a_qat_file_hands_out_is_still_handed_out() {
    let Made { model: mut qat, manifest, .. } = made(&small("plain"), &trained(none()));
    let bias = manifest.unwrap().initializers.into_iter().find(|e| e.name == "bo").unwrap();
    let graph = qat.graph.as_mut().unwrap();
    let identity = graph.node.iter().find(|n| Some(n.label()) == bias.identity.as_deref());
    let value = identity.unwrap().output(0).unwrap().to_owned();
    graph.output.push(proto::ValueInfoProto { name: Some(value.clone()), ..Default::default() });
    let back = made(&qat, &Options::default()).model.graph.unwrap();
    let makers = back.node.iter().filter(|n| n.output(0) == Some(&value));
    assert_eq!(makers.count(), 1);
    let bias = back.node.iter().find(|n| n.name() == "o_bias").unwrap();
    assert!(bias.input.iter().any(|i| i == "bo"), "others read it directly: {bias:?}");
}

/// The first product is scaled last: what comes in its place stands behind the second's.
#[test]
fn what_projections_share_is_made_before_all_of_them() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[m, 4] x) => (float[m, 4] y)
        <
          float[4, 4] wa = {1, -1, -1, 1, -1, 0, -1, -1, 1, 0, 1, 0, 1, 1, 0, 0},
          float[4, 4] wb = {0, -1, 1, 1, -1, 0, -1, -1, 1, 0, 1, 0, 1, 1, 0, 0},
          float eps = {1e-05}, float high = {127.0}, float low = {-128.0}
        >
        {
          a = Abs (x) m = ReduceMax <axes = [-1]> (a) g = Clip (m, eps) f = Div (high, g)
          u = Mul (x, f) v = Round (u) q = Clip (v, low, high)
          [q] pa = MatMul (q, wa)
          [k] pb = MatMul (q, wb)
          s = Div (g, high)
          keys = Mul (pb, s)
          queries = Mul (pa, s)
          turned = Transpose (keys) scores = MatMul (queries, turned)
          p = Softmax <axis = -1> (scores) y = MatMul (p, x)
        }"#;
    let options = every(placed(Placement::All));
    let report = made(&text::parse_model(text).unwrap(), &options).report;
    assert!(report.projections.iter().all(|p| p.subln.as_deref() == Some("inserted")));
}

/// A merged decoder has each projection in both branches of an `If`.
#[test]
fn branches_that_share_a_weight_share_what_is_trained() {
    let options = corrected(1, LowRankInit::Zeros).with(|o| o.subln = Some(Placement::All));
    let made = made(&fixture("t5-decoder-merged-optimum"), &trained(options));
    let converted: Vec<_> = made.report.converted().collect();
    let weights: BTreeSet<&str> = converted.iter().map(|p| p.weight.as_str()).collect();
    let normed = converted.iter().filter(|p| p.subln.as_deref() == Some("inserted"));
    let normed: BTreeSet<&str> = normed.map(|p| p.weight.as_str()).collect();
    assert!(converted.len() > weights.len() && !normed.is_empty());
    let manifest = made.manifest.unwrap();
    let count = |role: &str| manifest.initializers.iter().filter(|i| i.role == role).count();
    assert_eq!(
        ["lrc_u", "lrc_v", "subln_gain"].map(count),
        [weights.len(), weights.len(), normed.len()]
    );
}

#[test]
fn a_weight_that_is_computed_is_trained_as_computed() {
    let text = "<ir_version: 8, opset_import: [\"\" : 17]>
        g (float[s, 2] x) => (float[s, 2] y)
        <float[2, 2] w = {1, 2, 3, 4}, float[2, 2] mask = {1, 0, 1, 1}>
        { m = Mul (w, mask) [proj] y = MatMul (x, m) }";
    let options = trained(every(none()));
    let made = made(&text::parse_model(text).unwrap(), &options);
    let weight = made.manifest.unwrap().initializers.into_iter().find(|i| i.role == "weight");
    let floats = [1f32, 0.0, 3.0, 4.0];
    let bytes: Vec<u8> = floats.iter().flat_map(|w| w.to_le_bytes()).collect();
    assert_eq!(stored(&made.model)[&weight.unwrap().name.replace("_float", "")], bytes);
}

#[test]
fn old_files_stop_listing_what_they_store_as_inputs() {
    let text = "<ir_version: 3, opset_import: [\"\" : 11]>
        g (float[s, 2] x, float[2, 2] w) => (float[s, 2] y)
        <float[2, 2] w = {1, 2, 3, 4}>
        { [proj] y = MatMul (x, w) }";
    let source = text::parse_model(text).unwrap();
    let all = every(none());
    for (options, inputs) in [(all.clone(), vec!["x"]), (trained(all), vec!["x", "lambda"])] {
        let model = made(&source, &options).model;
        assert!(model.ir_version() >= 4);
        let graph = model.graph.unwrap();
        assert_eq!(graph.input.iter().map(|i| i.name()).collect::<Vec<_>>(), inputs);
    }
}

#[test]
fn rotary_tables_are_no_parameters() {
    let text = "<ir_version: 8, opset_import: [\"\" : 17]>
        g (float[s, 2] x, int64[s] p) => (float[s, 2] y, float[s, 2] z, float[s, 2] t)
        <
          float[2, 2] w = {1, 2, 3, 4}, float[3, 2] cos = {1, 1, 0.54, 0.99, -0.41, 0.98},
          float[3, 2] sin = {0, 0, 0.84, 0.1, 0.995, 0.2}, float[3, 2] padded = {0, 0, 0.3, 1.4, -0.2, 0.5}
        >
        {
          c = Gather (cos, p) n = Gather (sin, p) e = Gather (padded, p)
          y = Mul (x, c) z = Mul (x, n) h = Add (x, e) [proj] t = MatMul (h, w)
        }";
    let options = trained(every(none()));
    let made = made(&text::parse_model(text).unwrap(), &options);
    let trained = made.manifest.unwrap().initializers.into_iter().filter(|i| i.trainable);
    assert_eq!(trained.map(|i| i.name).collect::<Vec<_>>(), ["w", "padded"]);
}

#[test]
fn a_qat_file_keeps_the_options_that_it_was_made_with() {
    let qat = made(&small("plain"), &trained(placed(Placement::Output))).model;
    for options in [placed(Placement::All), corrected(2, LowRankInit::Svd)] {
        let error = rewrite(qat.clone(), &recipe(), &options, &mut |_, _| {}).unwrap_err();
        assert!(error.what().contains("can't be given for a QAT file"), "{error}");
    }
    let filters = vec![Filter::new(false, "^fc1$").unwrap()];
    let options = Options::default().with(|o| o.filters = filters);
    let report = made(&qat, &options).report;
    assert_eq!(report.options["filters"][0]["exclude"], "^fc1$");
    assert_eq!(report.options["subln"], "output");
}

#[test]
fn a_blend_that_is_not_ours_is_an_error_on_the_way_back() {
    let mut qat = made(&small("plain"), &trained(none())).model;
    let nodes = &mut qat.graph.as_mut().unwrap().node;
    let share = nodes.iter_mut().find(|n| n.output[0].ends_with("w_blend_share")).unwrap();
    share.op_type = Some("Pow".into());
    let error = rewrite(qat, &recipe(), &Options::default(), &mut |_, _| {}).unwrap_err();
    assert!(error.why().contains("reads `lambda`"), "{error}");
}

/// A model that quantises its activations as BitLinear does, with other numbers in its weight.
fn with_weight(number: impl Fn(usize) -> f32) -> ModelProto {
    let path = format!("{ROOT}/tests/graphs/bitnet_reciprocal.onnxtxt");
    let mut source = graphs::model(&fs::read_to_string(path).unwrap());
    let weights = &mut source.graph.as_mut().unwrap().initializer;
    let weight = weights.iter_mut().find(|t| t.dims.len() == 2).unwrap();
    let count = weight.dims.iter().product::<i64>() as usize;
    let floats = (0..count).flat_map(|i| number(i).to_le_bytes()).collect::<Vec<u8>>();
    (weight.raw_data, weight.float_data) = (Some(floats.into()), vec![]);
    source
}

/// Another tool that folds `w + stop(t·s - w)` leaves of a zero what the stop cuts off: less than 2^-40.
#[test]
fn what_a_folded_blend_leaves_of_zeros_is_zero() {
    let residue = |i: usize| [0.5, -0.5, 8e-13, -3e-13][i % 4];
    let clean = |i: usize| [0.5, -0.5, 0.0, 0.0][i % 4];
    let all = every(none());
    let made = [made(&with_weight(residue), &all), made(&with_weight(clean), &all)];
    assert_eq!(made[0].report.converted().count(), 1);
    assert_eq!(stored(&made[0].model), stored(&made[1].model));
}

#[test]
fn a_float_weight_behind_quantised_activations_is_kept() {
    let source = with_weight(|i| 0.1 + i as f32);
    let report = made(&source, &every(none())).report;
    let reasons: Vec<&str> = report.kept().map(|p| p.reason.as_str()).collect();
    assert!(matches!(reasons[..], [why] if why.contains("is not ternary")), "{reasons:?}");
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
    let qat = made(&small("plain"), &trained(none().with(|o| o.filters = filters))).model;
    let report = made(&qat, &Options::default()).report;
    let converted: Vec<&str> = report.converted().map(|p| p.node.as_str()).collect();
    assert_eq!(converted, ["qkv", "o", "fc2"]);
    assert_eq!(report.kept().next().unwrap().reason, "the QAT file leaves it as it is");
}

#[test]
fn presets_and_filters_say_what_is_trained() {
    let source = small("block");
    let names = |preset: Trainable, filters: &[(bool, &str)]| -> Vec<String> {
        let filters = filters.iter().map(|(take, p)| Filter::new(*take, p).unwrap()).collect();
        let options = trained(corrected(1, LowRankInit::Svd)).with(|o| {
            o.subln = Some(Placement::Output);
            o.trainable = Some(preset);
            o.trainable_filters = filters;
        });
        let manifest = made(&source, &options).manifest.unwrap();
        manifest.initializers.into_iter().filter(|i| i.trainable).map(|i| i.name).collect()
    };
    assert_eq!(names(Trainable::SublnOnly, &[]), ["wo_subln_gain", "wd_subln_gain"]);
    assert_eq!(
        names(Trainable::LrcOnly, &[(false, "^w[gu]"), (false, "wq|wk|wv"), (true, "^bo$")]),
        ["bo", "wo_lrc_u", "wo_lrc_v", "wd_lrc_u", "wd_lrc_v"]
    );
    let all = names(Trainable::All, &[]);
    assert!(["wq", "bo", "norm_1", "norm_2", "wd"].iter().all(|w| all.iter().any(|n| n == w)));
    assert!(!all.iter().any(|n| n == "eps" || n == "two"));
}
