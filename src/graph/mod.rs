//! Graphs as they are read and changed: [`View`] reads, [`Constants`] computes what does not depend
//! on the inputs, [`Patch`] writes.

mod check;
mod constant;
mod equation;
mod norm;
mod patch;
mod types;
mod view;

pub use check::check;
pub use constant::{Constants, Expression, Matrix, NotConstant};
pub use equation::Equation;
pub use norm::{Norm, norm};
pub use patch::{Before, Patch, apply, drop_orphans};
pub use view::{NodeId, Use, View, captured};
