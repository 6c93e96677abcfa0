//! The syntax's own words, and how other names are written among them.

use crate::proto::{attribute_proto::AttributeType, type_name, type_named};
use std::borrow::Cow;

/// Words that begin a type other than a tensor's.
const TYPE_WORDS: &[&str] = &["seq", "map", "optional", "sparse_tensor", "opaque"];

/// `float[2, 3]`: the type of a stored tensor.
pub(super) fn stored_type(data_type: i32, dims: &[i64]) -> String {
    let element = type_name(data_type);
    if dims.is_empty() { element } else { format!("{element}{dims:?}") }
}

/// The attribute type of this name.
pub(super) fn attribute_type(name: &str) -> Option<AttributeType> {
    let kind = AttributeType::from_str_name(&name.to_ascii_uppercase())?;
    (attribute_type_name(kind) == name && kind != AttributeType::Undefined).then_some(kind)
}

/// The name of an attribute type.
pub(super) fn attribute_type_name(kind: AttributeType) -> String {
    kind.as_str_name().to_lowercase()
}

/// The type of an element of a list attribute; `None` for a type that is not a list.
pub(super) fn element_of(list: AttributeType) -> Option<AttributeType> {
    attribute_type(attribute_type_name(list).strip_suffix('s')?)
}

/// The type of a list of such attributes; a list type is its own.
pub(super) fn list_of(single: AttributeType) -> AttributeType {
    attribute_type(&format!("{}s", attribute_type_name(single))).unwrap_or(single)
}

/// Whether a bare name in front of a value would be read as its type.
pub(super) fn is_type_word(name: &str) -> bool {
    TYPE_WORDS.contains(&name) || type_named(name).is_some()
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
