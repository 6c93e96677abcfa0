//! Which projections are converted: their roles by default, the user's filters against it.

use super::{rule::Effect, survey::Site};
use crate::{
    error::{Error, ErrorKind, Result},
    operator::BitLinear,
    options::Options,
};

/// What becomes of a projection, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Convert(String),
    Keep(String),
}

/// A decision for each site, in order, and a warning for each filter that matched nothing.
///
/// A QAT file was made with options of its own: what it blends is converted, what it left is kept.
pub(super) fn decide(
    opset: i64,
    sites: &[Site],
    options: &Options,
    is_qat: bool,
) -> Result<(Vec<Decision>, Vec<String>)> {
    let mut warnings = Vec::new();
    for filter in &options.filters {
        if sites.iter().any(|site| filter.pattern.is_match(&site.name)) {
            continue;
        }
        let what = format!("{filter} matches no projection");
        if !options.allow_unmatched {
            return Err(Error::new(
                ErrorKind::NoSuchProjection,
                what,
                format!("none of the model's {} projections has such a name", sites.len()),
                "correct it, or allow that it matches none",
            ));
        }
        warnings.push(what);
    }
    if let Err(too_old) = BitLinear::definition(opset)
        && !sites.is_empty()
    {
        let reason = format!("{}: {}", too_old.what(), too_old.why());
        warnings.push(format!("{}: {}", too_old.what(), too_old.hint()));
        return Ok((vec![Decision::Keep(reason); sites.len()], warnings));
    }
    Ok((sites.iter().map(|site| decide_one(site, options, is_qat)).collect(), warnings))
}

fn decide_one(site: &Site, options: &Options, is_qat: bool) -> Decision {
    if let Err(why) = &site.found {
        return Decision::Keep(why.clone());
    }
    if let Some(corrected) = &site.corrects {
        return Decision::Keep(format!("it is in the correction of the BitLinear `{corrected}`"));
    }
    if let Some(filter) = options.filters.iter().rev().find(|f| f.pattern.is_match(&site.name)) {
        let decision = if filter.include { Decision::Convert } else { Decision::Keep };
        return decision(filter.to_string());
    }
    if is_qat {
        return match site.rule.effect() {
            Effect::Exact => Decision::Convert("trained in this QAT file".into()),
            _ => Decision::Keep("the QAT file leaves it as it is".into()),
        };
    }
    match &site.tied {
        Some(gather) => {
            Decision::Keep(format!("its weight is the embedding table of node `{gather}`"))
        }
        None if site.role.in_block() => {
            Decision::Convert("projection of a transformer block".into())
        }
        None => Decision::Keep(format!("{} is kept unless a filter includes it", site.role)),
    }
}
