//! Turns an exported ONNX transformer into a 1.58-bit one: linear projections become BitLinears, with
//! ternary weights and activations quantised to int8 per token.
//!
//! ```text
//! file ─ proto::load ─► ModelProto ─► rewrite { survey by rules ─► policy ─► convert ─► edit ─► check } ─► proto::save ─► file
//!                                               │                                                   │
//!                                               ▼                                                   ▼
//!                                         report::Report                        runtime: tract with our operators
//!                                                                                                   │
//!                                                                         kernels: slices in, i32 sums out
//! ```
//!
//! The model's protobuf is the one representation: what no rule understood stays as it was. A rule is
//! a pattern in ONNX text and a little arithmetic ([`rules`]); [`rewrite`] is the mechanism.
//!
//! ```no_run
//! use bitonnx::{proto, rewrite::{Options, rewrite}, rules::recipe};
//! # fn main() -> bitonnx::Result<()> {
//! let model = proto::load("model.onnx".as_ref())?;
//! let rewritten = rewrite(model, &recipe(), &Options::default(), &mut |_, _| {})?;
//! println!("{} projections converted", rewritten.report.converted().count());
//! proto::save(&rewritten.model, "model.bit.onnx".as_ref(), Default::default(), &mut |_| {})?;
//! # Ok(())
//! # }
//! ```

pub mod array;
mod error;
pub mod files;
pub mod graph;
pub mod kernels;
#[cfg(feature = "runtime")]
pub mod npz;
pub mod operator;
pub mod pattern;
pub mod proto;
pub mod quant;
pub mod report;
pub mod rewrite;
pub mod roles;
pub mod rules;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod schedule;
pub mod text;
pub mod weights;

pub use error::{Error, ErrorKind, Result};
