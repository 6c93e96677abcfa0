//! The syntax's own words, and how other names are written among them.

use crate::proto::{attribute_proto::AttributeType, tensor_proto::DataType};
use std::borrow::Cow;

/// Element types by name. `undefined` and the six-bit floats go beyond the official syntax.
const ELEMENT_TYPES: &[(&str, DataType)] = &[
    ("undefined", DataType::Undefined),
    ("float", DataType::Float),
    ("uint8", DataType::Uint8),
    ("int8", DataType::Int8),
    ("uint16", DataType::Uint16),
    ("int16", DataType::Int16),
    ("int32", DataType::Int32),
    ("int64", DataType::Int64),
    ("string", DataType::String),
    ("bool", DataType::Bool),
    ("float16", DataType::Float16),
    ("double", DataType::Double),
    ("uint32", DataType::Uint32),
    ("uint64", DataType::Uint64),
    ("complex64", DataType::Complex64),
    ("complex128", DataType::Complex128),
    ("bfloat16", DataType::Bfloat16),
    ("float8e4m3fn", DataType::Float8e4m3fn),
    ("float8e4m3fnuz", DataType::Float8e4m3fnuz),
    ("float8e5m2", DataType::Float8e5m2),
    ("float8e5m2fnuz", DataType::Float8e5m2fnuz),
    ("uint4", DataType::Uint4),
    ("int4", DataType::Int4),
    ("float4e2m1", DataType::Float4e2m1),
    ("float8e8m0", DataType::Float8e8m0),
    ("uint2", DataType::Uint2),
    ("int2", DataType::Int2),
    ("float6e2m3", DataType::Float6e2m3),
    ("float6e3m2", DataType::Float6e3m2),
];

/// Words that begin a type other than a tensor's.
const TYPE_WORDS: &[&str] = &["seq", "map", "optional", "sparse_tensor", "opaque"];

/// Attribute types by name, each with the type of a list of it.
const ATTRIBUTE_TYPES: &[(&str, AttributeType, &str, AttributeType)] = {
    use AttributeType::*;
    &[
        ("float", Float, "floats", Floats),
        ("int", Int, "ints", Ints),
        ("string", String, "strings", Strings),
        ("tensor", Tensor, "tensors", Tensors),
        ("graph", Graph, "graphs", Graphs),
        ("sparse_tensor", SparseTensor, "sparse_tensors", SparseTensors),
        ("type_proto", TypeProto, "type_protos", TypeProtos),
    ]
};

/// The element type of this name.
pub(super) fn element_type(name: &str) -> Option<DataType> {
    ELEMENT_TYPES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
}

/// The name of an element type; `undefined` for a number that ONNX does not know.
pub(super) fn element_type_name(data_type: i32) -> &'static str {
    let known = ELEMENT_TYPES.iter().find(|(_, kind)| *kind as i32 == data_type);
    known.map_or("undefined", |(name, _)| name)
}

/// `float[2, 3]`: the type of a stored tensor.
pub(super) fn stored_type(data_type: i32, dims: &[i64]) -> String {
    let element = element_type_name(data_type);
    if dims.is_empty() { element.to_owned() } else { format!("{element}{dims:?}") }
}

/// The attribute type of this name.
pub(super) fn attribute_type(name: &str) -> Option<AttributeType> {
    ATTRIBUTE_TYPES.iter().find_map(|&(one, single, many, list)| match name {
        _ if name == one => Some(single),
        _ if name == many => Some(list),
        _ => None,
    })
}

/// The name of an attribute type.
pub(super) fn attribute_type_name(kind: AttributeType) -> &'static str {
    let known = ATTRIBUTE_TYPES.iter().find_map(|&(one, single, many, list)| match kind {
        _ if kind == single => Some(one),
        _ if kind == list => Some(many),
        _ => None,
    });
    known.unwrap_or("undefined")
}

/// The type of an element of a list attribute; `None` for a type that is not a list.
pub(super) fn element_of(list: AttributeType) -> Option<AttributeType> {
    ATTRIBUTE_TYPES.iter().find(|entry| entry.3 == list).map(|entry| entry.1)
}

/// The type of a list of such attributes; a list type is its own.
pub(super) fn list_of(single: AttributeType) -> AttributeType {
    ATTRIBUTE_TYPES.iter().find(|entry| entry.1 == single).map_or(single, |entry| entry.3)
}

/// Whether a bare name in front of a value would be read as its type.
pub(super) fn is_type_word(name: &str) -> bool {
    TYPE_WORDS.contains(&name) || element_type(name).is_some()
}

/// Whether a bare name is read as a number where a number can stand.
pub(super) fn is_number_word(name: &str) -> bool {
    ["inf", "infinity", "nan"].iter().any(|word| name.eq_ignore_ascii_case(word))
}

/// Whether a name can stand without quotes: a letter or `_`, then letters, digits and `_`.
pub(super) fn is_bare(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A name as the syntax has it: bare, or in quotes.
pub(super) fn name(name: &str) -> Cow<'_, str> {
    if is_bare(name) { Cow::Borrowed(name) } else { Cow::Owned(quoted(name)) }
}

/// A name where a type or a number could stand too: in quotes if it would be read as one.
pub(super) fn distinct_name(text: &str) -> Cow<'_, str> {
    if is_type_word(text) || is_number_word(text) { Cow::Owned(quoted(text)) } else { name(text) }
}

/// A text in quotes. A backslash takes what follows it as it is; line breaks need none.
pub(super) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
