//! What a rewrite is asked to do.

use crate::error::{Error, Result};
use regex::Regex;
use serde::{Deserialize, Serialize};

/// What a rewrite is asked to do. The default is the BitNet formula on a transformer's blocks.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What shares one scale.
    pub granularity: Granularity,
    /// Which projections to take or leave, against the default; the last match wins.
    pub filters: Vec<Filter>,
    /// Whether a filter may match nothing.
    pub allow_unmatched: bool,
}

/// What shares one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// The weight, or each part of a fused one.
    #[default]
    Tensor,
    /// Each output row.
    Channel,
}

/// Takes or leaves the projections whose node's name matches.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Whether to take them.
    pub include: bool,
    /// The pattern, found anywhere in the name.
    pub pattern: Regex,
}

impl Filter {
    /// A filter from a regular expression.
    pub fn new(include: bool, pattern: &str) -> Result<Self> {
        let pattern = Regex::new(pattern).map_err(|e| {
            let why = e.to_string();
            Error::new(
                format!("--{} {pattern:?} is not a regular expression", verb(include)),
                why.lines().last().unwrap_or_default().trim_start_matches("error: "),
                "escape special characters with a backslash; `bitonnx inspect` lists the nodes' names",
            )
        })?;
        Ok(Filter { include, pattern })
    }
}

impl Options {
    /// The options as the rewritten file's metadata and the report hold them.
    pub fn to_json(&self) -> serde_json::Value {
        let filters =
            self.filters.iter().map(|f| serde_json::json!({ verb(f.include): f.pattern.as_str() }));
        serde_json::json!({
            "granularity": self.granularity,
            "filters": filters.collect::<Vec<_>>(),
            "subln": "none",
        })
    }
}

pub(super) fn verb(include: bool) -> &'static str {
    if include { "include" } else { "exclude" }
}
