//! Running models with tract: whole exports against their reference outputs, and the operators.

use crate::graphs;
use bitonnx::{
    ErrorKind,
    npz::{self, Array},
    proto::{self, ModelProto, SparseTensorProto, TensorProto, tensor_proto::DataType},
    rewrite::{self, Placement, rewrite},
    rules::recipe,
    runtime::{Options, Session},
    text::parse_model,
};
use half::f16;
use ndarray::{ArrayD, IxDyn};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

type Arrays = BTreeMap<String, Array>;

/// How far outputs may be from their reference, as a share of its largest value.
const TOLERANCE: f64 = 2e-4;

/// Fixtures that differ from their reference by more than rounding in f32 does, how far, and why.
const ROUGH: [(&str, f64, &str); 4] = [
    ("bert-dyn18fp16", 2e-2, "f16"),
    ("llama-ts17fp16", 2e-2, "f16"),
    ("llama-dyn18bf16", 2e-2, "computed in bf16 by torch, in f32 here"),
    ("llama-genai-int4", 2e-2, "ONNX Runtime rounds activations to int8 at accuracy_level 4"),
];

/// As far as a model that rounds its activations may be, where one of them lies between two integers
/// and rounds to the other. Not every case of a model may have one.
const OTHER_INTEGER: f64 = 2e-2;

#[test]
fn fixtures_match_their_reference() {
    let folders = files("tests/fixtures", |p| p.join("io.npz").exists());
    assert!(folders.len() > 20);
    let mut wrong = Vec::new();
    for folder in folders {
        let name = name(&folder);
        let rounds = name.starts_with("bit");
        let tolerance = ROUGH.iter().find(|(n, ..)| *n == name).map_or(TOLERANCE, |t| t.1);
        match run_cases(&folder.join("model.onnx"), &folder.join("io.npz")) {
            Ok(far) if far.iter().all(|f| *f <= tolerance) => {}
            Ok(far)
                if rounds
                    && far.iter().all(|f| *f <= OTHER_INTEGER)
                    && far.iter().any(|f| *f <= tolerance) => {}
            Ok(far) => wrong.push(format!("{name}: {far:.6?} over {tolerance:.1e}")),
            Err(e) => wrong.push(format!("{name}: {e}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What was trained with BitLinear computes what its source computed, with our operator in its place.
#[test]
fn trained_models_match_after_the_rewrite() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("model.onnx");
    let trained = files("tests/fixtures", |p| name(p).starts_with("bit"));
    assert!(trained.len() > 5);
    for source in trained {
        let model = proto::load(&source.join("model.onnx")).unwrap();
        let rewritten = rewrite(model, &recipe(), &Default::default(), &mut |_, _| {}).unwrap();
        assert!(rewritten.report.converted().count() > 0);
        proto::save(&rewritten.model, &out, Default::default(), &mut |_| {}).unwrap();
        let far = run_cases(&out, &source.join("io.npz")).unwrap();
        let near = far.iter().any(|f| *f <= TOLERANCE) && far.iter().all(|f| *f <= OTHER_INTEGER);
        assert!(near, "{}: {far:.6?}", source.display());
    }
}

/// Operators that the runtime mends or says in other operators, against ONNX Runtime.
#[test]
fn operators_match_onnx_runtime() {
    let models = files("tests/operators", |p| p.extension().is_some_and(|e| e == "onnx"));
    assert!(models.len() > 30);
    let mut wrong = Vec::new();
    for model in models {
        let tolerance = if name(&model).ends_with("f16.onnx") { 2e-3 } else { 1e-5 };
        match run_cases(&model, &model.with_extension("npz")) {
            Ok(far) if far.iter().all(|f| *f <= tolerance) => {}
            Ok(far) => wrong.push(format!("{}: {far:.6?}", model.display())),
            Err(e) => wrong.push(format!("{}: {e}", model.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A weight's scale is such a mean; summed up naively in f32, this one is off by 1 in 10⁴.
#[test]
fn means_over_every_axis_are_accurate() {
    let text = r#"<ir_version: 8, opset_import: ["" : 18]>
        g (float[1000, 1000] x) => (float y) { y = ReduceMean <keepdims = 0> (x) }"#;
    let x: Vec<f32> = Numbers(8).floats(1_000_000).iter().map(|x| x + 3.0).collect();
    let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / x.len() as f64;
    let y = run_one(parse_model(text).unwrap(), floats_array(&[1000, 1000], &x));
    assert_eq!(floats(&y), [f64::from(mean as f32)]);
}

#[test]
fn bit_linear_is_its_formula() {
    for (shape, n, scales) in [
        (vec![70], 37, 1),
        (vec![1, 64], 16, 16),
        (vec![5, 70], 37, 37),
        (vec![2, 33, 130], 48, 1),
        (vec![0, 8], 4, 1),
    ] {
        let mut numbers = Numbers(7);
        let k = *shape.last().unwrap();
        let t = numbers.ternary(n * k);
        let scale = numbers.floats(scales);
        let x = numbers.floats(shape.iter().product());
        let model = bit_linear("float", shape.len(), n, k, &t, &scale, "");
        let y = run_one(model, floats_array(&shape, &x));
        let expected = formula(&x, &t, &scale, n, k);
        assert_eq!(y.shape(), [&shape[..shape.len() - 1], &[n]].concat());
        assert_close(&floats(&y), &expected, 1e-6);
    }
}

#[test]
fn bit_linear_takes_in_a_constant_bias() {
    let (n, k) = (5, 12);
    let mut numbers = Numbers(3);
    let (t, x) = (numbers.ternary(n * k), numbers.floats(4 * k));
    let bias = [0.25, -1.0, 3.0, 0.0, -0.5];
    let mut expected = formula(&x, &t, &[0.5], n, k);
    expected.iter_mut().zip(bias.iter().cycle()).for_each(|(y, b)| *y += b);
    for order in ["h, bias", "bias, h"] {
        let stored = "float[5] bias = {0.25, -1.0, 3.0, 0.0, -0.5}";
        let mut model = bit_linear("float", 2, n, k, &t, &[0.5], stored);
        let graph = model.graph.as_mut().unwrap();
        graph.node[0].output[0] = "h".into();
        graph
            .node
            .push(bitonnx::text::parse_nodes(&format!("y = Add({order})")).unwrap().remove(0));
        let inputs = Arrays::from([("x".into(), floats_array(&[4, k], &x))]);
        let mut session = session(model);
        assert_close(&floats(&session.run(&inputs).unwrap()[0].1), &expected, 1e-6);
        let steps = session.profile(&inputs).unwrap();
        let ops: Vec<&str> = steps.iter().map(|s| s.op.as_str()).collect();
        assert!(ops.contains(&"BitLinear"), "{ops:?}");
        assert!(!ops.iter().any(|op| op.contains("Add")), "{ops:?}");
    }
}

#[test]
fn bit_linear_keeps_a_product_that_others_read() {
    let (n, k) = (4, 8);
    let mut numbers = Numbers(4);
    let (t, x) = (numbers.ternary(n * k), numbers.floats(3 * k));
    let mut model =
        bit_linear("float", 2, n, k, &t, &[0.5], "float[4] bias = {1.0, 2.0, 3.0, 4.0}");
    let graph = model.graph.as_mut().unwrap();
    graph.node[0].output[0] = "h".into();
    graph.node.extend(bitonnx::text::parse_nodes("y = Add(h, bias)").unwrap());
    let mut product = graph.output[0].clone();
    product.name = Some("h".into());
    graph.output.push(product);
    let inputs = Arrays::from([("x".into(), floats_array(&[3, k], &x))]);
    let outputs = session(model).run(&inputs).unwrap();
    let mut expected = formula(&x, &t, &[0.5], n, k);
    assert_close(&floats(&outputs[1].1), &expected, 1e-6);
    expected.iter_mut().zip([1.0, 2.0, 3.0, 4.0].iter().cycle()).for_each(|(y, b)| *y += b);
    assert_close(&floats(&outputs[0].1), &expected, 1e-6);
}

/// Root mean square normalisations of `x` with a gain, opset and float type.
const NORMS: [(i64, &str, &str); 5] = [
    (
        17,
        "float",
        "q = Pow(x, two) m = ReduceMean <axes = [-1]> (q) e = Add(m, eps) r = Sqrt(e) u = Div(x, r) h = Mul(u, gain)",
    ),
    (
        18,
        "float",
        "q = Mul(x, x) m = ReduceMean(q, last) e = Add(eps, m) r = Sqrt(e) i = Reciprocal(r) u = Mul(x, i)
         h = Mul(gain, u)",
    ),
    (23, "float", "h = RMSNormalization <axis = -1, epsilon = 1e-6> (x, gain)"),
    (23, "float16", "h = RMSNormalization <axis = -1, epsilon = 1e-6> (x, gain)"),
    (
        17,
        "float16",
        "w = Cast <to = 1> (x) q = Pow(w, two) m = ReduceMean <axes = [-1]> (q) e = Add(m, eps) r = Sqrt(e)
         u = Div(w, r) v = Cast <to = 10> (u) h = Mul(v, gain)",
    ),
];

/// A model of one such norm and a BitLinear of `t [n, 12]` after it.
fn normalized(
    (opset, float, norm): (i64, &str, &str),
    gain: &[f32],
    t: &[i8],
    n: usize,
) -> ModelProto {
    let stored = "float two = {2}, float eps = {1e-6}, int64[1] last = {-1}";
    let mut model = bit_linear(float, 2, n, 12, t, &[0.5], stored);
    model.opset_import[0].version = Some(opset);
    let graph = model.graph.as_mut().unwrap();
    graph.node[0].input[0] = "h".into();
    graph.node.splice(0..0, bitonnx::text::parse_nodes(norm).unwrap());
    let half = float == "float16";
    let bytes: Vec<u8> = gain
        .iter()
        .flat_map(|g| match half {
            true => f16::from_f32(*g).to_le_bytes().to_vec(),
            false => g.to_le_bytes().to_vec(),
        })
        .collect();
    graph.initializer.push(TensorProto {
        name: Some("gain".into()),
        dims: vec![12],
        data_type: Some(if half { DataType::Float16 } else { DataType::Float } as i32),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    });
    model
}

#[test]
fn bit_linear_takes_in_a_norm() {
    let (n, k) = (5, 12);
    let mut numbers = Numbers(8);
    let (t, x, gain) = (numbers.ternary(n * k), numbers.floats(4 * k), numbers.floats(k));
    let unit = |x: &[f32]| {
        let mean = x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / k as f64;
        let root = (mean + 1e-6).sqrt();
        let of = |(x, g): (&f32, &f32)| (f64::from(*x) / root * f64::from(*g)) as f32;
        x.iter().zip(&gain).map(of).collect::<Vec<_>>()
    };
    let rows: Vec<f32> = x.chunks(k).flat_map(unit).collect();
    let expected = formula(&rows, &t, &[0.5], n, k);
    for norm in NORMS {
        let mut session = session(normalized(norm, &gain, &t, n));
        let (x, tolerance) = match norm.1 {
            "float" => (floats_array(&[4, k], &x), 1e-5),
            _ => {
                let x = x.iter().map(|x| f16::from_f32(*x)).collect();
                (Array::F16(ArrayD::from_shape_vec(IxDyn(&[4, k]), x).unwrap()), 2e-2)
            }
        };
        let inputs = Arrays::from([("x".into(), x)]);
        assert_close(&floats(&session.run(&inputs).unwrap()[0].1), &expected, tolerance);
        let steps = session.profile(&inputs).unwrap();
        let ops: Vec<&str> = steps.iter().map(|s| s.op.as_str()).collect();
        let work: Vec<&&str> = ops.iter().filter(|op| !["Source", "Const"].contains(op)).collect();
        assert_eq!(work, [&"Quantize", &"BitLinear"], "{norm:?}");
    }
}

#[test]
fn products_of_one_x_share_what_it_is_rounded_to() {
    // `w` rounds by another eps, `u` comes after another norm.
    let text = r#"<ir_version: 11, opset_import: ["" : 23, "bitonnx" : 1]>
        g (float[m, 4] x) => (float q, float k, float v, float w, float u)
        <float[4] gain = {1.0, 2.0, -0.5, 0.1}, float[4] other = {1.0, 1.0, 1.0, 2.0},
         uint8[3, 1] a = {82, 88, 133}, uint8[2, 1] b = {37, 104}, float[1] scale = {0.5}> {
           h = RMSNormalization <axis = -1> (x, gain)
           q = bitonnx.BitLinear <in_features = 4> (h, a, scale)
           k = bitonnx.BitLinear <in_features = 4> (h, b, scale)
           v = bitonnx.BitLinear <in_features = 4> (h, b, scale)
           w = bitonnx.BitLinear <in_features = 4, eps = 1000.0> (h, a, scale)
           i = RMSNormalization <axis = -1> (x, other)
           u = bitonnx.BitLinear <in_features = 4> (i, a, scale)
        }"#;
    let model = parse_model(text).unwrap();
    let x = Arrays::from([("x".into(), floats_array(&[3, 4], &Numbers(12).floats(12)))]);
    let mut whole = session(model.clone());
    let outputs = whole.run(&x).unwrap();
    let steps = whole.profile(&x).unwrap();
    let of = |op: &str| steps.iter().filter(|step| step.op == op).count();
    assert_eq!([of("RmsNorm"), of("Quantize"), of("BitLinear")], [0, 3, 5], "{steps:?}");
    for (name, found) in outputs {
        let mut alone = model.clone();
        alone.graph.as_mut().unwrap().output.retain(|output| output.name() == name);
        assert_eq!(session(alone).run(&x).unwrap()[0].1, found, "{name}");
    }
}

#[test]
fn a_constant_may_be_what_is_multiplied() {
    let (n, k) = (5, 12);
    let mut numbers = Numbers(14);
    let (t, x) = (numbers.ternary(n * k), numbers.floats(4 * k));
    let mut model = bit_linear("float", 2, n, k, &t, &[0.5], "");
    let graph = model.graph.as_mut().unwrap();
    graph.input[0].name = Some("unused".into());
    graph.initializer.push(TensorProto {
        name: Some("x".into()),
        dims: vec![4, k as i64],
        data_type: Some(DataType::Float as i32),
        raw_data: Some(x.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>().into()),
        ..TensorProto::default()
    });
    let unused = Arrays::from([("unused".into(), floats_array(&[1, k], &x[..k]))]);
    let y = session(model).run(&unused).unwrap();
    assert_close(&floats(&y[0].1), &formula(&x, &t, &[0.5], n, k), 1e-6);
}

#[test]
fn a_qat_file_blends_from_its_source_to_its_inference_model() {
    for name in ["plain", "half"] {
        let path = format!("{}/tests/variants/{name}.onnxtxt", env!("CARGO_MANIFEST_DIR"));
        let source = graphs::model(&std::fs::read_to_string(path).unwrap());
        let options = rewrite::Options::default().with(|o| {
            o.subln = Some(Placement::None);
            o.lrc_rank = Some(2);
        });
        let made = |options: &rewrite::Options| {
            rewrite(source.clone(), &recipe(), options, &mut |_, _| {}).unwrap().model
        };
        let inference = made(&options);
        let qat = made(&options.with(|o| o.qat = true));
        let x = Numbers(10).floats(3 * 8);
        let (x, tolerance) = match name {
            "half" => {
                let x = x.iter().map(|x| f16::from_f32(*x)).collect();
                (Array::F16(ArrayD::from_shape_vec(IxDyn(&[3, 8]), x).unwrap()), 2e-3)
            }
            _ => (floats_array(&[3, 8], &x), 1e-6),
        };
        let run = |model: &ModelProto, lambda: Option<f32>| {
            let given = lambda.map(|l| ("lambda".to_owned(), floats_array(&[], &[l])));
            let inputs = [("h".to_owned(), x.clone())].into_iter().chain(given).collect();
            floats(&session(model.clone()).run(&inputs).unwrap()[0].1)
        };
        assert_close(&run(&qat, Some(0.0)), &run(&source, None), tolerance);
        assert_close(&run(&qat, Some(1.0)), &run(&inference, None), tolerance);
    }
}

#[test]
fn bit_linear_leaves_a_norm_that_others_read() {
    let (n, k) = (5, 12);
    let mut numbers = Numbers(9);
    let (t, x) = (numbers.ternary(n * k), numbers.floats(4 * k));
    for norm in NORMS.into_iter().filter(|norm| norm.1 == "float") {
        let plain = normalized(norm, &[1.5; 12], &t, n);
        let mut shown = plain.clone();
        let graph = shown.graph.as_mut().unwrap();
        let mut output = graph.output[0].clone();
        output.name = Some("h".into());
        graph.output.push(output);
        let x = floats_array(&[4, k], &x);
        let y = session(shown).run(&Arrays::from([("x".into(), x.clone())])).unwrap();
        assert_close(&floats(&y[0].1), &floats(&run_one(plain, x)), 1e-5);
        let rms = floats(&y[1].1)[..k].iter().map(|h| h * h).sum::<f64>() / k as f64;
        assert!((rms.sqrt() - 1.5).abs() < 1e-3, "{rms}");
    }
}

#[test]
fn bit_linear_computes_half_floats_in_f32() {
    let (n, k) = (9, 40);
    let mut numbers = Numbers(5);
    let t = numbers.ternary(n * k);
    let x: Vec<f16> = numbers.floats(3 * k).into_iter().map(f16::from_f32).collect();
    let wide: Vec<f32> = x.iter().map(|v| v.to_f32()).collect();
    let model = bit_linear("float16", 2, n, k, &t, &[0.125], "");
    let x = ArrayD::from_shape_vec(IxDyn(&[3, k]), x).unwrap();
    let y = run_one(model, Array::F16(x));
    assert_eq!(y.dtype(), "float16");
    assert_close(&floats(&y), &formula(&wide, &t, &[0.125], n, k), 1e-3);
}

#[test]
fn bit_linear_doubles_exactly_and_passes_nan_on() {
    let (n, k) = (6, 20);
    let mut numbers = Numbers(6);
    let (t, mut x) = (numbers.ternary(n * k), numbers.floats(2 * k));
    let model = bit_linear("float", 2, n, k, &t, &[0.3], "");
    let single = floats(&run_one(model.clone(), floats_array(&[2, k], &x)));
    x.iter_mut().for_each(|x| *x *= 2.0);
    let double = floats(&run_one(model.clone(), floats_array(&[2, k], &x)));
    assert!(single.iter().zip(&double).all(|(a, b)| 2.0 * a == *b));
    x[k + 3] = f32::INFINITY;
    let broken = floats(&run_one(model, floats_array(&[2, k], &x)));
    assert_eq!(broken[..n], double[..n]);
    assert!(broken[n..].iter().all(|y| y.is_nan()));
}

#[test]
fn bit_linear_refuses_what_it_is_not() {
    let x = || Arrays::from([("x".into(), floats_array(&[1, 4], &[1.0; 4]))]);
    let refused = |nodes: &str, stored: &str| {
        let text = format!(
            "<ir_version: 8, opset_import: [\"\" : 17, \"bitonnx\" : 1]>
             g (float[m, 4] x) => (float[m, 2] y) <{stored}> {{ {nodes} }}"
        );
        let mut session = session(parse_model(&text).unwrap());
        session.run(&x()).unwrap_err().to_string()
    };
    let node = "[proj] y = bitonnx.BitLinear <in_features = 4, eps = 0.00001> (x, codes, scale)";
    let scale = "float[1] scale = {0.5}";
    let why = refused(node, &format!("uint8[2, 1] codes = {{3, 0}}, {scale}"));
    assert!(why.contains("code") && why.contains("is 3"), "{why}");
    let why = refused(node, &format!("uint8[2, 2] codes = {{0, 0, 0, 0}}, {scale}"));
    assert!(why.contains("proj"), "{why}");
    let why = refused(node, "uint8[2, 1] codes = {0, 0}, float[3] scale = {0.5, 0.5, 0.5}");
    assert!(why.contains("3 scales for 2 outputs"), "{why}");
    let computed = format!(
        "f = Floor(x) u = Cast <to = 2> (f) r = Reshape(u, s) codes = Slice(r, b, e, a) {node}"
    );
    let why = refused(
        &computed,
        "int64[2] s = {4, 1}, int64[1] b = {0}, int64[1] e = {2}, int64[1] a = {0}, float[1] scale = {0.5}",
    );
    assert!(why.contains("codes must be an initializer"), "{why}");
}

#[test]
fn functions_are_put_in_place() {
    // outer(x) = 3·(x + 1)·0.5 - x, by way of an inner function, an attribute handed down, a default
    // and a name that caller and function share.
    let text = r#"<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[2] x) => (float[2] y, float[2] h) {
          [call] y, h = local.outer <factor = 3.0> (x)
        }
        <domain: "local", opset_import: ["" : 17, "local" : 1]>
        outer <factor> (a) => (y, half) {
          x = local.inner <by: float = @factor> (a)
          half = local.inner (x)
          y = Sub(half, a)
        }
        <domain: "local", opset_import: ["" : 17]>
        inner <by: float = 0.5> (a) => (b) {
          one = Constant <value = float[1] {1.0}> ()
          w = Constant <value_float: float = @by> ()
          c = Add(a, one)
          b = Mul(c, w)
        }"#;
    let mut session = session(parse_model(text).unwrap());
    let inputs = Arrays::from([("x".into(), floats_array(&[2], &[1.0, -3.0]))]);
    let outputs = session.run(&inputs).unwrap();
    let half = |x: f64| ((x + 1.0) * 3.0 + 1.0) * 0.5;
    assert_eq!(floats(&outputs[1].1), [half(1.0), half(-3.0)]);
    assert_eq!(floats(&outputs[0].1), [half(1.0) - 1.0, half(-3.0) + 3.0]);
}

/// Calls of one name or of none, calls in branches, and names that the file has already.
#[test]
fn functions_called_twice_keep_their_values_apart() {
    // f(x) = (x + 1)², and by way of a branch for `b`: f(x) or -x.
    let functions = r#"
        <domain: "local", opset_import: ["" : 17]>
        f (a) => (b) {
          one = Constant <value = float[1] {1.0}> ()
          c = Add(a, one)
          b = Mul(c, c)
        }"#;
    let f = |x: f64| (x + 1.0) * (x + 1.0);
    for nodes in [
        "[call] h = local.f (x) [call] y = local.f (h)",
        "h = local.f (x) y = local.f (h)",
        "[h] h = local.f (x) [\"h/c\"] y = local.f (h)",
    ] {
        for taken in ["call/c", "h/c", "y/c", "other"] {
            let text = format!(
                r#"<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
                g (float[2] x) => (float[2] y, float[2] "{taken}") {{
                  "{taken}" = Neg(x) {nodes}
                }} {functions}"#
            );
            let x = floats_array(&[2], &[1.0, -3.0]);
            let outputs =
                session(parse_model(&text).unwrap()).run(&Arrays::from([("x".into(), x)])).unwrap();
            assert_eq!(floats(&outputs[0].1), [f(f(1.0)), f(f(-3.0))], "{nodes}, {taken}");
            assert_eq!(floats(&outputs[1].1), [-1.0, 3.0], "{nodes}, {taken}");
        }
    }
    let text = format!(
        r#"<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (bool d, float[2] x) => (float[2] y) {{
          n = Not(d)
          h = If (n) <then_branch = t () => (float[2] r) {{ r = local.f (x) }},
                      else_branch = e () => (float[2] r) {{ s = local.f (x) r = local.f (s) }}>
          y = local.f (h)
        }} {functions}"#
    );
    let mut session = session(parse_model(&text).unwrap());
    for (d, expected) in [(true, f(f(f(1.0)))), (false, f(f(1.0)))] {
        let d = Array::Bool(ArrayD::from_elem(IxDyn(&[]), d));
        let x = floats_array(&[2], &[1.0, 1.0]);
        let outputs = session.run(&Arrays::from([("d".into(), d), ("x".into(), x)])).unwrap();
        assert_eq!(floats(&outputs[0].1), [expected; 2]);
    }
}

#[test]
fn values_made_twice_are_refused() {
    let refused = |nodes: &str, stored: &str| {
        let text = format!(
            "<ir_version: 8, opset_import: [\"\" : 17]>
             g (float[2] x) => (float[2] y) <{stored}> {{ {nodes} }}"
        );
        let inputs = Arrays::from([("x".into(), floats_array(&[2], &[1.0, 2.0]))]);
        let session = Session::new(parse_model(&text).unwrap(), &Options::default());
        session.and_then(|mut s| s.run(&inputs)).unwrap_err().to_string()
    };
    for (nodes, stored) in [
        ("h = Neg(x) h = Exp(x) y = Neg(h)", ""),
        ("h = Neg(x) x = Exp(h) y = Neg(x)", ""),
        ("h = Neg(x) y = Neg(h)", "float[2] h = {1.0, 2.0}"),
        ("h = Constant <value = float[1] {1.0}> () h = Neg(x) y = Neg(h)", ""),
        ("y = Neg(h)", "float[2] h = {1.0, 2.0}, float[2] h = {3.0, 4.0}"),
    ] {
        let error = refused(nodes, stored);
        assert!(error.contains("twice"), "{nodes}: {error}");
    }
}

#[test]
fn functions_keep_their_opset() {
    // Up to opset 12, Softmax is over all axes from the given one on; since 13, over that one.
    let text = r#"<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[1, 2, 2] x) => (float[1, 2, 2] y) { y = local.old (x) }
        <domain: "local", opset_import: ["" : 11]>
        old (a) => (b) { b = Softmax <axis = 1> (a) }"#;
    let y = run_one(parse_model(text).unwrap(), floats_array(&[1, 2, 2], &[0.0; 4]));
    assert_eq!(floats(&y), [0.25; 4]);
}

#[test]
fn functions_that_never_end_are_refused() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
        g (float[1] x) => (float[1] y) { [call] y = local.f (x) }
        <domain: "local", opset_import: ["" : 17, "local" : 1]>
        f (a) => (b) { b = local.f (a) }"#;
    let error = Session::new(parse_model(text).unwrap(), &Options::default()).err().unwrap();
    assert!(error.why().contains("local.f calls itself"), "{error}");
}

#[test]
fn branches_are_chosen_by_an_input_or_by_data() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (bool b, float[n] x) => (float[n] y) {
          y = If (b) <
            then_branch = t () => (float[n] r) { c = Constant <value = float[1] {2.0}> () r = Mul(x, c) },
            else_branch = e () => (float[n] r) { c = Constant <value = float[1] {5.0}> () r = Add(x, c) }
          >
        }"#;
    let chosen = parse_model(text).unwrap();
    let mut computed = chosen.clone();
    let graph = computed.graph.as_mut().unwrap();
    graph.node[0].input[0] = "not_b".into();
    graph.node.insert(0, bitonnx::text::parse_nodes("not_b = Not(b)").unwrap().remove(0));
    for (model, when) in [(chosen, true), (computed, false)] {
        let mut session = session(model);
        for b in [true, false, true] {
            let flag = Array::Bool(ArrayD::from_elem(IxDyn(&[]), b));
            let x = floats_array(&[2], &[1.0, 3.0]);
            let outputs =
                session.run(&Arrays::from([("b".into(), flag), ("x".into(), x)])).unwrap();
            let expected = if b == when { [2.0, 6.0] } else { [6.0, 8.0] };
            assert_eq!(floats(&outputs[0].1), expected);
        }
    }
}

#[test]
fn shapes_may_change_between_runs() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[n] x) => (float[m] y) { y = Concat <axis = 0> (x, x) }"#;
    let mut session = session(parse_model(text).unwrap());
    for n in [1usize, 2, 3, 4, 5, 6, 1, 2] {
        let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
        let outputs = session.run(&Arrays::from([("x".into(), floats_array(&[n], &x))])).unwrap();
        assert_eq!(outputs[0].1, floats_array(&[2 * n], &[x.clone(), x].concat()));
    }
}

/// A cache of `past` rows that a run adds one to, and a mask as long as the sum.
#[test]
fn one_plan_does_for_a_growing_cache() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[past, 2] old, float[total] mask, float[1, 2] x) => (float[total, 2] new, float y) {
          new = Concat <axis = 0> (old, x)
          m = MatMul(mask, new)
          y = ReduceSum <keepdims = 0> (m)
        }"#;
    let model = || parse_model(text).unwrap();
    let inputs = |past: usize| {
        let of = |shape: &[usize]| {
            let count: usize = shape.iter().product();
            floats_array(shape, &(0..count).map(|i| i as f32).collect::<Vec<_>>())
        };
        let arrays = [("old", of(&[past, 2])), ("mask", of(&[past + 1])), ("x", of(&[1, 2]))];
        Arrays::from(arrays.map(|(name, array)| (name.to_owned(), array)))
    };
    let mut kept = session(model());
    for past in [1, 2, 3, 4, 5, 6, 7, 8, 9, 2, 5, 1] {
        let fresh = session(model()).run(&inputs(past)).unwrap();
        assert_eq!(kept.run(&inputs(past)).unwrap(), fresh, "{past}");
        // One for a single row, which might be broadcast, and one for more.
        assert_eq!(kept.plans(), if past == 1 && kept.plans() == 1 { 1 } else { 2 }, "{past}");
    }
}

/// What fails whatever the plan says nothing against a plan with open sizes.
#[test]
fn wrong_values_leave_open_plans_as_they_are() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[n] x, int64[1] i) => (float[1] y) { y = Gather(x, i) }"#;
    let mut session = session(parse_model(text).unwrap());
    let mut run = |n: usize, i: i64| {
        let x = floats_array(&[n], &(0..n).map(|i| i as f32).collect::<Vec<_>>());
        let i = Array::I64(ArrayD::from_elem(IxDyn(&[1]), i));
        let y = session.run(&Arrays::from([("x".into(), x), ("i".into(), i)]));
        (y.ok().map(|y| floats(&y[0].1)), session.plans())
    };
    for n in [3, 4, 5] {
        assert_eq!(run(n, 2), (Some(vec![2.0]), 1));
    }
    assert!(run(6, 99).0.is_none());
    for n in [7, 8, 9, 10] {
        assert_eq!(run(n, 2).0, Some(vec![2.0]));
    }
    assert_eq!(run(11, 2), (Some(vec![2.0]), 1));
}

/// How many numbers are positive is known at run time only: what follows has an open shape.
#[test]
fn large_integers_are_whole_where_shapes_are_open() {
    let text = "<ir_version: 8, opset_import: [\"\" : 17]>
        g (float[n] x) => (float[m] y) <float big = {1099511627776}, float zero = {0}, int64[1] first = {0}>
        {
          p = Greater (x, zero) i = NonZero (p) j = Squeeze (i, first) v = Gather (x, j)
          g = Mul (v, big) w = Cast <to = 7> (g) y = Cast <to = 1> (w)
        }";
    let y = run_one(parse_model(text).unwrap(), floats_array(&[4], &[0.5, -1.0, 3.0, 7.25]));
    let expected = [0.5, 3.0, 7.25].map(|v| v * 1099511627776.0);
    assert_eq!(floats(&y), expected);
}

/// What a recipe computes is planned for shapes that are known.
#[test]
fn what_cannot_be_left_open_is_planned_for_each_shape() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 1, n, 2] x) => (float[1, 1, n, 2] y) { y = SpaceToDepth <blocksize = 1> (x) }"#;
    let mut session = session(parse_model(text).unwrap());
    for n in 3..9 {
        let x: Vec<f32> = (0..2 * n).map(|i| i as f32).collect();
        let x = floats_array(&[1, 1, n, 2], &x);
        let y = session.run(&Arrays::from([("x".into(), x.clone())])).unwrap();
        assert_eq!(y[0].1, x);
        assert_eq!(session.plans(), (n - 2).min(4));
    }
}

/// How often a row of the cache is repeated is a shape, which a plan must know; which row is not.
#[test]
fn plans_are_for_the_values_that_tract_takes_as_constants_and_no_others() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[past, 2] old, int32 count, int64[1] at) => (float[k, 2] y)
          <int64[1] zero = {0}, int64[1] width = {2}>
        {
          wide = Cast <to = 7> (count) rows = Unsqueeze (wide, zero)
          shape = Concat <axis = 0> (rows, width)
          row = Gather (old, at) y = Expand (row, shape)
        }"#;
    let mut session = session(parse_model(text).unwrap());
    let mut run = |past: usize, count: i32, at: i64| {
        let old: Vec<f32> = (0..2 * past).map(|i| i as f32).collect();
        let inputs = Arrays::from([
            ("old".into(), floats_array(&[past, 2], &old)),
            ("count".into(), Array::I32(ArrayD::from_elem(IxDyn(&[]), count))),
            ("at".into(), Array::I64(ArrayD::from_elem(IxDyn(&[1]), at))),
        ]);
        let outputs = session.run(&inputs).unwrap();
        let row = &old[2 * at as usize..][..2];
        assert_eq!(outputs[0].1, floats_array(&[count as usize, 2], &row.repeat(count as usize)));
        session.plans()
    };
    for (past, at) in [(4, 1), (4, 3), (5, 0), (6, 5), (9, 4)] {
        assert_eq!(run(past, 3, at), 1, "{past} {at}");
    }
    for (count, plans) in [(2, 2), (1, 3), (4, 4), (5, 4), (3, 4)] {
        assert_eq!(run(7, count, 6), plans, "{count}");
    }
}

/// A slice of bounds that are not known is planned and fails where it runs: then its plan is for them.
#[test]
fn a_plan_that_fails_without_values_gives_way_to_one_with_them() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[n] x, int64[1] start, int64[1] end, int64[1] at) => (float[m] y) {
          part = Slice (x, start, end) picked = Gather (x, at) y = Add (part, picked)
        }"#;
    let mut session = session(parse_model(text).unwrap());
    let mut run = |start: i64, end: i64, at: i64| {
        let inputs = [("start", start), ("end", end), ("at", at)];
        let one = |i| Array::I64(ArrayD::from_elem(IxDyn(&[1]), i));
        let mut inputs: Arrays = inputs.into_iter().map(|(n, i)| (n.into(), one(i))).collect();
        inputs.insert("x".into(), floats_array(&[4], &[0.0, 1.0, 2.0, 3.0]));
        let y = session.run(&inputs).map(|y| floats(&y[0].1)).ok();
        (y, session.plans())
    };
    assert_eq!(run(1, 3, 0), (Some(vec![1.0, 2.0]), 1));
    assert_eq!(run(1, 3, 99).0, None);
    assert_eq!(run(-1, 9, 2), (Some(vec![5.0]), 1));
    assert_eq!(run(-1, 9, 3), (Some(vec![6.0]), 1));
    assert_eq!(run(0, 3, 3).0, Some(vec![3.0, 4.0, 5.0]));
}

/// An error names the node as the file does, and gives the cause without what led to it.
#[test]
fn nodes_that_fail_are_named() {
    let refused = |node: &str, n: usize| {
        let text = format!(
            r#"<ir_version: 8, opset_import: ["" : 17]>
            g (float[n] x, int64[1] i) => (float[m] y) <float[3] c = {{1, 2, 3}}> {{ {node} }}"#
        );
        let i = Array::I64(ArrayD::from_elem(IxDyn(&[1]), 5));
        let x = floats_array(&[n], &vec![1.0; n]);
        let inputs = Arrays::from([("x".into(), x), ("i".into(), i)]);
        let error = session(parse_model(&text).unwrap()).run(&inputs).unwrap_err();
        (error.what().to_owned(), error.why().to_owned())
    };
    let (what, why) = refused("[dot] y = MatMul (x, c)", 2);
    assert_eq!(what, "node `dot` (MatMul) can't be planned for these inputs");
    assert!(why.contains('2') && why.contains('3') && !why.contains("Val"), "{why}");
    let (what, why) = refused("y = Gather (c, i)", 2);
    assert_eq!(what, "node `y` (Gather) failed while it ran");
    assert_eq!(why, "tract panicked: it can't compute this operator for these values");
    let (what, why) = refused("[pick] y, at = Identity (x)", 2);
    assert_eq!(what, "node `pick` (Identity) can't be run");
    assert_eq!(why, "its output 1 is not supported");
}

/// What a recipe can't write is unsupported, be it the recipe that says so or an operator of its nodes; inputs
/// that don't fit are the caller's.
#[test]
fn recipes_refuse_as_operators_do() {
    let refused = |node: &str| {
        let text = format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
            g (float[1, 32] x) => (float[m, n] y)
            <uint8[2, 1, 32] b = {{{}}}, float[2] s = {{1, 2}}, int32[32] g = {{{}}},
             float[3, 2] c = {{1, 2, 3, 4, 5, 6}}> {{ {node} }}"#,
            ["0"; 64].join(", "),
            ["0"; 32].join(", ")
        );
        let inputs = Arrays::from([("x".into(), floats_array(&[1, 32], &[1.0; 32]))]);
        let error = session(parse_model(&text).unwrap()).run(&inputs).unwrap_err();
        (error.kind(), error.hint().contains("ONNX Runtime"))
    };
    let n_bits = |bits: i64, rest: &str| {
        refused(&format!(
            "y = com.microsoft.MatMulNBits <K = 32, N = 2, bits = {bits}, block_size = 32> (x, b, s{rest})"
        ))
    };
    assert_eq!(n_bits(8, ""), (ErrorKind::Unsupported, true));
    assert_eq!(n_bits(4, ", , g"), (ErrorKind::Unsupported, true));
    let gemm = |activation: &str| {
        refused(&format!("y = com.microsoft.FusedGemm <activation = \"{activation}\"> (x, c)"))
    };
    assert_eq!(gemm("Elu"), (ErrorKind::Unsupported, true));
    assert_eq!(gemm("Relu"), (ErrorKind::Failed, false));
}

/// A cache that grows by what each run gives: in one session, and each time in a new one.
#[test]
fn a_growing_cache_gives_what_a_new_session_gives() {
    for (fixture, past) in [("gpt2-kv-optimum", [1, 4, 0, 16]), ("llama-genai-fp32", [1, 2, 0, 16])]
    {
        let model = || proto::load(&fixture_path(fixture)).unwrap();
        let mut kept = session(model());
        let named = |word: &str| {
            let names = kept.inputs().iter().map(|v| v.name.clone());
            names.filter(|name| name.contains(word)).collect::<Vec<_>>()
        };
        let (caches, positions) = (named("past_key_values"), named("position_ids"));
        let empty = floats_array(&past, &[]);
        let mut cache: Arrays = caches.iter().map(|name| (name.clone(), empty.clone())).collect();
        let mut length = 0;
        for new in [3usize, 1, 1, 1, 1, 2, 1] {
            let row = |from: usize, count: usize| {
                let numbers = (from..from + count).map(|i| i as i64).collect();
                Array::I64(ArrayD::from_shape_vec(IxDyn(&[1, count]), numbers).unwrap())
            };
            let mut inputs = cache.clone();
            inputs.insert("input_ids".into(), row(length + 7, new));
            let mask = Array::I64(ArrayD::ones(IxDyn(&[1, length + new])));
            inputs.insert("attention_mask".into(), mask);
            inputs.extend(positions.iter().map(|name| (name.clone(), row(length, new))));
            let outputs = kept.run(&inputs).unwrap();
            let fresh = session(model()).run(&inputs).unwrap();
            for ((name, kept), (_, fresh)) in outputs.iter().zip(&fresh) {
                let far = relative(fresh, kept);
                assert!(far < 1e-5, "{fixture}, {name} after {length} + {new}: {far}");
            }
            length += new;
            assert!(kept.plans() <= 3, "{fixture} after {length}");
            let presents = outputs.into_iter().filter(|(name, _)| name.starts_with("present"));
            cache = presents.map(|(n, a)| (n.replace("present", "past_key_values"), a)).collect();
        }
    }
}

#[test]
fn bfloat16_is_computed_in_f32() {
    let mut model = parse_model(
        r#"<ir_version: 8, opset_import: ["" : 17]>
        g (bfloat16[2] x) => (bfloat16[2] y) { c = Cast <to = 16> (w) s = Add(x, c) y = Identity(s) }"#,
    )
    .unwrap();
    let stored = [half::bf16::from_f32(0.5), half::bf16::from_f32(-3.0)];
    model.graph.as_mut().unwrap().initializer.push(TensorProto {
        name: Some("w".into()),
        dims: vec![2],
        data_type: Some(DataType::Bfloat16 as i32),
        raw_data: Some(stored.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>().into()),
        ..TensorProto::default()
    });
    let session = session(model.clone());
    assert_eq!(session.inputs()[0].dtype, "float32");
    let y = run_one(model, floats_array(&[2], &[1.0, 2.0]));
    assert_eq!(y, floats_array(&[2], &[1.5, -1.0]));
}

#[test]
fn wrong_inputs_are_named() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[n, 3] a, float[n, 3] b) => (float[n, 3] y) { [sum] y = Add(a, b) }"#;
    let mut session = session(parse_model(text).unwrap());
    let shown: Vec<String> = session.inputs().iter().map(|v| format!("{} {v}", v.name)).collect();
    assert_eq!(shown, ["a float32[n, 3]", "b float32[n, 3]"]);
    let ones = |shape: &[usize]| floats_array(shape, &vec![1.0; shape.iter().product()]);
    let mut refused = |inputs: Vec<(&str, Array)>| {
        let inputs = inputs.into_iter().map(|(n, a)| (n.to_owned(), a)).collect();
        session.run(&inputs).unwrap_err().to_string()
    };
    let error = refused(vec![("a", ones(&[2, 3]))]);
    assert!(error.contains("input `b` is missing"), "{error}");
    let error = refused(vec![("a", ones(&[2, 3])), ("c", ones(&[2, 3]))]);
    assert!(error.contains("no input `c`") && error.contains("a, b"), "{error}");
    let error = refused(vec![("a", ones(&[2, 3])), ("b", ones(&[3]))]);
    assert!(error.contains("input `b`") && error.contains("2 axes"), "{error}");
    let error = refused(vec![("a", ones(&[2, 3])), ("b", ones(&[2, 4]))]);
    assert!(error.contains("axis 1 has size 4, and the model takes 3"), "{error}");
    let error = refused(vec![("a", ones(&[2, 3])), ("b", ones(&[5, 3]))]);
    assert!(error.contains("`n`: it is 2 in `a` and 5 in `b`"), "{error}");
    let long = Array::I64(ArrayD::zeros(IxDyn(&[2, 3])));
    let error = refused(vec![("a", long), ("b", ones(&[2, 3]))]);
    assert!(error.contains("it is int64, and the model takes float32"), "{error}");
}

#[test]
fn operators_that_tract_lacks_are_named() {
    let unknown = |domain: &str, op: &str| {
        let text = format!(
            "<ir_version: 8, opset_import: [\"\" : 17, \"{domain}\" : 1]>
             g (float[2] x) => (float[2] y) {{ [odd] y = {op}(x) }}"
        );
        let inputs = Arrays::from([("x".into(), floats_array(&[2], &[1.0, 2.0]))]);
        session(parse_model(&text).unwrap()).run(&inputs).unwrap_err().to_string()
    };
    let error = unknown("", "Unique");
    assert!(error.contains("node `odd`") && error.contains("no operator Unique"), "{error}");
    // tract has an operator of this name, but of the standard domain.
    let error = unknown("com.example", "com.example.Relu");
    assert!(error.contains("no operator com.example.Relu"), "{error}");
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[2] x) => (float[2] y) { y = Add(x, nowhere) }"#;
    let inputs = Arrays::from([("x".into(), floats_array(&[2], &[1.0, 2.0]))]);
    let error = session(parse_model(text).unwrap()).run(&inputs).unwrap_err().to_string();
    assert!(error.contains("value `nowhere` can't be computed"), "{error}");
}

/// Runs every case of a model; the largest relative difference of any output, for each.
fn run_cases(model: &Path, reference: &Path) -> bitonnx::Result<Vec<f64>> {
    let mut session = Session::new(proto::load(model)?, &Options::default())?;
    let mut far = Vec::new();
    for (inputs, outputs) in cases(reference) {
        let got: Arrays = session.run(&inputs)?.into_iter().collect();
        assert!(got.keys().eq(outputs.keys()), "{:?}", got.keys());
        let of = |(name, reference): (&String, &Array)| relative(reference, &got[name]);
        far.push(outputs.iter().map(of).fold(0.0, f64::max));
    }
    Ok(far)
}

/// Reference runs: inputs and outputs by name.
fn cases(file: &Path) -> Vec<(Arrays, Arrays)> {
    let mut cases: BTreeMap<String, (Arrays, Arrays)> = BTreeMap::new();
    for (key, array) in npz::read(file).unwrap() {
        let [case, side, name] = key.splitn(3, '/').collect::<Vec<_>>()[..] else {
            panic!("{key}")
        };
        let (inputs, outputs) = cases.entry(case.to_owned()).or_default();
        if side == "in" { inputs } else { outputs }.insert(name.to_owned(), array);
    }
    cases.into_values().collect()
}

fn floats(array: &Array) -> Vec<f64> {
    match array {
        Array::F16(a) => a.iter().map(|v| v.to_f64()).collect(),
        Array::F32(a) => a.iter().map(|&v| f64::from(v)).collect(),
        Array::I64(a) => a.iter().map(|&v| v as f64).collect(),
        Array::I32(a) => a.iter().map(|&v| f64::from(v)).collect(),
        Array::I8(a) => a.iter().map(|&v| f64::from(v)).collect(),
        Array::U8(a) => a.iter().map(|&v| f64::from(v)).collect(),
        Array::Bool(a) => a.iter().map(|&v| f64::from(u8::from(v))).collect(),
        other => panic!("no reference has outputs of type {}", other.dtype()),
    }
}

fn floats_array(shape: &[usize], elements: &[f32]) -> Array {
    Array::F32(ArrayD::from_shape_vec(IxDyn(shape), elements.to_vec()).unwrap())
}

/// The largest difference, as a share of the largest reference value.
fn relative(reference: &Array, got: &Array) -> f64 {
    assert_eq!((reference.shape(), reference.dtype()), (got.shape(), got.dtype()));
    let (reference, got) = (floats(reference), floats(got));
    let largest = reference.iter().filter(|v| v.is_finite()).fold(1e-30f64, |m, v| m.max(v.abs()));
    let differences = reference.iter().zip(&got).map(|(r, g)| match r.is_finite() {
        true if g.is_finite() => (r - g).abs(),
        false if r == g || r.is_nan() && g.is_nan() => 0.0,
        _ => f64::INFINITY,
    });
    differences.fold(0.0, f64::max) / largest
}

fn assert_close(got: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    let largest = expected.iter().fold(0f64, |m, v| m.max(v.abs()));
    for (got, expected) in got.iter().zip(expected) {
        assert!((got - expected).abs() <= tolerance * largest, "{got} is not {expected}");
    }
}

fn session(model: ModelProto) -> Session {
    Session::new(model, &Options::default()).unwrap()
}

/// The only output of a model whose only input is `x`.
fn run_one(model: ModelProto, x: Array) -> Array {
    session(model).run(&Arrays::from([("x".into(), x)])).unwrap().remove(0).1
}

fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name).join("model.onnx")
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}

fn files(folder: &str, wanted: impl Fn(&Path) -> bool) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| wanted(p))
        .collect();
    paths.sort();
    paths
}

/// A model of one BitLinear: weights `t [n, k]` of -1, 0, 1, an input `x` of this rank.
fn bit_linear(
    float: &str,
    rank: usize,
    n: usize,
    k: usize,
    t: &[i8],
    scale: &[f32],
    stored: &str,
) -> ModelProto {
    let text = format!(
        "<ir_version: 8, opset_import: [\"\" : 17, \"bitonnx\" : 1]>
         g ({float}[{axes} {k}] x) => ({float} y) <{stored}> {{
           [proj] y = bitonnx.BitLinear <in_features = {k}, eps = 0.00001> (x, codes, scale)
         }}",
        axes = (1..rank).map(|i| format!("d{i},")).collect::<String>(),
    );
    let mut model = parse_model(&text).unwrap();
    let code = |t: i8| (t + 1) as u8;
    let rows = t.chunks(k).flat_map(|row| {
        row.chunks(4).map(|four| {
            let padded = (0..4).map(|i| four.get(i).map_or(1, |t| code(*t)) << (2 * i));
            padded.fold(0, |byte, code| byte | code)
        })
    });
    let tensor = |name: &str, dims: &[usize], kind: DataType, bytes: Vec<u8>| TensorProto {
        name: Some(name.into()),
        dims: dims.iter().map(|&d| d as i64).collect(),
        data_type: Some(kind as i32),
        raw_data: Some(bytes.into()),
        ..TensorProto::default()
    };
    let scales = scale.iter().flat_map(|s| s.to_le_bytes()).collect();
    model.graph.as_mut().unwrap().initializer.extend([
        tensor("codes", &[n, k.div_ceil(4)], DataType::Uint8, rows.collect()),
        tensor("scale", &[scale.len()], DataType::Float, scales),
    ]);
    model
}

/// BitLinear as it is defined: activations rounded in f32, everything else in f64.
fn formula(x: &[f32], t: &[i8], scale: &[f32], n: usize, k: usize) -> Vec<f64> {
    let row = |x: &[f32]| -> Vec<f64> {
        let g = x.iter().fold(1e-5f32, |g, x| g.max(x.abs()));
        let q: Vec<f64> = x
            .iter()
            .map(|x| f64::from((x * (127.0 / g)).round_ties_even().clamp(-128.0, 127.0)))
            .collect();
        (0..n)
            .map(|n| {
                let sum: f64 = q.iter().zip(&t[n * k..]).map(|(q, t)| q * f64::from(*t)).sum();
                sum * f64::from(scale[n % scale.len()]) * f64::from(g) / 127.0
            })
            .collect()
    };
    x.chunks(k).flat_map(row).collect()
}

/// A sequence that looks random: a linear congruential generator.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// Between -1 and 1.
    fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.next() as f32 / (1u64 << 30) as f32 - 1.0).collect()
    }

    fn ternary(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| (self.next() % 3) as i8 - 1).collect()
    }
}

/// A weight that is stored sparsely is the weight that it stands for.
#[test]
fn sparse_initializers_are_weights() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[b, 3] x) => (float[b, 2] y)
        <float[3, 2] w = {0.5, 0.0, 0.0, -0.25, 0.0, 0.75}> { y = MatMul(x, w) }"#;
    let dense = parse_model(text).unwrap();
    let sparse = |indices: Vec<i64>, dims: Vec<i64>| {
        let mut model = dense.clone();
        let graph = model.graph.as_mut().unwrap();
        graph.initializer.clear();
        graph.sparse_initializer.push(SparseTensorProto {
            values: Some(TensorProto {
                name: Some("w".into()),
                dims: vec![3],
                data_type: Some(DataType::Float as i32),
                float_data: vec![0.5, -0.25, 0.75],
                ..TensorProto::default()
            }),
            indices: Some(TensorProto {
                dims,
                data_type: Some(DataType::Int64 as i32),
                int64_data: indices,
                ..TensorProto::default()
            }),
            dims: vec![3, 2],
        });
        model
    };
    let x = floats_array(&[2, 3], &[1.0, 2.0, 3.0, -4.0, 5.0, -6.0]);
    for sparse in [sparse(vec![0, 3, 5], vec![3]), sparse(vec![0, 0, 1, 1, 2, 1], vec![3, 2])] {
        assert_eq!(floats(&run_one(sparse.clone(), x.clone())), [0.5, 1.75, -2.0, -5.75]);
        let [made, wanted] = [&sparse, &dense].map(|m| graphs::rewritten(m, &recipe()).model);
        let [made, wanted] = [made, wanted].map(|m| m.graph.unwrap());
        assert!(made.sparse_initializer.is_empty());
        assert_eq!(made.node, wanted.node);
        assert_eq!(made.initializer, wanted.initializer);
    }
}
