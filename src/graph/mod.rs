//! Graphs as they are read and changed: [`View`] reads, [`Constants`] computes what does not depend
//! on the inputs, [`Patch`] writes.

mod check;
mod constant;
mod patch;
mod types;
mod view;

pub use check::check;
pub use constant::{
    Constants, Expression, Matrix, NotConstant, compute, is_computed, is_elementwise,
};
pub use patch::{Before, Patch, apply, drop_orphans};
pub use view::{NodeId, Use, View, captured};
