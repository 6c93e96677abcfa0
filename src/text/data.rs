//! What stored tensors hold, written out or summed up.

use super::{
    literal::{self, Form},
    names::quoted,
};
use crate::proto::{
    StringStringEntryProto, TensorProto, element_count, raw_bytes,
    tensor_proto::{DataLocation, DataType},
};
use std::borrow::Cow;

/// The data of a tensor.
pub(super) enum Data<'t> {
    /// So many numbers of one form, as raw data.
    Numbers { form: Form, count: usize, bytes: Cow<'t, [u8]> },
    /// Strings.
    Texts(&'t [Vec<u8>]),
    /// A place in a file, by ONNX's keys.
    External(&'t [StringStringEntryProto]),
    /// Data that have no literals, or do not fit the tensor's type and shape.
    Unreadable,
}

impl<'t> Data<'t> {
    pub fn of(tensor: &'t TensorProto) -> Self {
        if tensor.data_location() == DataLocation::External {
            return Data::External(&tensor.external_data);
        }
        let data_type = DataType::try_from(tensor.data_type()).unwrap_or_default();
        let count = literal::count(data_type, element_count(tensor));
        if data_type == DataType::String && count == Some(tensor.string_data.len()) {
            return Data::Texts(&tensor.string_data);
        }
        match (Form::of(data_type), count, raw_bytes(tensor)) {
            (Some(form), Some(count), Some(bytes)) => Data::Numbers { form, count, bytes },
            _ => Data::Unreadable,
        }
    }

    /// The data as the syntax has them: `{1, 2}`, or `["location": "weights.bin"]`.
    ///
    /// `readable` shows half-precision floats as their values, see [`Form::write`].
    pub fn write(&self, out: &mut String, readable: bool) {
        match self {
            Data::Numbers { form, count, bytes } => {
                let width = form.bits() as usize;
                let numbers = (0..*count).map(|index| bits_at(bytes, index * width, width));
                list(out, String::push_str, ["{", "}"], numbers, |out, bits| {
                    form.write(out, bits, readable)
                });
            }
            Data::Texts(texts) => {
                list(out, String::push_str, ["{", "}"], texts.iter(), |out, text| {
                    out.push_str(&quoted(&String::from_utf8_lossy(text)));
                })
            }
            Data::External(entries) => {
                list(out, String::push_str, ["[", "]"], entries.iter(), |out, entry| {
                    out.push_str(&format!("{}: {}", quoted(entry.key()), quoted(entry.value())));
                })
            }
            Data::Unreadable => out.push_str("{…}"),
        }
    }

    /// The data in the short style: as they are, or their digest where they are more than so many literals.
    pub fn write_short(&self, out: &mut String, literals: usize) {
        match self.exceeds(literals) {
            true => out.push_str(&self.digest()),
            false => self.write(out, true),
        }
    }

    fn exceeds(&self, literals: usize) -> bool {
        match self {
            Data::Numbers { count, .. } => *count > literals,
            Data::Texts(texts) => texts.len() > literals,
            Data::External(_) | Data::Unreadable => false,
        }
    }

    /// Bytes of the data; `None` where they are not here to be counted.
    pub fn size(&self) -> Option<usize> {
        match self {
            Data::Numbers { bytes, .. } => Some(bytes.len()),
            Data::Texts(texts) => Some(texts.iter().map(Vec::len).sum()),
            Data::External(_) | Data::Unreadable => None,
        }
    }

    /// `#` and the first eight hex digits of the BLAKE3 hash of the raw data, or of strings that
    /// are each followed by a zero byte.
    pub fn digest(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        match self {
            Data::Numbers { bytes, .. } => {
                hasher.update(bytes);
            }
            Data::Texts(texts) => texts.iter().for_each(|text| {
                hasher.update(text).update(&[0]);
            }),
            Data::External(_) | Data::Unreadable => {}
        }
        digest(&hasher.finalize())
    }
}

/// `#` and the first eight hex digits of a hash.
pub(super) fn digest(hash: &blake3::Hash) -> String {
    format!("#{}", &hash.to_hex()[..8])
}

/// Writes items with `, ` between them, in brackets, to something that `push` adds text to.
pub(super) fn list<S, T>(
    out: &mut S,
    push: fn(&mut S, &str),
    [open, close]: [&str; 2],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut S, T),
) {
    push(out, open);
    for (index, item) in items.into_iter().enumerate() {
        push(out, if index > 0 { ", " } else { "" });
        write(out, item);
    }
    push(out, close);
}

/// The `width` bits that begin at bit `start`, of raw data that are long enough; `width` is at most
/// 64 and a number either fills whole bytes or lies within one.
fn bits_at(bytes: &[u8], start: usize, width: usize) -> u64 {
    let touched = bytes.iter().skip(start / 8).take(width.div_ceil(8));
    let bits = touched.rev().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    bits >> (start % 8) & (u64::MAX >> (64 - width))
}
