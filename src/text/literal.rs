//! Tensor elements as literals, both ways.
//!
//! Every number is some bits of raw data: 2 to 64 of them, first element lowest.

use super::names::is_number_word;
use crate::proto::{element_bits, tensor_proto::DataType};
use half::{bf16, f16};
use std::{
    fmt::{Display, Write as _},
    str::FromStr,
};

/// How one number of a tensor is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An integer of so many bits. Floats of eight bits and less are written as their codes.
    Integer { bits: u32, signed: bool },
    /// A half-precision float: an integer is its bit pattern, a number with a point its value.
    Half,
    /// A bfloat16, written like a half-precision float.
    Brain,
    /// A single-precision float.
    Single,
    /// A double-precision float.
    Double,
}

impl Form {
    /// The form of a tensor's numbers; `None` for strings and types the syntax has no literals for.
    pub fn of(data_type: DataType) -> Option<Form> {
        use DataType::*;
        let bits = element_bits(data_type as i32)? as u32;
        Some(match data_type {
            Float | Complex64 => Form::Single,
            Double | Complex128 => Form::Double,
            Float16 => Form::Half,
            Bfloat16 => Form::Brain,
            Int2 | Int4 | Int8 | Int16 | Int32 | Int64 => Form::Integer { bits, signed: true },
            _ => Form::Integer { bits, signed: false },
        })
    }

    /// Bits of one number in raw data.
    pub fn bits(self) -> u32 {
        match self {
            Form::Integer { bits, .. } => bits,
            Form::Half | Form::Brain => 16,
            Form::Single => 32,
            Form::Double => 64,
        }
    }

    /// The bits of a literal, or why it is not one of this form.
    pub fn encode(self, literal: &str) -> Result<u64, String> {
        match self {
            Form::Integer { bits, signed } => integer(literal, bits, signed),
            Form::Half | Form::Brain if is_integer(literal) => integer(literal, 16, false),
            Form::Half => {
                let value = f16::from_f64(float(literal)?);
                in_range(literal, value.is_infinite(), value.to_bits().into())
            }
            Form::Brain => {
                let value = bf16::from_f64(float(literal)?);
                in_range(literal, value.is_infinite(), value.to_bits().into())
            }
            Form::Single => single(literal).map(|value| value.to_bits().into()),
            Form::Double => {
                let value: f64 = float(literal)?;
                in_range(literal, value.is_infinite(), value.to_bits())
            }
        }
    }

    /// Writes bits as a literal that [`Form::encode`] reads back, but for the payload of a NaN.
    ///
    /// `readable` writes half-precision floats as numbers with a point instead of bit patterns;
    /// the official parser can't read those.
    pub fn write(self, out: &mut String, bits: u64, readable: bool) {
        let low = bits as u16;
        match self {
            Form::Integer { bits: width, signed: true } => {
                let unused = u64::BITS - width;
                push(out, (bits << unused).cast_signed() >> unused);
            }
            Form::Half if readable => out.push_str(&float_literal(f16::from_bits(low).to_f32())),
            Form::Brain if readable => out.push_str(&float_literal(bf16::from_bits(low).to_f32())),
            Form::Integer { .. } | Form::Half | Form::Brain => push(out, bits),
            Form::Single => {
                push_short(out, &float_literal(f32::from_bits(bits as u32)));
            }
            Form::Double => {
                let value = f64::from_bits(bits);
                push_short(out, &literal(format!("{value:?}"), value.is_sign_negative()));
            }
        }
    }
}

/// Numbers being collected as raw data.
pub(super) struct Numbers {
    form: Form,
    /// The raw data so far.
    pub bytes: Vec<u8>,
    /// How many numbers there are.
    pub count: usize,
}

impl Numbers {
    pub fn new(form: Form) -> Self {
        Numbers { form, bytes: Vec::new(), count: 0 }
    }

    /// Appends the number that a literal means, or says why it means none.
    pub fn push(&mut self, literal: &str) -> Result<(), String> {
        let bits = self.form.encode(literal)?;
        let width = self.form.bits() as usize;
        let within_byte = self.count * width % 8;
        match self.bytes.last_mut() {
            Some(last) if within_byte > 0 => *last |= (bits << within_byte) as u8,
            _ => self.bytes.extend_from_slice(&bits.to_le_bytes()[..width.div_ceil(8)]),
        }
        self.count += 1;
        Ok(())
    }
}

/// Literals of a tensor with so many elements: a complex number is two, real part first.
pub(super) fn count(data_type: DataType, elements: Option<usize>) -> Option<usize> {
    let each = match data_type {
        DataType::Complex64 | DataType::Complex128 => 2,
        _ => 1,
    };
    elements?.checked_mul(each)
}

/// A float as the shortest literal with a point, an exponent or a word, so that it is no integer.
pub(super) fn float_literal(value: f32) -> String {
    literal(format!("{value:?}"), value.is_sign_negative())
}

/// The single-precision value of a literal, or why it has none.
pub(super) fn single(literal: &str) -> Result<f32, String> {
    let value: f32 = float(literal)?;
    in_range(literal, value.is_infinite(), value)
}

/// Whether a literal is written as an integer.
pub(super) fn is_integer(literal: &str) -> bool {
    literal.bytes().all(|b| b.is_ascii_digit() || b == b'-')
}

fn integer(literal: &str, bits: u32, signed: bool) -> Result<u64, String> {
    let (low, high) = match signed {
        true => (-(1i128 << (bits - 1)), (1i128 << (bits - 1)) - 1),
        false => (0, (1i128 << bits) - 1),
    };
    match literal.parse::<i128>() {
        Ok(value) if (low..=high).contains(&value) => {
            Ok(value as u64 & (u64::MAX >> (u64::BITS - bits)))
        }
        _ if is_integer(literal) => Err(format!("{literal} is not between {low} and {high}")),
        _ => Err(format!("expected an integer, found {literal}")),
    }
}

fn float<T: FromStr>(literal: &str) -> Result<T, String> {
    literal.parse().map_err(|_| format!("expected a number, found {literal}"))
}

/// The value, unless it is infinite only because the literal is too large.
fn in_range<T>(literal: &str, infinite: bool, value: T) -> Result<T, String> {
    match infinite && !is_number_word(literal.trim_start_matches('-')) {
        true => Err(format!("{literal} is too large for its type")),
        false => Ok(value),
    }
}

/// What `Debug` writes for a float, which round-trips, with the syntax's word for what is no number.
fn literal(debug: String, negative: bool) -> String {
    match debug.as_str() {
        "NaN" if negative => "-nan".into(),
        "NaN" => "nan".into(),
        _ => debug,
    }
}

fn push_short(out: &mut String, literal: &str) {
    out.push_str(literal.strip_suffix(".0").unwrap_or(literal));
}

fn push(out: &mut String, value: impl Display) {
    // Writing to a string can't fail.
    let _ = write!(out, "{value}");
}
