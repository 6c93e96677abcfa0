//! Graphs as they are read and changed: [`View`] reads, [`Patch`] writes.

mod view;

pub use view::{NodeId, Use, View, captured, nested_graphs};
