//! Arithmetic in the types that ONNX computes with.

use crate::array::{Element, Wide};

/// Arithmetic in an element type. Integers wrap, floats round once.
pub trait Number: Element {
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// The quotient; of integers truncated, with a divisor other than zero.
    fn div(self, other: Self) -> Self;
    /// The remainder with the sign of the dividend.
    fn remainder(self, other: Self) -> Self;
    /// The remainder with the sign of the divisor.
    fn modulo(self, other: Self) -> Self;
    fn pow(self, exponent: f64) -> Self;
    fn abs(self) -> Self;
    fn neg(self) -> Self;
    fn sign(self) -> Self;
    fn is_nan(self) -> bool;
    /// The smaller one; NaN if either is.
    fn min(self, other: Self) -> Self {
        if other < self || other.is_nan() { other } else { self }
    }
    /// The larger one; NaN if either is.
    fn max(self, other: Self) -> Self {
        if other > self || other.is_nan() { other } else { self }
    }
}

macro_rules! float_number {
    ($type:ident) => {
        impl Number for $type {
            fn add(self, other: Self) -> Self {
                self + other
            }
            fn sub(self, other: Self) -> Self {
                self - other
            }
            fn mul(self, other: Self) -> Self {
                self * other
            }
            fn div(self, other: Self) -> Self {
                self / other
            }
            fn remainder(self, other: Self) -> Self {
                self % other
            }
            fn modulo(self, other: Self) -> Self {
                let remainder = self % other;
                let opposite = remainder != 0.0 && (remainder < 0.0) != (other < 0.0);
                if opposite { remainder + other } else { remainder }
            }
            fn pow(self, exponent: f64) -> Self {
                f64::from(self).powf(exponent) as $type
            }
            fn abs(self) -> Self {
                $type::abs(self)
            }
            fn neg(self) -> Self {
                -self
            }
            fn sign(self) -> Self {
                match self.partial_cmp(&0.0) {
                    Some(std::cmp::Ordering::Less) => -1.0,
                    Some(std::cmp::Ordering::Equal) => 0.0,
                    Some(std::cmp::Ordering::Greater) => 1.0,
                    None => self,
                }
            }
            fn is_nan(self) -> bool {
                $type::is_nan(self)
            }
        }
    };
}

macro_rules! integer_number {
    ($type:ident, $abs:expr, $sign:expr, $modulo:expr) => {
        impl Number for $type {
            fn add(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            fn sub(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            fn mul(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            fn div(self, other: Self) -> Self {
                self.wrapping_div(other)
            }
            fn remainder(self, other: Self) -> Self {
                self.wrapping_rem(other)
            }
            fn modulo(self, other: Self) -> Self {
                $modulo(self, other)
            }
            fn pow(self, exponent: f64) -> Self {
                Self::from_wide(Wide::Float(self.to_f64().powf(exponent)))
            }
            fn abs(self) -> Self {
                $abs(self)
            }
            fn neg(self) -> Self {
                self.wrapping_neg()
            }
            fn sign(self) -> Self {
                $sign(self)
            }
            fn is_nan(self) -> bool {
                false
            }
        }
    };
}

macro_rules! signed_number {
    ($type:ident) => {
        integer_number!($type, $type::wrapping_abs, $type::signum, |a: $type, b: $type| {
            let remainder = a.wrapping_rem(b);
            if remainder != 0 && (remainder < 0) != (b < 0) { remainder + b } else { remainder }
        });
    };
}

macro_rules! unsigned_number {
    ($type:ident) => {
        integer_number!($type, |a| a, |a: $type| Ord::min(a, 1), |a: $type, b: $type| a % b);
    };
}

float_number!(f32);
float_number!(f64);
signed_number!(i8);
signed_number!(i32);
signed_number!(i64);
unsigned_number!(u8);
