//! Ternary weights: arrays only, no ONNX.

mod exact;
mod low_rank;
mod matrix;
mod ternary;

pub use low_rank::{Correction, low_rank, untrained};
pub use matrix::{Layout, Matrix, Storage};
pub use ternary::{Ternary, ternarize};

use std::fmt;

/// Why an array can't be ternarised.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// The data are not as long as the shape asks for.
    Length {
        /// Bytes that the shape asks for.
        expected: usize,
        /// Bytes that there are.
        found: usize,
    },
    /// The row groups don't follow each other from the first row to the last.
    Groups,
    /// A weight is a NaN or an infinity.
    NotFinite {
        /// Its output feature.
        row: usize,
        /// Its input feature.
        column: usize,
        /// What it is.
        value: f32,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Length { expected, found } => {
                write!(f, "there are {found} bytes where the shape asks for {expected}")
            }
            Error::Groups => {
                write!(f, "the row groups don't follow each other from the first row to the last")
            }
            Error::NotFinite { row, column, value } => {
                write!(f, "the weight at row {row}, column {column} is {value}")
            }
        }
    }
}

impl std::error::Error for Error {}
