//! Models from and to files: nothing is lost, nothing is half written, nothing outside is read.

use bitonnx::{
    ErrorKind, files,
    proto::{
        self, AttributeProto, ExternalData, FunctionProto, GraphProto, ModelProto, NodeProto,
        SparseTensorProto, TensorProto, TrainingInfoProto, tensor_proto::DataLocation,
    },
    rewrite::{Options, rewrite},
    rules::recipe,
};
use onnx_protobuf::ModelProto as OtherModel;
use prost::Message as _;
use protobuf::Message as _;
use std::{
    fs,
    path::{Path, PathBuf},
};

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let models = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path().join("model.onnx"));
    let mut models: Vec<PathBuf> = models.filter(|m| m.exists()).collect();
    models.sort();
    assert!(models.len() > 20);
    models
}

fn save(model: &ModelProto, path: &Path, external: ExternalData) -> proto::Saved {
    proto::save(model, path, external, &mut |_| {}).unwrap()
}

#[test]
fn decoding_and_encoding_gives_the_same_bytes() {
    for path in fixtures() {
        let bytes = fs::read(&path).unwrap();
        let model = proto::decode(bytes.clone().into(), "model").unwrap();
        assert!(model.encode_to_vec() == bytes, "{}", path.display());
    }
}

#[test]
fn what_is_saved_is_what_prost_encodes() {
    let folder = tempfile::tempdir().unwrap();
    for path in fixtures() {
        let model = proto::load(&path).unwrap();
        let out = folder.path().join("model.onnx");
        let saved = save(&model, &out, ExternalData::Never);
        let bytes = fs::read(&out).unwrap();
        assert!(bytes == model.encode_to_vec(), "{}", path.display());
        assert_eq!(saved.bytes, bytes.len() as u64);
        assert_eq!(proto::digest(&model), blake3::hash(&bytes));
    }
}

#[test]
fn external_data_come_back() {
    let folder = tempfile::tempdir().unwrap();
    for path in fixtures() {
        let model = proto::load(&path).unwrap();
        let out = folder.path().join("model.onnx");
        let saved = save(&model, &out, ExternalData::Always);
        assert_eq!(saved.files.len(), 2);
        assert!(proto::load(&out).unwrap() == model, "{}", path.display());
        let files = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(files, 2, "the data file of the model before goes with it");
    }
}

#[test]
fn another_reader_reads_what_we_write() {
    for path in fixtures() {
        let model = proto::load(&path).unwrap();
        let rewritten =
            rewrite(model, &recipe(), &Options::default(), &mut |_, _| {}).unwrap().model;
        let other = OtherModel::parse_from_bytes(&rewritten.encode_to_vec()).unwrap();
        let graph = rewritten.graph.as_ref().unwrap();
        assert_eq!(other.graph.node.len(), graph.node.len());
        assert_eq!(other.functions.len(), rewritten.functions.len());
        for (theirs, ours) in other.graph.initializer.iter().zip(&graph.initializer) {
            assert_eq!(theirs.name, ours.name());
            assert_eq!(theirs.dims, ours.dims);
            assert_eq!(theirs.raw_data, ours.raw_data.as_deref().unwrap_or_default());
        }
    }
}

#[test]
fn unknown_fields_are_refused() {
    let mut bytes = fs::read(&fixtures()[0]).unwrap();
    // Field 99 of ModelProto, a varint: what a newer ONNX might write.
    bytes.extend([0x98, 0x06, 0x01]);
    let error = proto::decode(bytes.into(), "new.onnx").unwrap_err();
    assert_eq!(error.what(), "new.onnx can't be read without loss");
    assert!(error.why().contains("ModelProto") && error.why().contains("field 99"), "{error}");
}

#[test]
fn truncated_files_are_refused() {
    let bytes = fs::read(&fixtures()[0]).unwrap();
    for length in [0, 1, 7, bytes.len() / 2, bytes.len() - 1] {
        let error = proto::decode(bytes[..length].to_vec().into(), "cut.onnx").unwrap_err();
        assert_eq!(error.what(), "cut.onnx is not an ONNX model");
    }
}

/// A tensor `w` of two floats, elsewhere.
fn external_tensor(entries: &[(&str, &str)]) -> TensorProto {
    let entry = |&(key, value): &(&str, &str)| proto::StringStringEntryProto {
        key: Some(key.into()),
        value: Some(value.into()),
    };
    TensorProto {
        name: Some("w".into()),
        dims: vec![2],
        data_type: Some(1),
        data_location: Some(DataLocation::External as i32),
        external_data: entries.iter().map(entry).collect(),
        ..TensorProto::default()
    }
}

/// Writes a model into a folder.
fn write(model: &ModelProto, folder: &Path) -> PathBuf {
    let path = folder.join("model.onnx");
    fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// A model whose one tensor is elsewhere.
fn external_model(folder: &Path, entries: &[(&str, &str)]) -> PathBuf {
    let graph = GraphProto { initializer: vec![external_tensor(entries)], ..Default::default() };
    write(&ModelProto { graph: Some(graph), ..Default::default() }, folder)
}

/// The data that are read for such a model, or why they are not.
fn external_data(folder: &Path, entries: &[(&str, &str)]) -> Result<Vec<u8>, String> {
    let error = |e: bitonnx::Error| {
        assert!(e.what().starts_with("tensor `w` of ") && e.what().contains("model.onnx"), "{e}");
        e.why().to_owned()
    };
    let model = proto::load(&external_model(folder, entries)).map_err(error)?;
    Ok(model.graph.unwrap().initializer[0].raw_data.take().unwrap().to_vec())
}

#[test]
fn external_data_are_where_their_entries_say() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    let content: Vec<u8> = (0..64).collect();
    for name in ["w", "sub/w"] {
        fs::write(folder.path().join(name), &content).unwrap();
    }
    let read = |entries: &[(&str, &str)]| external_data(folder.path(), entries).unwrap();
    let first = [0, 1, 2, 3, 4, 5, 6, 7];
    assert_eq!(read(&[("location", "w")]), first);
    assert_eq!(read(&[("location", "sub/w"), ("length", "8")]), first);
    assert_eq!(read(&[("offset", "0"), ("location", "./sub/w")]), first);
    let later = [24, 25, 26, 27, 28, 29, 30, 31];
    assert_eq!(read(&[("location", "w"), ("offset", "24")]), later);
    assert_eq!(read(&[("location", "w"), ("length", "8"), ("offset", "24")]), later);
    // As for ONNX's own library, the last of a key counts, and it may have others.
    let twice = [("location", "no"), ("offset", "1"), ("offset", "24"), ("location", "w")];
    assert_eq!(read(&[&twice[..], &[("checksum", "-")]].concat()), later);
}

#[test]
fn external_data_that_are_not_there_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("w"), [0; 64]).unwrap();
    let why = |entries: &[(&str, &str)]| external_data(folder.path(), entries).unwrap_err();
    let at = |offset, length| why(&[("location", "w"), ("offset", offset), ("length", length)]);
    assert_eq!(at("60", "8"), "it is at bytes 60 to 68 of `w`, which has 64");
    assert_eq!(
        at("18446744073709551615", "8").split(" to").next(),
        Some("it is at bytes 18446744073709551615")
    );
    assert_eq!(at("0", "12"), "its shape needs 8 bytes, its external length is 12");
    for number in ["-1", "18446744073709551616", "1e3", "0x8", "", " 8", "8.0", "٣"] {
        let not = format!("{number:?}, not a number of bytes");
        assert_eq!(at(number, "8"), format!("its external offset is {not}"));
        assert_eq!(at("0", number), format!("its external length is {not}"));
    }
    assert_eq!(why(&[("offset", "0")]), "it is external but names no file");
    for missing in ["missing", "sub/w", "w/w", "\0", &"w".repeat(5000)] {
        let why = why(&[("location", missing)]);
        assert!(why.starts_with("its data file `") && why.contains("can't be read"), "{why}");
    }
    for no_file in ["", ".", "sub"] {
        assert!(why(&[("location", no_file)]).ends_with("is no file"));
    }
}

#[test]
fn external_data_stay_inside_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let inner = outer.path().join("model");
    fs::create_dir_all(inner.join("sub")).unwrap();
    fs::create_dir(outer.path().join("models")).unwrap();
    for name in ["secret", "models/secret", "model/w"] {
        fs::write(outer.path().join(name), [0; 64]).unwrap();
    }
    let why = |location: &str| external_data(&inner, &[("location", location)]).unwrap_err();
    let outside = |location: &str| {
        let expected = format!("its data file `{location}` lies outside the model's folder");
        assert_eq!(why(location), expected);
    };
    let secret = outer.path().join("secret");
    for location in ["../secret", "sub/../../secret", "sub/../w", "..", "../models/secret", "/"] {
        outside(location);
    }
    outside(secret.to_str().unwrap());
    outside(inner.join("w").to_str().unwrap());
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(&secret, inner.join("link")).unwrap();
        symlink("../secret", inner.join("relative")).unwrap();
        symlink("link", inner.join("again")).unwrap();
        symlink("..", inner.join("folder")).unwrap();
        symlink("../models", inner.join("sibling")).unwrap();
        symlink("/dev/zero", inner.join("device")).unwrap();
        for location in ["link", "relative", "again", "folder/secret", "sibling/secret", "device"] {
            outside(location);
        }
        symlink("../w", inner.join("sub/within")).unwrap();
        assert!(external_data(&inner, &[("location", "sub/within")]).is_ok());
        symlink("circle", inner.join("circle")).unwrap();
        symlink("gone", inner.join("dangling")).unwrap();
        for location in ["circle", "dangling"] {
            assert!(why(location).contains("can't be read"));
        }
        fs::hard_link(&secret, inner.join("hard")).unwrap();
        assert!(why("hard").contains("`hard` has another name elsewhere, as a hard link"));
        assert!(
            std::process::Command::new("mkfifo")
                .arg(inner.join("pipe"))
                .status()
                .unwrap()
                .success()
        );
        assert!(why("pipe").ends_with("`pipe` is no file"));
    }
}

/// Data lie beside the path that is given, or beside the file that it leads to.
#[cfg(unix)]
#[test]
fn external_data_lie_beside_the_link_or_the_file() {
    use std::os::unix::fs::symlink;
    let outer = tempfile::tempdir().unwrap();
    let at = |name: &str| outer.path().join(name);
    for folder in ["given", "far", "third"] {
        fs::create_dir(at(folder)).unwrap();
    }
    external_model(&at("far"), &[("location", "w")]);
    symlink("../far/model.onnx", at("given/middle")).unwrap();
    symlink("middle", at("given/model.onnx")).unwrap();
    let read = || {
        let model = proto::load(&at("given/model.onnx")).map_err(|e| e.why().to_owned())?;
        Ok(model.graph.unwrap().initializer[0].raw_data.take().unwrap()[0])
    };
    let outside = Err("its data file `w` lies outside the model's folder".to_owned());
    assert!(read().is_err_and(|why: String| why.contains("can't be read")));
    fs::write(at("third/w"), [3; 8]).unwrap();
    symlink("../third/w", at("far/w")).unwrap();
    assert_eq!(read(), outside);
    fs::remove_file(at("far/w")).unwrap();
    fs::write(at("far/w"), [1; 8]).unwrap();
    assert_eq!(read(), Ok(1));
    symlink("../far/w", at("given/w")).unwrap();
    assert_eq!(read(), Ok(1));
    fs::remove_file(at("given/w")).unwrap();
    symlink("../third/w", at("given/w")).unwrap();
    assert_eq!(read(), outside);
    fs::remove_file(at("given/w")).unwrap();
    fs::write(at("given/w"), [2; 8]).unwrap();
    assert_eq!(read(), Ok(2));
}

/// Where tensors begin in a data file: at pages, so that each can be mapped by itself; those that share their
/// bytes share them there.
#[test]
fn external_tensors_begin_at_pages() {
    let folder = tempfile::tempdir().unwrap();
    let shared = bytes::Bytes::from(vec![9; 5000]);
    let data =
        [vec![1; 1024].into(), vec![2; 4097].into(), shared.clone(), vec![3; 1023].into(), shared];
    let tensor = |(index, data): (usize, &bytes::Bytes)| TensorProto {
        name: Some(format!("t{index}")),
        dims: vec![data.len() as i64],
        data_type: Some(2),
        raw_data: Some(data.clone()),
        ..TensorProto::default()
    };
    let initializer = data.iter().enumerate().map(tensor).collect();
    let graph = GraphProto { initializer, ..Default::default() };
    let model = ModelProto { graph: Some(graph), ..Default::default() };
    let path = folder.path().join("model.onnx");
    let saved = save(&model, &path, ExternalData::Always);

    let stored = proto::decode(fs::read(&path).unwrap().into(), "model").unwrap();
    let place = |tensor: &TensorProto| {
        let entries = tensor.external_data.iter();
        let numbers = entries.filter_map(|e| e.value().parse().ok());
        numbers.collect::<Vec<usize>>()
    };
    let places: Vec<_> = stored.graph.unwrap().initializer.iter().map(place).collect();
    assert_eq!(
        places,
        [vec![0, 1024], vec![4096, 4097], vec![12288, 5000], vec![], vec![12288, 5000]]
    );
    let file = fs::read(&saved.files[1]).unwrap();
    assert_eq!(file.len(), 17288);
    assert!(file[1024..4096].iter().chain(&file[8193..12288]).all(|&byte| byte == 0));
    assert!(proto::load(&path).unwrap() == model);
}

#[test]
fn data_that_do_not_fit_their_shape_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    for dims in [vec![3], vec![-1], vec![i64::MAX, i64::MAX]] {
        let tensor = TensorProto {
            name: Some("w".into()),
            dims,
            data_type: Some(1),
            raw_data: Some(vec![0; 8].into()),
            ..TensorProto::default()
        };
        let graph = GraphProto { initializer: vec![tensor], ..Default::default() };
        let model = ModelProto { graph: Some(graph), ..Default::default() };
        fs::write(&path, model.encode_to_vec()).unwrap();
        assert!(proto::load(&path).unwrap_err().why().contains("tensor `w`"));
    }
}

/// Models that hold one tensor each, in every place that the schema has for one.
fn models_with(tensor: &TensorProto) -> Vec<(&'static str, ModelProto)> {
    let tensor = || tensor.clone();
    let sparse = |values: bool| {
        let stored = Some(tensor());
        match values {
            true => SparseTensorProto { values: stored, ..Default::default() },
            false => SparseTensorProto { indices: stored, ..Default::default() },
        }
    };
    let attribute = || AttributeProto { t: Some(tensor()), ..Default::default() };
    let node = |attribute: AttributeProto| NodeProto {
        output: vec!["w".into()],
        attribute: vec![attribute],
        ..Default::default()
    };
    let graph = |attribute| GraphProto { node: vec![node(attribute)], ..Default::default() };
    let within = |graph| AttributeProto { g: Some(graph), ..Default::default() };
    let main = |graph| ModelProto { graph: Some(graph), ..Default::default() };
    let function = |function| ModelProto { functions: vec![function], ..main(Default::default()) };
    let training = |info| ModelProto { training_info: vec![info], ..main(Default::default()) };
    let stored = || GraphProto { initializer: vec![tensor()], ..Default::default() };
    let sparsely =
        |values| GraphProto { sparse_initializer: vec![sparse(values)], ..Default::default() };
    vec![
        ("an initializer", main(stored())),
        ("sparse values", main(sparsely(true))),
        ("sparse indices", main(sparsely(false))),
        ("an attribute", main(graph(attribute()))),
        (
            "a list of tensors",
            main(graph(AttributeProto { tensors: vec![tensor()], ..Default::default() })),
        ),
        (
            "a sparse attribute",
            main(graph(AttributeProto { sparse_tensor: Some(sparse(true)), ..Default::default() })),
        ),
        (
            "a list of sparse tensors",
            main(graph(AttributeProto {
                sparse_tensors: vec![sparse(false)],
                ..Default::default()
            })),
        ),
        ("a branch", main(graph(within(stored())))),
        (
            "a list of graphs",
            main(graph(AttributeProto { graphs: vec![stored()], ..Default::default() })),
        ),
        (
            "a function",
            function(FunctionProto { node: vec![node(attribute())], ..Default::default() }),
        ),
        (
            "a branch in a function",
            function(FunctionProto { node: vec![node(within(stored()))], ..Default::default() }),
        ),
        (
            "the default of a function's attribute",
            function(FunctionProto { attribute_proto: vec![attribute()], ..Default::default() }),
        ),
        (
            "a training step",
            training(TrainingInfoProto { algorithm: Some(stored()), ..Default::default() }),
        ),
        (
            "the start of training",
            training(TrainingInfoProto { initialization: Some(stored()), ..Default::default() }),
        ),
    ]
}

#[test]
fn external_data_are_brought_in_wherever_they_are_named() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("model");
    fs::create_dir(&folder).unwrap();
    fs::write(outer.path().join("secret"), [0; 64]).unwrap();
    fs::write(folder.join("weights.bin"), [7; 64]).unwrap();

    let inline = TensorProto {
        raw_data: Some(vec![7; 8].into()),
        data_location: None,
        external_data: Vec::new(),
        ..external_tensor(&[])
    };
    let outside = models_with(&external_tensor(&[("location", "../secret")]));
    let inside = models_with(&external_tensor(&[("location", "weights.bin"), ("offset", "8")]));
    let expected = models_with(&inline);
    for (((at, inside), (_, outside)), (_, expected)) in inside.iter().zip(&outside).zip(&expected)
    {
        let loaded = proto::load(&write(inside, &folder)).unwrap();
        assert!(loaded == *expected, "{at}");
        let error = proto::load(&write(outside, &folder)).unwrap_err();
        assert!(error.what().contains("tensor `w`"), "{at}: {error}");
        assert!(error.why().ends_with("lies outside the model's folder"), "{at}: {error}");
    }
}

#[test]
fn sizes_are_checked_wherever_data_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let short = TensorProto {
        name: Some("w".into()),
        dims: vec![3],
        data_type: Some(1),
        raw_data: Some(vec![0; 8].into()),
        ..TensorProto::default()
    };
    for (at, model) in models_with(&short) {
        let loaded = proto::load(&write(&model, folder.path()));
        assert!(loaded.is_err_and(|e| e.why().contains("tensor `w`")), "{at}");
    }
}

/// A small model, cut at every byte, and with every byte changed: what is left is read or refused, and what
/// is read can be printed.
#[test]
fn a_damaged_file_is_a_model_or_an_error() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("weights.bin"), [7; 64]).unwrap();
    let entries = [("location", "weights.bin"), ("offset", "8"), ("length", "8")];
    let path = folder.path().join("model.onnx");
    let (mut read, mut refused) = (0, 0);
    for (_, model) in models_with(&external_tensor(&entries)).into_iter().step_by(4) {
        let bytes = model.encode_to_vec();
        let cut = (0..bytes.len()).map(|end| bytes[..end].to_vec());
        let changed = (0..bytes.len()).flat_map(|at| {
            [0xff, bytes[at] ^ 1, bytes[at] ^ 8].map(|byte| {
                let mut bytes = bytes.clone();
                bytes[at] = byte;
                bytes
            })
        });
        for damaged in cut.chain(changed) {
            fs::write(&path, damaged).unwrap();
            match proto::load(&path) {
                Ok(model) => {
                    read += 1;
                    bitonnx::text::print::model(&model, bitonnx::text::Style::SHORT);
                }
                Err(error) => {
                    refused += 1;
                    assert!(!error.what().is_empty() && !error.why().is_empty(), "{error}");
                }
            }
        }
    }
    assert!(read > 0 && refused > 0, "{read} read, {refused} refused");
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 548105171\n";

#[test]
fn files_that_stand_for_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let loaded = |content: &str| {
        fs::write(&path, content).unwrap();
        proto::load(&path).unwrap_err()
    };
    let error = loaded(POINTER);
    assert!(error.what().ends_with("model.onnx is not an ONNX model"), "{error}");
    assert!(error.why().contains("Git LFS pointer"), "{error}");
    assert!(error.hint().contains("git lfs pull"), "{error}");
    for page in ["<!DOCTYPE html>\n<html lang=en>", "\u{feff}\n  <!doctype HTML>", "<html><head>"] {
        let error = loaded(page);
        assert!(error.why().contains("web page"), "{error}");
        assert!(error.hint().contains("download the raw file"), "{error}");
    }
    assert!(!loaded("<!doc").why().contains("web page"));
}

#[test]
fn what_the_system_refuses_is_the_source_of_the_error() {
    use std::{error::Error as _, io};
    let folder = tempfile::tempdir().unwrap();
    let missing = proto::load(&folder.path().join("model.onnx")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    let source = missing.source().and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::NotFound));
    assert_eq!(proto::load(folder.path()).unwrap_err().kind(), ErrorKind::Unreadable);
    let nowhere = folder.path().join("none/model.onnx");
    let unwritable = files::write_bytes(&nowhere, b"").unwrap_err();
    assert_eq!(unwritable.kind(), ErrorKind::Unwritable);
    assert!(unwritable.source().is_some());
    let broken = proto::decode("no model".into(), "a name").unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::InvalidFile);
    assert!(broken.source().is_none());
}

#[test]
fn data_files_that_stand_for_others_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = external_model(folder.path(), &[("location", "weights.bin")]);
    for (content, word) in [(POINTER, "git lfs pull"), ("<!DOCTYPE html><html>", "raw file")] {
        fs::write(folder.path().join("weights.bin"), content).unwrap();
        let error = proto::load(&path).unwrap_err();
        assert!(error.what().contains("tensor `w`"), "{error}");
        assert!(error.why().contains("weights.bin"), "{error}");
        assert!(error.hint().contains(word), "{error}");
    }
}

#[cfg(unix)]
mod written {
    use super::*;
    use std::{
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        process::Command,
    };

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn why(path: &Path) -> String {
        let error = files::write_bytes(path, b"new").unwrap_err();
        assert_eq!(error.what(), format!("{} can't be written", path.display()));
        error.why().to_owned()
    }

    #[test]
    fn a_file_is_replaced_and_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let (path, other) = (folder.path().join("file"), folder.path().join("other"));
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        fs::hard_link(&path, &other).unwrap();
        files::write_bytes(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
        assert_eq!(fs::read(&other).unwrap(), b"old", "a second name of the old file");
        assert_eq!(names(folder.path()), ["file", "other"]);
    }

    #[test]
    fn a_new_file_is_as_open_to_others_as_any() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().mode();
        fs::write(folder.path().join("any"), "").unwrap();
        files::write_bytes(&folder.path().join("new"), b"new").unwrap();
        assert_eq!(mode("new"), mode("any"));
    }

    #[test]
    fn links_are_followed_to_what_is_there_and_to_what_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("far")).unwrap();
        fs::write(at("far/old"), "old").unwrap();
        for (link, to) in [("link", "far/old"), ("again", "link"), ("yet", "far/new")] {
            symlink(to, at(link)).unwrap();
        }
        symlink(at("far/absolute"), at("whole")).unwrap();
        for (link, file) in
            [("link", "old"), ("again", "old"), ("yet", "new"), ("whole", "absolute")]
        {
            files::write_bytes(&at(link), link.as_bytes()).unwrap();
            assert!(at(link).is_symlink(), "{link}");
            assert_eq!(fs::read(at("far").join(file)).unwrap(), link.as_bytes());
        }
        assert_eq!(names(&at("far")), ["absolute", "new", "old"]);
        symlink("there", at("here")).unwrap();
        symlink("here", at("there")).unwrap();
        assert_eq!(why(&at("here")), "its links lead in a circle");
    }

    #[test]
    fn what_is_no_file_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let link = folder.path().join("link");
        symlink("pipe", &link).unwrap();
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let read = {
            let pipe = pipe.clone();
            std::thread::spawn(move || files::read(&pipe).unwrap())
        };
        let content: Vec<u8> = (0..1_000_000u32).map(|i| (i % 251) as u8).collect();
        files::write_bytes(&link, &content).unwrap();
        assert!(read.join().unwrap() == content);
        assert_eq!(names(folder.path()), ["link", "pipe"]);
        assert!(!pipe.metadata().unwrap().is_file() && link.is_symlink());
        files::write_bytes(Path::new("/dev/null"), &content).unwrap();
        #[cfg(target_os = "linux")]
        assert!(why(Path::new("/dev/full")).contains("No space left on device"));
    }

    #[test]
    fn what_cant_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(why(folder.path()), "it is a folder");
        fs::write(folder.path().join("file"), "").unwrap();
        for path in ["missing/file", "file/file"] {
            assert!(!why(&folder.path().join(path)).is_empty());
        }
        let locked = folder.path().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        // Nothing is locked for root.
        if fs::write(locked.join("probe"), "").is_err() {
            assert_eq!(why(&locked.join("file")), "permission denied");
        }
        assert_eq!(names(folder.path()), ["file", "locked"]);
    }

    /// A writer that fails half way leaves the old file, and nothing beside it.
    #[test]
    fn half_a_file_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        for length in [8, 1 << 30] {
            let error = files::write(&path, length, |file| {
                file.write_all(&[1; 100_000])?;
                Err::<(), _>(std::io::Error::other("enough"))
            });
            assert_eq!(error.unwrap_err().why(), "enough");
            assert_eq!(fs::read(&path).unwrap(), b"old");
            assert_eq!(names(folder.path()), ["file"]);
        }
    }
}
