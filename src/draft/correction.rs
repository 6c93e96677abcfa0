//! The low-rank correction beside a projection: `y = BitLinear(x) + U·(Vᵀ·x)`.
//!
//! Low-Rank Correction for Quantized LLMs, arXiv:2412.07902.

use super::{Draft, Naming};
use crate::{
    graph::{NodeId, View},
    operator::{BitLinear, DOMAIN},
    proto::NodeProto,
};
use std::collections::HashMap;

/// The names of a correction's factors.
#[derive(Debug, Clone)]
pub(crate) struct Factors {
    /// `[n, rank]`.
    pub u: String,
    /// `[k, rank]`.
    pub v: String,
}

/// Appends the branch, times `lambda` where there is one, and returns what it makes.
pub(crate) fn correction(
    draft: &mut Draft,
    x: &str,
    factors: &Factors,
    lambda: Option<&str>,
) -> String {
    let bound = [("x", x), ("u", &*factors.u), ("v", &*factors.v)];
    let text = "lrc_low = MatMul (x, v)
                lrc_ut = Transpose <perm = [1, 0]> (u)
                lrc = MatMul (lrc_low, lrc_ut)";
    let made = draft.add(text, &bound, Naming::Values);
    match lambda {
        None => made,
        Some(lambda) => {
            let bound = [("lrc", &*made), ("lambda", lambda)];
            draft.add("lrc_blend = Mul (lrc, lambda)", &bound, Naming::Values)
        }
    }
}

/// The products of the branches that [`correction`] writes, each with the BitLinear that its branch corrects.
///
/// Where the BitLinear is between `Cast`s, as before opset 15 in 16 bits, the branch is not.
pub(crate) fn corrected(view: &View) -> HashMap<NodeId, NodeId> {
    let made = |value: &str| view.producer(value);
    let made_by =
        |value: &str, is: fn(&NodeProto) -> bool| made(value).filter(|id| is(view.node(*id)));
    let first = |id: NodeId| view.node(id).input(0);
    let before_cast =
        |value| made_by(value, |node| node.is("Cast")).and_then(first).unwrap_or(value);
    let product = |value: &str| made_by(value, |node| node.is("MatMul"));
    let is_bit_linear =
        |node: &NodeProto| node.domain() == DOMAIN && node.op_type() == BitLinear::NAME;
    let mut found = HashMap::new();
    for (_, add) in view.nodes().filter(|(_, node)| node.is("Add")) {
        let (Some(a), Some(b)) = (add.input(0), add.input(1)) else { continue };
        for (corrected, branch) in [(a, b), (b, a)] {
            let chain = || {
                let bit_linear = made_by(before_cast(corrected), is_bit_linear)?;
                let outer = product(branch)?;
                let inner = product(first(outer)?)?;
                let (x, own) = (first(inner)?, first(bit_linear)?);
                (x == own || x == before_cast(own)).then_some((bit_linear, [inner, outer]))
            };
            if let Some((bit_linear, products)) = chain() {
                found.extend(products.map(|product| (product, bit_linear)));
            }
        }
    }
    found
}
