//! Every test of the crate from outside, in one binary: linking tract takes longer than running most of them.
//!
//! Panic hooks belong to a process, so their test is one of its own: `tests/panics.rs`.

macro_rules! assert_snapshot {
    ($name:expr, $text:expr $(, $setting:ident => $value:expr)* $(,)?) => {
        insta::with_settings!({
            snapshot_path => concat!(env!("CARGO_MANIFEST_DIR"), "/snapshots"),
            prepend_module_to_snapshot => false,
            omit_expression => true,
            $($setting => $value),*
        }, {
            insta::assert_snapshot!($name, $text);
        });
    };
}

/// A model of a graph.
fn model_of(graph: &bitonnx::proto::GraphProto) -> bitonnx::proto::ModelProto {
    bitonnx::proto::ModelProto { graph: Some(graph.clone()), ..Default::default() }
}

#[cfg(feature = "cli")]
mod cli;
mod constants;
mod facts;
mod files;
mod fixtures;
mod graph;
mod graphs;
mod house;
mod kernels;
mod low_rank;
#[cfg(feature = "runtime")]
mod npz;
mod operator;
mod quant;
mod roles;
mod rules;
#[cfg(feature = "runtime")]
mod runtime;
mod schedule;
mod schema;
mod text;
mod values;
mod variants;
mod weights;
