//! AVX2.
#![allow(unsafe_code, reason = "vector instructions exist on some CPUs only")]

use super::Isa;

/// The kernel, where this CPU has AVX2.
pub(super) fn avx2() -> Option<&'static dyn Isa> {
    None
}
