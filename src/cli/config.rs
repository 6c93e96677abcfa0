//! `bitonnx.toml`: the options of `rewrite` in a file.
//!
//! ```toml
//! granularity = "channel"
//! filters = [{ exclude = "layers.0" }, { include = "lm_head" }]
//! ```

use super::args::Rewrite;
use bitonnx::{
    Error, ErrorKind, Result,
    proto::ExternalData,
    rewrite::{self, Filter, LowRank, LowRankInit, Options, Placement, Rank, Trainable},
};
use clap::ValueEnum;
use serde::Deserialize;
use std::path::Path;

/// What the file may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    subln: Option<Subln>,
    granularity: Option<Granularity>,
    lrc_rank: Option<usize>,
    lrc_ratio: Option<f64>,
    lrc_init: Option<LrcInit>,
    external_data: Option<External>,
    #[serde(default)]
    allow_unmatched: bool,
    #[serde(default)]
    filters: Vec<Pattern>,
}

/// One of `filters`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Pattern {
    Include(String),
    Exclude(String),
}

/// Where an RMSNorm goes before projections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subln {
    /// None
    None,
    /// q, k, v and o
    Attention,
    /// o, and down or fc2
    Output,
    /// Every projection of a block
    All,
}

/// What a low-rank correction is at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LrcInit {
    /// The best approximation of what ternarising takes
    Svd,
    /// None yet: for training
    Zeros,
}

/// Which parameters are trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// Weights, biases, gains, corrections, embeddings and norms
    All,
    /// Low-rank corrections
    LrcOnly,
    /// Gains of inserted norms
    SublnOnly,
}

/// What shares one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Granularity {
    /// The weight, or each part of a fused one
    Tensor,
    /// Each output row
    Channel,
}

/// Where tensor data go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum External {
    /// Beside the model where it would pass 2 GiB
    Auto,
    /// Beside the model
    Always,
    /// Into the model
    Never,
}

/// What the file and the command line ask for together; the command line wins.
pub fn options(args: &Rewrite) -> Result<(Options, ExternalData)> {
    let config = args.config.as_deref().map(read).transpose()?.unwrap_or_default();
    let mut filters = config.filters.iter().map(filter).collect::<Result<Vec<_>>>()?;
    filters.extend(args.filters.0.iter().cloned());
    let subln = args.subln.or(config.subln).map(|subln| match subln {
        Subln::None => Placement::None,
        Subln::Attention => Placement::Attention,
        Subln::Output => Placement::Output,
        Subln::All => Placement::All,
    });
    let options = Options {
        granularity: match args.granularity.or(config.granularity) {
            None | Some(Granularity::Tensor) => rewrite::Granularity::Tensor,
            Some(Granularity::Channel) => rewrite::Granularity::Channel,
        },
        filters,
        allow_unmatched: args.allow_unmatched || config.allow_unmatched,
        subln,
        lrc: low_rank(args, &config)?,
        qat: args.qat.then(|| trainable(args)),
    };
    let external = match args.external_data.or(config.external_data) {
        None | Some(External::Auto) => ExternalData::Auto,
        Some(External::Always) => ExternalData::Always,
        Some(External::Never) => ExternalData::Never,
    };
    Ok((options, external))
}

/// The correction that is asked for. A rank or ratio on the command line replaces both of the file's.
fn low_rank(args: &Rewrite, config: &Config) -> Result<Option<LowRank>> {
    let given = (args.lrc_rank, args.lrc_ratio);
    let (rank, ratio) = match given {
        (None, None) => (config.lrc_rank, config.lrc_ratio),
        given => given,
    };
    let init = args.lrc_init.or(config.lrc_init);
    let wrong = |why: &str| {
        let hint =
            "give lrc-rank, a whole number from 1 on, or lrc-ratio, more than 0 and at most 1";
        Err(Error::new(
            ErrorKind::InvalidOption,
            "the low-rank correction can't be made",
            why,
            hint,
        ))
    };
    let rank = match (rank, ratio) {
        (Some(_), Some(_)) => return wrong("lrc-rank and lrc-ratio are both given"),
        (Some(0), None) => return wrong("its rank is 0"),
        (None, Some(ratio)) if !(ratio > 0.0 && ratio <= 1.0) => {
            return wrong(&format!("lrc-ratio is {ratio}"));
        }
        (Some(rank), None) => Rank::Fixed(rank),
        (None, Some(ratio)) => Rank::Ratio(ratio),
        (None, None) if args.lrc_init.is_some() => {
            return wrong("--lrc-init is given without a rank or ratio");
        }
        (None, None) => return Ok(None),
    };
    let init = match init {
        None | Some(LrcInit::Svd) => LowRankInit::Svd,
        Some(LrcInit::Zeros) => LowRankInit::Zeros,
    };
    Ok(Some(LowRank { rank, init }))
}

fn trainable(args: &Rewrite) -> Trainable {
    let preset = match args.trainable {
        None | Some(Preset::All) => rewrite::Preset::All,
        Some(Preset::LrcOnly) => rewrite::Preset::LrcOnly,
        Some(Preset::SublnOnly) => rewrite::Preset::SublnOnly,
    };
    Trainable { preset, filters: args.trainable_filters.0.clone() }
}

fn read(path: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::unreadable(path, e))?;
    toml::from_str(&text).map_err(|e: toml::de::Error| {
        let line = e.span().map(|span| 1 + text[..span.start].matches('\n').count());
        let line = line.map_or(String::new(), |line| format!("line {line}: "));
        Error::new(
            ErrorKind::InvalidFile,
            format!("{} is not a configuration of bitonnx", path.display()),
            format!("{line}{}", e.message()),
            "see `bitonnx rewrite --help` for an example",
        )
    })
}

fn filter(pattern: &Pattern) -> Result<Filter> {
    match pattern {
        Pattern::Include(pattern) => Filter::new(true, pattern),
        Pattern::Exclude(pattern) => Filter::new(false, pattern),
    }
}
