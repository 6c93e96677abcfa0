//! Arithmetic in the types that ONNX computes with.

use crate::array::{Element, Wide};
use crate::proto::tensor_proto::DataType::{self, *};

/// Element types that an operator is defined for.
pub type Types = &'static [DataType];

pub const FLOATS: Types = &[Float, Double, Float16, Bfloat16];
pub const INTEGERS: Types = &[Int8, Int32, Int64, Uint8];
pub const SIGNED: Types = &[Float, Double, Float16, Bfloat16, Int8, Int32, Int64];
pub const NUMBERS: Types = &[Float, Double, Float16, Bfloat16, Int8, Int32, Int64, Uint8];
pub const BOOLS: Types = &[Bool];
pub const ANY: Types = &[Float, Double, Float16, Bfloat16, Int8, Int32, Int64, Uint8, Bool];

/// What becomes of two numbers of one type: floats are computed in `f64`, integers in `i64`, where they wrap.
///
/// What four operations and roots make of floats of at most 32 bits is the same as if it were rounded to them
/// at once: 53 bits are more than twice as many as they have (Figueroa, "When is double rounding innocuous?").
#[derive(Clone, Copy)]
pub struct Arithmetic {
    pub floats: fn(f64, f64) -> f64,
    pub integers: fn(i64, i64) -> i64,
}

impl Arithmetic {
    /// One that floats have no part in.
    pub const fn of_integers(integers: fn(i64, i64) -> i64) -> Self {
        Arithmetic { floats: |a, _| a, integers }
    }

    #[inline]
    pub fn of<T: Element>(&self, a: T, b: T) -> T {
        T::from_wide(match a.widen() {
            Wide::Float(a) => Wide::Float((self.floats)(a, b.to_f64())),
            Wide::Int(a) => Wide::Int((self.integers)(a, b.to_i64())),
        })
    }
}

pub const ADD: Arithmetic = Arithmetic { floats: |a, b| a + b, integers: i64::wrapping_add };
pub const SUB: Arithmetic = Arithmetic { floats: |a, b| a - b, integers: i64::wrapping_sub };
pub const MUL: Arithmetic = Arithmetic { floats: |a, b| a * b, integers: i64::wrapping_mul };
/// The quotient; of integers truncated, with a divisor other than zero.
pub const DIV: Arithmetic = Arithmetic { floats: |a, b| a / b, integers: i64::wrapping_div };
/// The remainder with the sign of the dividend.
pub const REMAINDER: Arithmetic = Arithmetic { floats: |a, b| a % b, integers: i64::wrapping_rem };
/// The remainder with the sign of the divisor.
pub const MODULO: Arithmetic = Arithmetic {
    floats: |a, b| {
        let remainder = a % b;
        if remainder != 0.0 && (remainder < 0.0) != (b < 0.0) { remainder + b } else { remainder }
    },
    integers: |a, b| {
        let remainder = a.wrapping_rem(b);
        if remainder != 0 && (remainder < 0) != (b < 0) { remainder + b } else { remainder }
    },
};
/// The smaller one; NaN if either is.
pub const MIN: Arithmetic = Arithmetic {
    floats: |a, b| if b < a || b.is_nan() { b } else { a },
    integers: |a, b| a.min(b),
};
/// The larger one; NaN if either is.
pub const MAX: Arithmetic = Arithmetic {
    floats: |a, b| if b > a || b.is_nan() { b } else { a },
    integers: |a, b| a.max(b),
};
/// A number, or what is below zero times a slope.
pub const SLOPE: Arithmetic = Arithmetic {
    floats: |a, slope| if a < 0.0 { a * slope } else { a },
    integers: |a, slope| if a < 0 { a.wrapping_mul(slope) } else { a },
};
pub const AND: Arithmetic = Arithmetic::of_integers(|a, b| a & b);
pub const OR: Arithmetic = Arithmetic::of_integers(|a, b| a | b);
pub const XOR: Arithmetic = Arithmetic::of_integers(|a, b| a ^ b);
/// Bits moved up; what is moved by more than there are is zero.
pub const SHIFT_LEFT: Arithmetic = Arithmetic::of_integers(|a, b| shifted(a, b, i64::checked_shl));
/// Bits moved down.
pub const SHIFT_RIGHT: Arithmetic = Arithmetic::of_integers(|a, b| shifted(a, b, i64::checked_shr));

fn shifted(a: i64, by: i64, shift: fn(i64, u32) -> Option<i64>) -> i64 {
    u32::try_from(by).ok().and_then(|by| shift(a, by)).unwrap_or(0)
}

/// -1, 0 or 1; NaN stays.
pub fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// `f64::round_ties_even`, which is a function call unless the CPU is known to have an instruction.
///
/// Where floats are 1 apart, adding rounds to an integer, half to even.
#[inline]
pub fn round_half_even(x: f64) -> f64 {
    const ONE_APART: f64 = (1u64 << 52) as f64;
    let shift = ONE_APART.copysign(x);
    if x.abs() < ONE_APART { ((x + shift) - shift).copysign(x) } else { x }
}
