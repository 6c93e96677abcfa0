//! ONNX's text syntax: the one notation of rules, fixtures, snapshots and `show`.

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
