//! A walk over protobuf's wire format that finds what the schema does not know.
//!
//! prost drops unknown fields while decoding; this finds them first, so that nothing is lost
//! without a word. Only tags and lengths are read: a gigabyte of weights costs one step.

/// A message's name, the numbers of its fields that hold no message, and those that hold one, each with the
/// index of that message.
type Message = (&'static str, &'static [u32], &'static [(u32, usize)]);

/// Every message of the schema.
static MESSAGES: &[Message] = include!("fields.rs");

/// A field that the schema does not have.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// The message that holds it, such as `NodeProto`.
    pub message: &'static str,
    /// Its number in that message.
    pub number: u32,
}

/// The first field of an encoded `ModelProto` that the schema does not have.
///
/// `None` also where the encoding is broken: the decoder says that better.
pub(super) fn unknown_field(model: &[u8]) -> Option<Unknown> {
    let root = MESSAGES.iter().position(|(name, ..)| *name == "ModelProto")?;
    walk(model, root, 0)
}

/// Nesting that prost accepts; deeper files are refused by the decoder.
const DEPTH: usize = 100;

fn walk(mut bytes: &[u8], message: usize, depth: usize) -> Option<Unknown> {
    let (message, plain, messages) = MESSAGES[message];
    while depth < DEPTH && !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = u32::try_from(key >> 3).ok()?;
        let payload = match key & 7 {
            0 => varint(&mut bytes).map(|_| None)?,
            1 => bytes.split_off(..8).map(|_| None)?,
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                Some(bytes.split_off(..length)?)
            }
            5 => bytes.split_off(..4).map(|_| None)?,
            _ => return Some(Unknown { message, number }),
        };
        let inner = messages.iter().find(|(field, _)| *field == number);
        if inner.is_none() && !plain.contains(&number) {
            return Some(Unknown { message, number });
        }
        let found =
            inner.zip(payload).and_then(|((_, inner), bytes)| walk(bytes, *inner, depth + 1));
        if found.is_some() {
            return found;
        }
    }
    None
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.split_off_first()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}
