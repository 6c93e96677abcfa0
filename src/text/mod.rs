//! ONNX's text syntax: the one notation of rules, fixtures, snapshots and `show`.

mod error;
mod lex;
mod literal;
mod names;
mod parse;

pub use error::ParseError;
pub use parse::{parse_function, parse_graph, parse_model, parse_nodes};
