//! What our files and their nodes say of themselves, in ONNX's metadata.

use crate::proto::StringStringEntryProto;

/// On a model, the version of this crate.
pub const VERSION: &str = "bitonnx.version";

/// On a model, the options that it was rewritten with, as JSON.
pub const OPTIONS: &str = "bitonnx.options";

/// On a model, a digest of what it was made from; on a node, the name of the one that it came from.
pub const SOURCE: &str = "bitonnx.source";

/// On a node, the rule that wrote it.
pub const RULE: &str = "bitonnx.rule";

/// Puts these entries in the place of all that are ours.
pub fn replace(
    metadata: &mut Vec<StringStringEntryProto>,
    entries: impl IntoIterator<Item = (&'static str, String)>,
) {
    metadata.retain(|entry| !entry.key().starts_with("bitonnx."));
    metadata.extend(entries.into_iter().map(|(key, value)| entry(key, value)));
}

/// One entry.
pub fn entry(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto { key: Some(key.into()), value: Some(value) }
}

/// The value that a key has.
pub fn get<'m>(metadata: &'m [StringStringEntryProto], key: &str) -> Option<&'m str> {
    metadata.iter().find(|entry| entry.key() == key).map(|entry| entry.value())
}
