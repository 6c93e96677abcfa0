//! What was converted, what was kept and why, and how many bytes each takes.

use crate::roles::Role;
use serde::Serialize;

/// What a rewrite did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The source file, where there is one.
    pub model: String,
    /// The options, as the rewritten file's metadata holds them.
    pub options: serde_json::Value,
    /// Every projection, in graph order.
    pub projections: Vec<Entry>,
    /// What the user should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// One projection.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// The node that multiplies: its name, or the value it makes.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// What the projection is for.
    pub role: Role,
    /// The initializer that holds its weight.
    pub weight: String,
    /// Columns of the weight, `k`; 0 where nobody can tell.
    pub in_features: usize,
    /// Rows of the weight, `n`; 0 where nobody can tell.
    pub out_features: usize,
    /// How the weight is stored: `f32`, `f16`, `bf16`, or the ONNX name of another type.
    pub dtype: String,
    /// The constant added to the product.
    pub bias: Option<String>,
    /// The node that reads the same weight as an embedding table.
    pub tied: Option<String>,
    /// What becomes of it.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// The rule that found it.
    pub rule: String,
    /// The norm before it: `inserted`, or the model's `own`.
    pub subln: Option<String>,
    /// The rank of its low-rank correction.
    pub lrc_rank: Option<usize>,
    /// Bytes of the correction's factors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lrc_bytes: Option<u64>,
    /// `‖W - t·s‖ / ‖W‖`: what the correction has to make up for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// `‖W - t·s - U·Vᵀ‖ / ‖W‖`: what it leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lrc_error: Option<f64>,
    /// How many ternary planes it has.
    pub planes: Option<usize>,
    /// The scale of its codes; the mean where there are several.
    pub scale: Option<f32>,
    /// The share of codes that are zero.
    pub zeros: Option<f64>,
    /// Whether its weight was ternary already and is kept exactly.
    #[serde(skip)]
    pub exact: bool,
    /// Bytes of the weight as the source stores it.
    pub bytes_before: u64,
    /// Bytes of codes, scales and correction; as before where it is kept.
    pub bytes_after: u64,
}

/// What becomes of a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It becomes a BitLinear.
    BitLinear,
    /// It stays as it is.
    Keep,
}

impl Report {
    /// The projections that become BitLinears.
    pub fn converted(&self) -> impl Iterator<Item = &Entry> {
        self.projections.iter().filter(|p| p.action == Action::BitLinear)
    }

    /// The projections that stay as they are.
    pub fn kept(&self) -> impl Iterator<Item = &Entry> {
        self.projections.iter().filter(|p| p.action == Action::Keep)
    }
}
