//! Trained tensors, back into a model: what changes, what stays, and what is refused.

use bitonnx::{
    Error, ErrorKind,
    proto::{self, ModelProto, StringStringEntryProto, TensorProto, tensor_proto::DataType},
    text::parse_model,
    variants::{Imported, Manifest, import_weights},
};
use bytes::Bytes;
use safetensors::{Dtype, tensor::TensorView};
use serde_json::{Value, json};

/// Nothing here runs it: what counts is what is stored. `float`, `half`, `brain` and `double` are trained.
const SMALL: &str = r#"
    <ir_version: 10, opset_import: ["" : 21]>
    small (float[n, 2] x) => (float[n, 2] y) <
      float[2, 2] float = {1, 2, 3, 4},
      float16[2] half = {1.0, 2.0},
      bfloat16[3] brain = {1.0, 2.0, 3.0},
      double[1, 2] double = {1, 2},
      float[1] one = {1},
      int64[2] axes = {0, 1}
    > {
      p = MatMul (x, float)
      y = Mul (p, one)
    }"#;

fn model(text: &str) -> ModelProto {
    parse_model(text).unwrap()
}

/// A tensor of a safetensors file.
type Stored<'t> = (&'t str, Dtype, &'t [usize], &'t [u8]);

// 1.5 and -2, as IEEE 754 and bfloat16 write them, the least significant byte first.
const F32: &[u8] = &[0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0];
const F16: &[u8] = &[0, 0x3e, 0, 0xc0];
const BF16: &[u8] = &[0xc0, 0x3f, 0, 0xc0, 0xc0, 0x3f];
const F64: &[u8] = &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0xc0];

const FLOAT: Stored = ("float", Dtype::F32, &[2, 2], F32);
const HALF: Stored = ("half", Dtype::F16, &[2], F16);
const BRAIN: Stored = ("brain", Dtype::BF16, &[3], BF16);
const DOUBLE: Stored = ("double", Dtype::F64, &[1, 2], F64);

fn safetensors(tensors: &[Stored]) -> Bytes {
    let views = tensors.iter().map(|&(name, dtype, shape, data)| {
        (name, TensorView::new(dtype, shape.to_vec(), data).unwrap())
    });
    safetensors::serialize(views, None).unwrap().into()
}

fn entry(name: &str, dtype: &str, shape: &[i64], trainable: bool) -> Value {
    json!({
        "name": name,
        "shape": shape,
        "dtype": dtype,
        "trainable": trainable,
        "role": "weight",
        "projection": null,
        "identity": null,
    })
}

fn manifest(initializers: Vec<Value>) -> Manifest {
    let manifest = json!({
        "version": 1,
        "lambda": "lambda",
        "preset": "all",
        "initializers": initializers,
    });
    serde_json::from_value(manifest).unwrap()
}

fn whole(model: &ModelProto, tensors: &[Stored]) -> Result<Imported, Error> {
    import_weights(model.clone(), &safetensors(tensors), None, false)
}

fn partly(model: &ModelProto, tensors: &[Stored]) -> Result<Imported, Error> {
    import_weights(model.clone(), &safetensors(tensors), None, true)
}

fn initializer<'m>(model: &'m mut ModelProto, name: &str) -> &'m mut TensorProto {
    let stored = &mut model.graph.as_mut().unwrap().initializer;
    stored.iter_mut().find(|tensor| tensor.name() == name).unwrap()
}

/// An error whose first and second part mention these words.
#[track_caller]
fn assert_refused(result: Result<Imported, Error>, what: &str, why: &str) {
    let error = result.expect_err("it was imported");
    assert!(error.what().contains(what), "no {what:?} in {error}");
    assert!(error.why().contains(why), "no {why:?} in {error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn a_tensor_replaces_the_data_of_its_initializer_and_nothing_else() {
    let source = model(SMALL);
    for tensor in [FLOAT, HALF, BRAIN, DOUBLE] {
        let (name, _, _, data) = tensor;
        let imported = partly(&source, &[tensor]).unwrap();
        assert_eq!(imported.imported, [name]);
        assert_eq!(imported.bytes, data.len() as u64);
        let mut after = imported.model;
        let new = initializer(&mut after, name);
        assert_eq!(new.raw_data.as_deref(), Some(data), "{name}");
        new.raw_data = initializer(&mut source.clone(), name).raw_data.clone();
        assert!(after == source, "more than {name} changed");
    }
}

#[test]
fn all_tensors_come_at_once() {
    let source = model(SMALL);
    let imported = whole(&source, &[DOUBLE, HALF, FLOAT, BRAIN]).unwrap();
    assert_eq!(imported.imported, ["brain", "double", "float", "half"]);
    assert_eq!((imported.frozen.len(), imported.missing.len()), (0, 0));
    assert_eq!(imported.bytes, 16 + 4 + 6 + 16);
    let mut expected = source;
    for (name, _, _, data) in [FLOAT, HALF, BRAIN, DOUBLE] {
        initializer(&mut expected, name).raw_data = Some(Bytes::from_static(data));
    }
    assert!(imported.model == expected);
}

#[test]
fn eight_bit_floats_are_trained_where_a_manifest_says_so() {
    let types = [
        (DataType::Float8e4m3fn, Dtype::F8_E4M3, "float8e4m3fn"),
        (DataType::Float8e4m3fnuz, Dtype::F8_E4M3FNUZ, "float8e4m3fnuz"),
        (DataType::Float8e5m2, Dtype::F8_E5M2, "float8e5m2"),
        (DataType::Float8e5m2fnuz, Dtype::F8_E5M2FNUZ, "float8e5m2fnuz"),
        (DataType::Float8e8m0, Dtype::F8_E8M0, "float8e8m0"),
    ];
    for (data_type, dtype, name) in types {
        let mut source = model(SMALL);
        source.graph.as_mut().unwrap().initializer = vec![TensorProto {
            name: Some("w".into()),
            dims: vec![2],
            data_type: Some(data_type as i32),
            raw_data: Some(Bytes::from_static(&[1, 2])),
            ..TensorProto::default()
        }];
        let weights = safetensors(&[("w", dtype, &[2], &[0x3c, 0xc0])]);
        let manifest = manifest(vec![entry("w", name, &[2], true)]);
        let mut after =
            import_weights(source.clone(), &weights, Some(&manifest), false).unwrap().model;
        let new = initializer(&mut after, "w");
        assert_eq!(new.raw_data.as_deref(), Some(&[0x3c, 0xc0][..]), "{name}");
        new.raw_data = Some(Bytes::from_static(&[1, 2]));
        assert!(after == source);

        let special = |byte: u8| match (data_type, byte) {
            (DataType::Float8e5m2, 0x7c) => Some("inf"),
            (DataType::Float8e5m2, 0xfc) => Some("-inf"),
            (DataType::Float8e5m2, 0x7d..=0x7f | 0xfd..=0xff) => Some("NaN"),
            (DataType::Float8e4m3fn, 0x7f | 0xff) | (DataType::Float8e8m0, 0xff) => Some("NaN"),
            (DataType::Float8e4m3fnuz | DataType::Float8e5m2fnuz, 0x80) => Some("NaN"),
            _ => None,
        };
        for byte in 0..=255 {
            let weights = safetensors(&[("w", dtype, &[2], &[1, byte])]);
            let imported = import_weights(source.clone(), &weights, Some(&manifest), false);
            match special(byte) {
                Some(value) => assert_refused(imported, "`w`", &format!("at [1] is {value}")),
                None => assert!(imported.is_ok(), "{name}: {byte:#x}"),
            }
        }
    }
}

#[test]
fn what_is_not_finite_is_refused() {
    let refused = |(name, dtype, shape, data): Stored, at: usize, bytes: &[u8], why: &str| {
        let mut data = data.to_vec();
        data[at..at + bytes.len()].copy_from_slice(bytes);
        let what = format!("`{name}` is not finite");
        assert_refused(partly(&model(SMALL), &[(name, dtype, shape, &data)]), &what, why);
    };
    refused(FLOAT, 8, &f32::NAN.to_le_bytes(), "its value at [1, 0] is NaN");
    refused(FLOAT, 4, &f32::NEG_INFINITY.to_le_bytes(), "its value at [0, 1] is -inf");
    let two = [f32::INFINITY.to_le_bytes(), (-f32::NAN).to_le_bytes()].concat();
    refused(FLOAT, 8, &two, "at [1, 0] is inf, and 1 more are no finite numbers");
    // Not every NaN is quiet, or has its first bit alone.
    refused(FLOAT, 0, &0x7f80_0001u32.to_le_bytes(), "its value at [0, 0] is NaN");
    for (tensor, at, infinity) in [
        (HALF, 2, &[0, 0x7c][..]),
        (BRAIN, 4, &[0x80, 0x7f]),
        (DOUBLE, 8, &[0, 0, 0, 0, 0, 0, 0xf0, 0x7f]),
    ] {
        let index =
            [&tensor.2[1..].iter().map(|_| 0).collect::<Vec<_>>()[..], &[at / infinity.len()]]
                .concat();
        refused(tensor, at, infinity, &format!("its value at {index:?} is inf"));
        let mut other = infinity.to_vec();
        other[0] |= 1;
        refused(tensor, at, &other, &format!("its value at {index:?} is NaN"));
        *other.last_mut().unwrap() |= 0x80;
        other[0] &= !1;
        refused(tensor, at, &other, &format!("its value at {index:?} is -inf"));
    }
    // The largest numbers of each type are finite.
    let all = [
        ("float", Dtype::F32, &[2, 2][..], &[f32::MAX.to_le_bytes(); 4].concat()[..]),
        ("half", Dtype::F16, &[2], &[0xff, 0x7b, 0xff, 0xfb]),
        ("brain", Dtype::BF16, &[3], &[0x7f, 0x7f, 0x7f, 0xff, 0x80, 0]),
        ("double", Dtype::F64, &[1, 2], &[f64::MIN.to_le_bytes(); 2].concat()),
    ];
    assert_eq!(whole(&model(SMALL), &all).unwrap().imported.len(), 4);
}

/// A mask of the model's own may hold infinities.
#[test]
fn what_is_not_finite_in_the_model_may_stay() {
    let mut source = model(SMALL);
    let infinite = [1.0, f32::NEG_INFINITY, f32::NAN, 2.0].map(f32::to_le_bytes).concat();
    *initializer(&mut source, "float") = TensorProto {
        float_data: Vec::new(),
        raw_data: Some(infinite.clone().into()),
        ..initializer(&mut source, "float").clone()
    };
    let import = |data: &[u8]| partly(&source, &[("float", Dtype::F32, &[2, 2], data)]);
    assert_eq!(import(&infinite).unwrap().imported, ["float"]);
    let mut other = infinite.clone();
    other[..4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_refused(import(&other), "`float`", "its value at [0, 0] is NaN");
    other.copy_from_slice(&infinite);
    other[4..8].copy_from_slice(&f32::INFINITY.to_le_bytes());
    assert_refused(import(&other), "`float`", "its value at [0, 1] is inf");
}

#[test]
fn imported_data_are_slices_of_the_file() {
    let weights = safetensors(&[FLOAT]);
    let mut after = import_weights(model(SMALL), &weights, None, true).unwrap().model;
    let data = initializer(&mut after, "float").raw_data.clone().unwrap();
    assert!(weights.as_ptr_range().contains(&data.as_ptr()));
}

/// The old data may lie in a typed field; what says something about the tensor stays.
#[test]
fn what_an_initializer_says_of_itself_stays() {
    let mut source = model(SMALL);
    let note = StringStringEntryProto { key: Some("from".into()), value: Some("here".into()) };
    let old = initializer(&mut source, "float");
    old.raw_data = None;
    old.float_data = vec![1.0, 2.0, 3.0, 4.0];
    old.doc_string = Some("a matrix".into());
    old.metadata_props = vec![note];
    let mut expected = source.clone();
    let new = initializer(&mut expected, "float");
    new.float_data = Vec::new();
    new.raw_data = Some(Bytes::from_static(F32));
    assert!(partly(&source, &[FLOAT]).unwrap().model == expected);
}

#[test]
fn another_shape_is_refused() {
    let source = model(SMALL);
    let row = ("float", Dtype::F32, &[4][..], F32);
    assert_refused(partly(&source, &[row]), "`float` does not fit", "float[4]");
    assert_refused(partly(&source, &[row]), "`float` does not fit", "float[2, 2]");
    let turned = ("double", Dtype::F64, &[2, 1][..], F64);
    let error = partly(&source, &[turned]).unwrap_err();
    assert!(
        error.why().contains("double[2, 1]") && error.why().contains("double[1, 2]"),
        "{error}"
    );
    assert!(error.hint().ends_with(r#"tensors["double"] = tensors["double"].t().contiguous()"#));
}

#[test]
fn another_element_type_is_refused() {
    let source = model(SMALL);
    for (dtype, name) in [(Dtype::BF16, "bfloat16[2]"), (Dtype::I16, "int16[2]")] {
        let tensor = ("half", dtype, &[2][..], F16);
        let error = partly(&source, &[tensor]).unwrap_err();
        assert!(error.what().contains("`half` does not fit"), "{error}");
        assert!(error.why().contains(name) && error.why().contains("float16[2]"), "{error}");
        assert!(error.hint().ends_with(r#"tensors["half"].to(torch.float16)"#), "{error}");
    }
    let both = [("half", Dtype::BF16, &[2][..], F16), ("brain", Dtype::F16, &[3][..], BF16)];
    assert_refused(partly(&source, &both), "`brain` does not fit the model, nor do 1 more", "");
}

#[test]
fn a_name_that_the_model_has_not_is_refused_even_of_a_part() {
    let source = model(SMALL);
    let other = ("floaty", Dtype::F32, &[2, 2][..], F32);
    let all = [FLOAT, HALF, BRAIN, DOUBLE, other];
    assert_refused(whole(&source, &all), "a tensor that the model has not", "`floaty`");
    assert_refused(partly(&source, &[other]), "a tensor that the model has not", "`floaty`");
    let more = [other, ("p", Dtype::F32, &[2, 2][..], F32)];
    let error = partly(&source, &more).unwrap_err();
    assert!(error.what().contains("2 tensors that the model has not"), "{error}");
    assert!(error.why().contains("`floaty` and `p`"), "values are no initializers: {error}");
}

#[test]
fn a_missing_tensor_is_refused_unless_a_part_is_meant() {
    let source = model(SMALL);
    let tensors = [FLOAT, HALF, BRAIN];
    let refused = whole(&source, &tensors);
    assert_refused(refused, "a tensor is missing", "`double`");
    let error = whole(&source, &[HALF]).unwrap_err();
    assert!(error.what().contains("tensors are missing"), "{error}");
    assert!(error.why().contains("`float`, `brain` and `double`"), "{error}");
    assert_eq!(error.kind(), ErrorKind::MissingTensors);
    let imported = partly(&source, &[HALF]).unwrap();
    assert_eq!(imported.missing, ["float", "brain", "double"], "in the model's order");
}

#[test]
fn a_manifest_says_what_is_expected() {
    let source = model(SMALL);
    let manifest = manifest(vec![
        entry("half", "float16", &[2], true),
        entry("float", "float", &[2, 2], false),
    ]);
    let import = |tensors: &[Stored], partial| {
        import_weights(source.clone(), &safetensors(tensors), Some(&manifest), partial)
    };
    assert_eq!(import(&[HALF], false).unwrap().imported, ["half"]);
    let float = initializer(&mut source.clone(), "float").raw_data.clone().unwrap();
    let same = ("float", Dtype::F32, &[2, 2][..], &float[..]);
    assert_refused(import(&[same], false), "a tensor is missing", "manifest says to train `half`");
    let none = import(&[same], true).unwrap();
    assert_eq!(
        (none.missing, none.frozen, none.bytes),
        (vec!["half".into()], vec!["float".into()], 0)
    );
    assert!(none.imported.is_empty() && none.model == source);
}

#[test]
fn a_frozen_tensor_must_be_as_it_was() {
    let source = model(SMALL);
    // Without a manifest a single number is a constant, and so are integers.
    let one = ("one", Dtype::F32, &[1][..], &[0, 0, 0x80, 0x3f][..]);
    let zero_and_one = [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    let axes = ("axes", Dtype::I64, &[2][..], &zero_and_one[..]);
    let imported = partly(&source, &[one, axes, HALF]).unwrap();
    assert_eq!(imported.frozen, ["axes", "one"]);
    assert_eq!(imported.imported, ["half"]);
    assert_eq!(imported.bytes, 4);

    let changed = ("one", Dtype::F32, &[1][..], &[1, 0, 0x80, 0x3f][..]);
    let refused = partly(&source, &[changed, axes, HALF]);
    assert_refused(refused, "`one` is frozen", "differ from the model's");
    let manifest = manifest(vec![entry("float", "float", &[2, 2], false)]);
    let refused = import_weights(source, &safetensors(&[FLOAT]), Some(&manifest), false);
    assert_refused(refused, "`float` is frozen", "differ from the model's");
}

#[test]
fn a_manifest_of_another_model_is_refused() {
    let refused = |entries: Vec<Value>, why: &str| {
        let manifest = manifest(entries);
        let result = import_weights(model(SMALL), &safetensors(&[HALF]), Some(&manifest), true);
        assert_refused(result, "the manifest is not this model's", why);
    };
    let half = entry("half", "float16", &[2], true);
    refused(vec![half.clone(), entry("other", "float", &[2], false)], "`other`");
    refused(vec![entry("half", "float16", &[3], true)], "`half` as float16[3]");
    refused(vec![entry("half", "float", &[2], true)], "`half` as float[2]");
    refused(vec![half.clone(), entry("float", "float", &[4], false)], "has float[2, 2]");

    let mut newer = manifest(vec![half]);
    newer.version = 2;
    let result = import_weights(model(SMALL), &safetensors(&[HALF]), Some(&newer), false);
    assert_refused(result, "the manifest is not this model's", "version is 2");
}

/// An `If` whose branches each store a `w`.
fn branches(then: &str, other: &str) -> ModelProto {
    model(&format!(
        r#"<ir_version: 10, opset_import: ["" : 21]>
        g (bool c, float[n, 2] x) => (float[n, 2] y) {{
          y = If (c) <
            then_branch = then () => (float[n, 2] t) <float[2, 2] w = {then}> {{ t = MatMul (x, w) }},
            else_branch = other () => (float[n, 2] e) <float[2, 2] w = {other}> {{ e = MatMul (x, w) }}>
        }}"#
    ))
}

#[test]
fn one_name_in_two_branches_is_one_tensor_where_they_are_equal() {
    let weights = [("w", Dtype::F32, &[2, 2][..], F32)];
    let source = branches("{1, 2, 3, 4}", "{1, 2, 3, 4}");
    let imported = whole(&source, &weights).unwrap();
    assert_eq!(imported.imported, ["w"]);
    assert!(imported.model == branches("{1.5, -2, 1.5, -2}", "{1.5, -2, 1.5, -2}"));

    // Equal numbers, stored in different fields.
    let mut typed = source;
    let branch = &mut typed.graph.as_mut().unwrap().node[0].attribute[1].g.as_mut().unwrap();
    branch.initializer[0].raw_data = None;
    branch.initializer[0].float_data = vec![1.0, 2.0, 3.0, 4.0];
    assert!(whole(&typed, &weights).unwrap().model == imported.model);

    let different = branches("{1, 2, 3, 4}", "{1, 2, 3, 5}");
    let refused = whole(&different, &weights);
    assert_refused(refused, "`w` names 2 initializers", "different graphs");
    let nested: Vec<_> = proto::graphs(&different).iter().map(|g| g.initializer.len()).collect();
    assert_eq!(nested, [0, 1, 1], "the branches are what was compared");
}

#[test]
fn a_file_that_is_cut_short_is_refused() {
    let weights = safetensors(&[FLOAT, HALF, BRAIN, DOUBLE]);
    for length in 0..weights.len() {
        let cut = weights.slice(..length);
        let error = import_weights(model(SMALL), &cut, None, true).unwrap_err();
        assert_eq!(error.what(), "this is not a safetensors file", "{length} bytes");
        assert!(error.hint().contains("whole"), "{error}");
    }
}

#[test]
fn what_is_no_safetensors_file_is_refused() {
    let pointer = "version https://git-lfs.github.com/spec/v1\n\
                   oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n\
                   size 12345\n";
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("data.pkl", zip::write::SimpleFileOptions::default()).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    // A header that is longer than memory.
    let long = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let cases = [
        (pointer.as_bytes().to_vec(), "Git LFS pointer"),
        (zip, "zip archive"),
        (long, ""),
        (Vec::new(), ""),
        (b"neither this nor that".to_vec(), ""),
    ];
    for (content, why) in cases {
        let result = import_weights(model(SMALL), &content.into(), None, true);
        assert_refused(result, "this is not a safetensors file", why);
    }
    let result = import_weights(model(SMALL), &safetensors(&[]), None, true);
    assert_refused(result, "nothing to import", "no tensor");
}
