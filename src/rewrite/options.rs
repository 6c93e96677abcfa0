//! What a rewrite is asked to do.

use super::parameters::Trainable;
use crate::error::{Error, ErrorKind, Result};
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
    /// Where norms go. When not given, [`Placement::Attention`], but nowhere in what was trained ternary.
    pub subln: Option<Placement>,
    /// The correction beside each projection.
    pub lrc: Option<LowRank>,
    /// The trainable variant in place of the ternary model, and what is trained in it.
    pub qat: Option<Trainable>,
}

/// Where SubLN, an RMSNorm, goes: before the projections of these roles, of whatever attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    /// Nowhere.
    None,
    /// q, k, v and o.
    #[default]
    Attention,
    /// o, and down or fc2.
    Output,
    /// Every projection of a block.
    All,
}

/// A low-rank correction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LowRank {
    /// Its rank.
    pub rank: Rank,
    /// What its factors are at first.
    pub init: LowRankInit,
}

/// How a correction's rank is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rank {
    /// For every projection.
    Fixed(usize),
    /// `max(1, floor(ratio · min(n, k)))`.
    Ratio(f64),
}

/// What a correction's factors are at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LowRankInit {
    /// The best approximation of what ternarising took from the weight.
    #[default]
    Svd,
    /// No correction yet: for training.
    Zeros,
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
                ErrorKind::InvalidOption,
                format!("{} {pattern:?} is not a regular expression", verb(include)),
                why.lines().last().unwrap_or_default().trim_start_matches("error: "),
                "escape special characters with a backslash",
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
        let mut options = serde_json::json!({
            "granularity": self.granularity,
            "filters": filters.collect::<Vec<_>>(),
            "subln": self.subln.unwrap_or_default(),
        });
        if let Some(lrc) = self.lrc {
            match lrc.rank {
                Rank::Fixed(rank) => options["lrc_rank"] = rank.into(),
                Rank::Ratio(ratio) => options["lrc_ratio"] = ratio.into(),
            }
            options["lrc_init"] = serde_json::json!(lrc.init);
        }
        if self.qat.is_some() {
            options["qat"] = true.into();
        }
        options
    }
}

pub(super) fn verb(include: bool) -> &'static str {
    if include { "include" } else { "exclude" }
}
