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
//! a pattern in ONNX text and a little arithmetic ([`rules`]); [`rewrite`](mod@rewrite) is the mechanism.
//!
//! # Load, rewrite, run
//!
#![cfg_attr(feature = "runtime", doc = "```")]
#![cfg_attr(not(feature = "runtime"), doc = "```ignore")]
//! use bitonnx::{npz::Array, proto, rewrite, rules::recipe, runtime::Session};
//! use ndarray::ArrayD;
//! use std::collections::BTreeMap;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let out = folder.path().join("tinyllama.bit.onnx");
//! let model = proto::load("examples/models/tinyllama-kjv.onnx".as_ref())?;
//!
//! // The model was trained without the norms that the default inserts.
//! let options = rewrite::Options::default().with(|o| o.subln = Some(rewrite::Placement::None));
//! let rewritten = rewrite::rewrite(model, &recipe(), &options, &mut |_, _| {})?;
//! for projection in rewritten.report.kept() {
//!     println!("{} stays as it is: {}", projection.node, projection.reason);
//! }
//! proto::save(&rewritten.model, &out, proto::ExternalData::Auto, &mut |_| {})?;
//!
//! let mut session = Session::new(rewritten.model, &Default::default())?;
//! let each = |value: i64| Array::from(ArrayD::from_elem(vec![1, 16], value));
//! let inputs = [("input_ids".into(), each(42)), ("attention_mask".into(), each(1))];
//! let outputs = session.run(&BTreeMap::from(inputs))?;
//! assert_eq!((outputs[0].0.as_str(), outputs[0].1.shape()), ("logits", &[1, 16, 1024][..]));
//! # Ok(())
//! # }
//! ```
//!
//! A program that has a tract of its own registers the operators there instead
#![cfg_attr(feature = "runtime", doc = "([`runtime::register`]).")]
#![cfg_attr(not(feature = "runtime"), doc = "(`runtime::register`).")]
//!
//! # Features
//!
//! | feature | default | brings |
//! |---|---|---|
//! | `runtime` | yes | `runtime` and `npz`: running models with tract, and arrays from and to numpy |
//! | `cli` | yes | the command `bitonnx`; a library does without |
//!
//! # Where to look
//!
//! | to | go to |
//! |---|---|
//! | read and write models | [`proto`] as files, [`text`] as text; [`files`] for whatever else is to be there whole or not at all |
//! | rewrite them | [`rewrite`](mod@rewrite) with the [`rules`] of the recipe, [`report`] for what was done |
//! | train the QAT variant | [`variants`]: its manifest, λ by a schedule, the way back |
//! | run them | `runtime`, with `npz` for inputs and outputs |
//! | compute BitLinears alone | [`kernels`] and [`quant`] |
//! | write rules | [`rewrite::Rule`], on top of [`pattern`], [`graph`] with [`array`](mod@array) for its constants, and [`roles`] |

pub mod array;
mod draft;
mod error;
pub mod files;
pub mod graph;
pub mod kernels;
#[cfg(feature = "runtime")]
pub mod npz;
pub mod operator;
mod options;
pub mod pattern;
pub mod proto;
pub mod quant;
pub mod report;
pub mod rewrite;
pub mod roles;
pub mod rules;
#[cfg(feature = "runtime")]
pub mod runtime;
pub mod text;
pub mod values;
pub mod variants;

pub use error::{Error, ErrorKind, Result};
