//! ONNX's text syntax: the one notation of rules, fixtures, snapshots and `show`.
//!
//! It is the syntax of `onnx.parser` and `onnx.printer` (`docs/Syntax.md` in ONNX's repository, as of
//! version 1.23). What [`print`](mod@print) writes in full, [`parse_model`] and its siblings read back
//! as it was:
//!
//! ```
//! use bitonnx::text::{Style, parse_graph, print};
//!
//! let text = r#"mlp (float[b, 64] x) => (float[b, 2] "fc/y") <
//!   float[2] bias = {0.5, -0.5}
//! > {
//!   [fc] h = Gemm <transB = 1> (x, w)
//!   "fc/y" = Add(h, bias)
//! }"#;
//! let graph = parse_graph(text)?;
//! assert_eq!(print::graph(&graph, Style::Full), text);
//! # Ok::<(), bitonnx::text::ParseError>(())
//! ```
//!
//! Names that are not identifiers stand in quotes, as ONNX 1.19 and later have it.
//!
//! # Beyond the official syntax
//!
//! The parser reads, and where nothing else will do the printer writes:
//! - quotes around every name: of operators, domains (`"pkg.torch.2.5".Linear`), attributes, overloads,
//!   tensors and graphs in attributes, opaque types;
//! - lists of tensors, graphs and types, which the official parser reads as empty, and integers behind
//!   a float in a list, as floats;
//! - half-precision floats as numbers with a point, `float16[2] {1.0, 0.5}`; an integer is the bit
//!   pattern, as in the official syntax. Only [`Style::Short`] writes them;
//! - the types `undefined`, `float6e2m3` and `float6e3m2`;
//! - a `?` at the end of a bare name: what it stands for may be missing from a match;
//! - a graph on a node's attribute whose name is a type's or a number's, in quotes.
//!
//! It refuses what the official parser takes without a word: data that do not fit their shape or type,
//! lists of mixed types, text after the end.
//!
//! # What a text does not hold
//!
//! - Doc strings and metadata of anything but the model (and the doc string of a function).
//! - Sparse tensors, which the short style shows as remarks; quantization annotations, training
//!   information, device configurations, denotations of types and dimensions.
//! - Whether an empty or default-valued field is set; which field of a tensor holds the data: parsed
//!   numbers are in `raw_data`; what a NaN carries besides its sign.
//! - Bytes that are not UTF-8 in string attributes and string tensors; data of six-bit floats.
//! - With external data, only where they are: [`proto::load`](crate::proto::load) brings them in.

mod data;
pub mod diff;
mod error;
mod lex;
mod literal;
mod names;
mod parse;
pub mod print;
mod table;

pub use error::ParseError;
pub use parse::{parse_function, parse_graph, parse_model, parse_nodes};
pub use print::Style;
