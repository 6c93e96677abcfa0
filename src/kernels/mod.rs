//! Products of int8 activations and ternary weights, over slices.
//!
//! `y[m, n] = float(Σₖ q[m, k]·t[n, k]) · (scale[n] · (g[m] / 127))`, with `t` in {-1, 0, 1}, `q` the
//! activations rounded per row and `g[m] = max(maxₖ |x[m, k]|, eps)`. Sums are exact in i32, so every
//! kernel gives what the scalar one defines, bit for bit.
//!
//! ```
//! use bitonnx::kernels::{Activations, Kernel, Product, Weights};
//! let kernel = Kernel::best();
//! // One output, two inputs: t = (+1, -1), so the codes 2 and 0, low bits first, then padding.
//! let weights = Weights::pack(&[0b01_01_00_10], 1, 2)?;
//! let mut x = Activations::new();
//! x.quantize(kernel, &[3.0f32, 1.0], 2, None, 1e-5)?;
//! let mut y = [0.0f32];
//! Product::new(kernel, &x, &weights, &[0.5], None)?.run(&mut y)?;
//! assert!((y[0] - 1.0).abs() < 0.01);
//! # Ok::<(), bitonnx::kernels::Error>(())
//! ```

mod activations;
#[cfg(target_arch = "x86_64")]
mod avx2;
mod element;
mod product;
mod quantize;
mod scalar;
mod tier;
mod weights;

pub use activations::{Activations, RowBlock};
pub use element::Element;
pub use product::{Product, Task};
pub use quantize::Norm;
pub use weights::Weights;

use activations::{Line, Rows};
use std::{fmt, sync::LazyLock};
use tier::{Job, Tier, tiers};
use weights::Tile;

// The best first. The last is there on any CPU.
tiers! {
    #[cfg(target_arch = "x86_64")]
    "avx2": avx2::Avx2,
    "scalar": tier::Scalar,
}

/// The environment variable that names the kernel to use, for tests of the lower tiers.
pub const KERNEL_VARIABLE: &str = "BITONNX_KERNEL";

/// Output rows of weights that are stored and computed together.
const BLOCK: usize = 16;

/// Sums of squares that are taken side by side: every 16th element has one.
const LANES: usize = 16;

/// One way to run the product. Holding one proves that this CPU can.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Kernel {
    name: &'static str,
    tier: AnyTier,
}

impl Kernel {
    /// What this CPU can run, best first, the scalar definition last.
    pub fn available() -> &'static [Kernel] {
        static AVAILABLE: LazyLock<Vec<Kernel>> = LazyLock::new(AnyTier::detected);
        &AVAILABLE
    }

    /// The quickest that this CPU can run.
    pub fn best() -> Kernel {
        Kernel::available()[0]
    }

    /// The available kernel of that name.
    pub fn by_name(name: &str) -> Option<Kernel> {
        Kernel::available().iter().copied().find(|k| k.name == name)
    }

    /// The one that [`KERNEL_VARIABLE`] names, or the best where it is unset or empty.
    pub fn from_env() -> Result<Kernel, Error> {
        match std::env::var_os(KERNEL_VARIABLE).filter(|name| !name.is_empty()) {
            None => Ok(Kernel::best()),
            Some(name) => {
                let name = name.to_string_lossy().into_owned();
                Kernel::by_name(&name).ok_or(Error::Unavailable(name))
            }
        }
    }

    /// What the `kernels` command calls it: `avx2`, `scalar`.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

impl fmt::Debug for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Kernel").field(&self.name).finish()
    }
}

/// Why a product can't be computed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No kernel of that name runs on this CPU.
    Unavailable(String),
    /// A slice does not have the length that the shape asks for.
    Length {
        /// What the slice holds.
        of: &'static str,
        /// Elements that it should hold.
        expected: usize,
        /// Elements that it holds.
        found: usize,
    },
    /// A dimension is zero, or so large that sums would leave i32.
    Dimensions {
        /// Output features.
        n: usize,
        /// Input features.
        k: usize,
    },
    /// A code is 3, which stands for no weight.
    Code {
        /// Output feature of the first such code.
        row: usize,
        /// Its input feature, which may lie in the padding.
        column: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unavailable(name) => {
                let names: Vec<_> = Kernel::available().iter().map(Kernel::name).collect();
                write!(f, "this CPU has no kernel `{name}`, only {}", names.join(", "))
            }
            Error::Length { of, expected, found } => {
                write!(f, "the {of} has {found} elements where the shape asks for {expected}")
            }
            Error::Dimensions { n, k } => write!(
                f,
                "{n} output and {k} input features: both must be at least 1, and inputs at most {}",
                weights::MAX_K
            ),
            Error::Code { row, column } => {
                write!(
                    f,
                    "the code at row {row}, column {column} is 3; only 0, 1 and 2 are weights"
                )
            }
        }
    }
}

impl std::error::Error for Error {}

fn check_length(of: &'static str, expected: usize, found: usize) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Length { of, expected, found }) }
}
