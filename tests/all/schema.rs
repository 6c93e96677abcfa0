//! The generated types in `src/proto/` are those of `proto/onnx-ml.proto`.
//!
//! `BITONNX_BLESS=1 cargo test schema::` writes them anew after a change of the schema.

use prost::Message as _;
use std::{fmt::Write as _, fs, path::Path};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn generated_code_is_current() {
    let schema = protox::compile(["onnx-ml.proto"], [format!("{ROOT}/proto")]).unwrap();
    let out = tempfile::tempdir().unwrap();
    prost_build::Config::new()
        .bytes([".onnx.TensorProto.raw_data"])
        .disable_comments(["."])
        .out_dir(out.path())
        .compile_fds(schema.clone())
        .unwrap();
    check("onnx.rs", &fs::read_to_string(out.path().join("onnx.rs")).unwrap());
    check("fields.rs", &field_table(&schema.encode_to_vec()));
}

fn check(name: &str, generated: &str) {
    let path = Path::new(ROOT).join("src/proto").join(name);
    if std::env::var_os("BITONNX_BLESS").is_some() {
        fs::write(&path, generated).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == generated, "{} is stale: run with BITONNX_BLESS=1", path.display());
}

/// Every message of the schema with its field numbers, as the Rust source that `proto::wire` includes.
fn field_table(schema: &[u8]) -> String {
    let schema = prost_types::FileDescriptorSet::decode(schema).unwrap();
    let mut messages = Vec::new();
    for file in &schema.file {
        for message in &file.message_type {
            collect(message, &format!(".{}", file.package()), &mut messages);
        }
    }
    let mut table = String::from("// @generated from proto/onnx-ml.proto by tests/schema.rs\n&[\n");
    for (name, message) in &messages {
        let (mut plain, mut nested) = (Vec::new(), Vec::new());
        for field in &message.field {
            match messages.iter().position(|(n, _)| n == field.type_name()) {
                Some(index) => nested.push((field.number(), index)),
                None => plain.push(field.number()),
            }
        }
        writeln!(table, "    (\"{}\", &{plain:?}, &{nested:?}), // {name}", message.name())
            .unwrap();
    }
    table.push_str("]\n");
    table
}

type Found<'a> = Vec<(String, &'a prost_types::DescriptorProto)>;

fn collect<'a>(message: &'a prost_types::DescriptorProto, within: &str, found: &mut Found<'a>) {
    let name = format!("{within}.{}", message.name());
    for nested in &message.nested_type {
        collect(nested, &name, found);
    }
    found.push((name, message));
}
