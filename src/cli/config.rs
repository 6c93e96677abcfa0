//! `bitonnx.toml`: the options of `rewrite` in a file.
//!
//! ```toml
//! granularity = "channel"
//! filters = [{ exclude = "layers.0" }, { include = "lm_head" }]
//! ```

use super::args::Rewrite;
use bitonnx::{
    Error, Result,
    proto::ExternalData,
    rewrite::{self, Filter, Options},
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
    /// Nowhere
    None,
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
    // The one placement there is so far.
    let (None | Some(Subln::None)) = args.subln.or(config.subln);
    let mut filters = config.filters.iter().map(filter).collect::<Result<Vec<_>>>()?;
    filters.extend(args.filters.0.iter().cloned());
    let options = Options {
        granularity: match args.granularity.or(config.granularity) {
            None | Some(Granularity::Tensor) => rewrite::Granularity::Tensor,
            Some(Granularity::Channel) => rewrite::Granularity::Channel,
        },
        filters,
        allow_unmatched: args.allow_unmatched || config.allow_unmatched,
    };
    let external = match args.external_data.or(config.external_data) {
        None | Some(External::Auto) => ExternalData::Auto,
        Some(External::Always) => ExternalData::Always,
        Some(External::Never) => ExternalData::Never,
    };
    Ok((options, external))
}

fn read(path: &Path) -> Result<Config> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        Error::new(
            format!("{} can't be read", path.display()),
            e.to_string(),
            "check the path and the file's permissions",
        )
    })?;
    toml::from_str(&text).map_err(|e: toml::de::Error| {
        let line = e.span().map(|span| 1 + text[..span.start].matches('\n').count());
        let line = line.map_or(String::new(), |line| format!("line {line}: "));
        Error::new(
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
