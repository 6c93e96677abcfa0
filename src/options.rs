//! What a rewrite is asked to do.
//!
//! An option is a field of [`Options`] and nothing else: its name, type, default and first paragraph are
//! those of the command line, of configuration files and of the JSON in reports and in rewritten files.

use crate::{
    error::{Error, ErrorKind, Result},
    roles::Role,
};
use regex::Regex;
use serde::{Deserialize, Serialize, Serializer};
use std::{fmt, ops::Not};

/// What a rewrite is asked to do. The default is the BitNet formula on a transformer's blocks.
///
/// ```
/// use bitonnx::rewrite::{Granularity, Options};
///
/// let options = Options::default().with(|o| {
///     o.granularity = Granularity::Channel;
///     o.lrc_rank = Some(8);
/// });
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
#[non_exhaustive]
pub struct Options {
    /// Before which projections to insert an RMSNorm [default: attention, none where trained ternary]
    #[serde(serialize_with = "or_default")]
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "WHERE"))]
    pub subln: Option<Placement>,
    /// What shares one scale: the weight (or each part of a fused one), or each output row [default: tensor]
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "WHAT"))]
    pub granularity: Granularity,
    /// Add a low-rank correction of rank R to each projection
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "R"))]
    pub lrc_rank: Option<usize>,
    /// The same, of rank max(1, floor(F · min(in, out)))
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cli", arg(long, value_name = "F"))]
    pub lrc_ratio: Option<f64>,
    /// What the correction is at first [default: svd]
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "INIT"))]
    pub lrc_init: Option<LowRankInit>,
    /// Write the trainable variant: float weights that the input `lambda` blends into ternary ones
    #[serde(skip_serializing_if = "Not::not")]
    #[cfg_attr(feature = "cli", arg(long))]
    pub qat: bool,
    /// Which parameters of the trainable variant its manifest says to train [default: all]
    #[serde(skip_serializing)]
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "PRESET"))]
    pub trainable: Option<Trainable>,
    /// Which projections to take or leave by their nodes' names, against the default; the last match wins.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub filters: Vec<Filter>,
    /// Which initializers to train or freeze by their names, against `trainable`; the last match wins.
    #[serde(skip_serializing)]
    #[cfg_attr(feature = "cli", arg(skip))]
    pub trainable_filters: Vec<Filter>,
    /// Only warn about a filter that matches nothing
    #[serde(skip_serializing)]
    #[cfg_attr(feature = "cli", arg(long))]
    pub allow_unmatched: bool,
}

/// Where SubLN, an RMSNorm, goes: before the projections of these roles, of whatever attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
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

/// What a correction's factors are at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum LowRankInit {
    /// The best approximation of what ternarising took from the weight.
    #[default]
    Svd,
    /// No correction yet: for training.
    Zeros,
}

/// What shares one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Granularity {
    /// The weight, or each part of a fused one.
    #[default]
    Tensor,
    /// Each output row.
    Channel,
}

/// Which parameters of a QAT file are trained, by what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[non_exhaustive]
pub enum Trainable {
    /// Weights, biases, gains, corrections, embeddings and norms.
    #[default]
    All,
    /// The factors of low-rank corrections.
    LrcOnly,
    /// The gains of inserted norms.
    SublnOnly,
}

/// Takes or leaves what has a matching name; as JSON `{"include": "regex"}` or `{"exclude": "regex"}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Pattern", into = "Pattern")]
pub struct Filter {
    /// Whether to take it.
    pub include: bool,
    /// The pattern, found anywhere in the name.
    pub pattern: Regex,
}

/// The form of a [`Filter`] in JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pattern {
    Include(String),
    Exclude(String),
}

/// A low-rank correction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct LowRank {
    pub rank: Rank,
    pub init: LowRankInit,
}

/// How a correction's rank is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Rank {
    /// For every projection.
    Fixed(usize),
    /// `max(1, floor(ratio · min(n, k)))`.
    Ratio(f64),
}

impl Options {
    /// The same with some changes.
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The options as the rewritten file's metadata and the report hold them.
    pub fn to_json(&self) -> serde_json::Value {
        let lrc_init = self.low_rank().map(|lrc| lrc.init);
        serde_json::json!(Options { lrc_init, ..self.clone() })
    }

    /// Refuses what contradicts itself, whatever the model. A rewrite does so by itself.
    pub fn check(&self) -> Result<()> {
        let lrc = match (self.lrc_rank, self.lrc_ratio) {
            (Some(_), Some(_)) => Err("a rank and a ratio are both given".to_owned()),
            (Some(0), None) => Err("its rank is 0".to_owned()),
            (None, Some(ratio)) if !(ratio > 0.0 && ratio <= 1.0) => {
                Err(format!("its ratio is {ratio}"))
            }
            (None, None) if self.lrc_init.is_some() => Err("it has no rank or ratio".to_owned()),
            _ => Ok(()),
        };
        lrc.map_err(|why| {
            let hint =
                "give a rank, a whole number from 1 on, or a ratio, more than 0 and at most 1";
            Error::new(ErrorKind::InvalidOption, "the low-rank correction can't be made", why, hint)
        })?;
        if self.qat || self.trainable.is_none() && self.trainable_filters.is_empty() {
            return Ok(());
        }
        let (what, why) =
            ("there is nothing to train", "only the QAT variant has something to train");
        Err(Error::new(ErrorKind::InvalidOption, what, why, "ask for the QAT variant too"))
    }

    /// The correction beside each projection, if there is one.
    pub(crate) fn low_rank(&self) -> Option<LowRank> {
        let rank = self.lrc_rank.map(Rank::Fixed).or(self.lrc_ratio.map(Rank::Ratio))?;
        Some(LowRank { rank, init: self.lrc_init.unwrap_or_default() })
    }
}

impl Placement {
    /// Whether projections of this role get a norm.
    pub fn covers(self, role: Role) -> bool {
        use Role::*;
        let attention = matches!(
            role,
            Q | K | V | Qkv | Kv | O | CrossQ | CrossK | CrossV | CrossQkv | CrossKv | CrossO
        );
        let output = matches!(role, O | CrossO | Down | Fc2 | ExpertDown);
        let mlp = matches!(role, Gate | Up | GateUp | Fc1 | ExpertGate | ExpertUp);
        match self {
            Placement::None => false,
            Placement::Attention => attention,
            Placement::Output => output,
            Placement::All => attention || output || mlp,
        }
    }
}

impl LowRank {
    /// The rank for a weight `[n, k]`, or why there is none.
    pub(crate) fn rank_for(&self, n: usize, k: usize) -> Result<usize, String> {
        let most = n.min(k);
        match self.rank {
            Rank::Fixed(rank) if rank > most => Err(format!("rank {rank} is more than {most}")),
            Rank::Fixed(rank) => Ok(rank),
            Rank::Ratio(ratio) => Ok(((ratio * most as f64) as usize).max(1)),
        }
    }
}

impl Filter {
    /// A filter from a regular expression.
    pub fn new(include: bool, pattern: &str) -> Result<Self> {
        let regex = Regex::new(pattern).map_err(|e| {
            let why = e.to_string();
            Error::new(
                ErrorKind::InvalidOption,
                format!("{pattern:?} is not a regular expression"),
                why.lines().last().unwrap_or_default().trim_start_matches("error: "),
                "escape special characters with a backslash",
            )
        })?;
        Ok(Filter { include, pattern: regex })
    }
}

/// `include "regex"`.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let verb = if self.include { "include" } else { "exclude" };
        write!(f, "{verb} {:?}", self.pattern.as_str())
    }
}

impl TryFrom<Pattern> for Filter {
    type Error = String;

    fn try_from(pattern: Pattern) -> Result<Self, String> {
        let filter = match &pattern {
            Pattern::Include(pattern) => Filter::new(true, pattern),
            Pattern::Exclude(pattern) => Filter::new(false, pattern),
        };
        filter.map_err(|e| format!("{}: {}", e.what(), e.why()))
    }
}

impl From<Filter> for Pattern {
    fn from(filter: Filter) -> Self {
        let pattern = filter.pattern.as_str().to_owned();
        if filter.include { Pattern::Include(pattern) } else { Pattern::Exclude(pattern) }
    }
}

fn or_default<S: Serializer>(value: &Option<Placement>, to: S) -> Result<S::Ok, S::Error> {
    value.unwrap_or_default().serialize(to)
}
