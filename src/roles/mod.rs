//! What each projection of a transformer is for, found from where values flow.
//!
//! Queries and keys meet in the product under a Softmax, values join after it; a gate passes an
//! activation and multiplies; what a block makes is added to the stream it read. Names play no part
//! where the structure speaks.

mod attention;
mod cores;
mod flow;
mod head;
mod mlp;
mod names;
mod wires;

use crate::graph::{Constants, NodeId, View};
use flow::Flow;
use serde::Serialize;
use std::fmt;
use wires::Wires;

/// One projection: a node that multiplies an activation with a constant weight.
///
/// Quantisers and scales around the product may lie inside or outside: `input` can be the value before
/// a fake quantisation or after it, `output` before a dequantising `Mul` or after it. An operator that
/// multiplies with its weights inside (`com.microsoft.Attention`) is a site as well.
#[derive(Debug, Clone)]
pub struct Site<'m> {
    /// The node that multiplies.
    pub node: NodeId,
    /// The activation.
    pub input: &'m str,
    /// The product, before the bias.
    pub output: &'m str,
    /// The length of the activation's last axis.
    pub in_features: usize,
    /// The length of the product's last axis.
    pub out_features: usize,
}

/// What a projection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Queries.
    Q,
    /// Keys.
    K,
    /// Values.
    V,
    /// Queries, keys and values at once.
    Qkv,
    /// Keys and values at once.
    Kv,
    /// From an attention's result back to the stream.
    O,
    /// Queries of an attention to another sequence.
    CrossQ,
    /// Keys of another sequence.
    CrossK,
    /// Values of another sequence.
    CrossV,
    /// Queries, keys and values at once, of an attention between sequences.
    CrossQkv,
    /// Keys and values at once, of another sequence.
    CrossKv,
    /// From a cross attention's result back to the stream.
    CrossO,
    /// What passes the activation of a gated MLP.
    Gate,
    /// What the gate multiplies.
    Up,
    /// Gate and up at once.
    GateUp,
    /// From a gated MLP back to the stream.
    Down,
    /// Into a plain MLP.
    Fc1,
    /// Out of a plain MLP.
    Fc2,
    /// Which experts a token goes to.
    Router,
    /// The gate of one expert.
    ExpertGate,
    /// What an expert's gate multiplies.
    ExpertUp,
    /// From a gated expert back to the stream, also where its gate and up are packed.
    ExpertDown,
    /// From hidden states to the vocabulary.
    LmHead,
    /// A dense layer over one token of a sequence, or over their mean.
    Pooler,
    /// From hidden states to classes, spans or another model's space.
    Classifier,
    /// From embeddings or patches to hidden states.
    Embedding,
    /// A factor of a low-rank branch beside a projection.
    LowRank,
    /// Anything else.
    Other,
}

impl Role {
    /// Whether it is a projection of a transformer block: what is converted by default.
    pub fn in_block(self) -> bool {
        !matches!(
            self,
            Role::Router
                | Role::LmHead
                | Role::Pooler
                | Role::Classifier
                | Role::Embedding
                | Role::LowRank
                | Role::Other
        )
    }

    fn crossed(self) -> Self {
        match self {
            Role::Q => Role::CrossQ,
            Role::K => Role::CrossK,
            Role::V => Role::CrossV,
            Role::Qkv => Role::CrossQkv,
            Role::Kv => Role::CrossKv,
            Role::O => Role::CrossO,
            other => other,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What each site of a graph is for, in the order of `sites`.
///
/// A nested graph is one of its own, with the sites that are nodes of it.
pub fn find<'m>(view: &View<'m>, constants: &Constants<'_, 'm>, sites: &[Site<'m>]) -> Vec<Role> {
    let wires = Wires::new(view, constants, sites);
    let packed = |site| cores::is_attention(&wires, site);
    let mut roles: Vec<Role> =
        wires.sites.iter().map(|s| if packed(s) { Role::Qkv } else { Role::Other }).collect();
    let cores = cores::cores(&wires);
    let flow = Flow::new(wires, &cores);
    mlp::assign_low_rank(&flow, &mut roles);
    attention::assign(&flow, &cores, &mut roles);
    let routed = mlp::assign_routers(&flow, &mut roles);
    let gated = mlp::assign_gated(&flow, &mut roles);
    mlp::assign_experts(&flow, &gated, &routed, &mut roles);
    mlp::assign_plain(&flow, &mut roles);
    let heads = head::assign_heads(&flow, &mut roles);
    names::assign(&flow, &heads, &mut roles);
    head::assign_embeddings(&flow, &heads, &mut roles);
    roles
}
