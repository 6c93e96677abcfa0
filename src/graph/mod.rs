//! Graphs as they are read and changed: [`Graphs`] holds a [`View`] of each, [`Constants`] computes what
//! does not depend on the inputs, [`Edit`] writes.

mod arena;
mod check;
mod constant;
mod edit;
mod equation;
pub mod facts;
mod id;
mod inline;
mod types;
mod view;

pub use arena::{ByNode, Graphs};
pub use check::check;
pub use constant::{
    Constants, Expression, Fold, Matrix, NotConstant, compute, dense, is_computed, is_elementwise,
    shape_list,
};
pub use edit::Edit;
pub use equation::Equation;
pub use id::{GraphId, NodeId};
pub use inline::{Inlined, inline};
pub use view::{Definition, Use, View, captured};
