//! Ternary matrix products over slices.
