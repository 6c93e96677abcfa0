//! Which projections are converted: their roles by default, the user's filters against it.

use super::{
    options::{Options, verb},
    survey::Site,
};
use crate::error::{Error, Result};

/// What becomes of a projection, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    Convert(String),
    Keep(String),
}

/// A decision for each site, in order, and a warning for each filter that matched nothing.
pub(super) fn decide(sites: &[&Site], options: &Options) -> Result<(Vec<Decision>, Vec<String>)> {
    let mut warnings = Vec::new();
    for filter in &options.filters {
        if sites.iter().any(|site| filter.pattern.is_match(&site.name)) {
            continue;
        }
        let what = format!(
            "--{} {:?} matches no projection",
            verb(filter.include),
            filter.pattern.as_str()
        );
        if !options.allow_unmatched {
            return Err(Error::new(
                what,
                format!("none of the model's {} projections has such a name", sites.len()),
                "see their names with `bitonnx inspect`; --allow-unmatched makes this a warning",
            ));
        }
        warnings.push(what);
    }
    Ok((sites.iter().map(|site| decide_one(site, options)).collect(), warnings))
}

fn decide_one(site: &Site, options: &Options) -> Decision {
    if let Err(why) = &site.found {
        return Decision::Keep(why.clone());
    }
    if let Some(filter) = options.filters.iter().rev().find(|f| f.pattern.is_match(&site.name)) {
        let reason = format!("--{} {:?}", verb(filter.include), filter.pattern.as_str());
        return if filter.include { Decision::Convert(reason) } else { Decision::Keep(reason) };
    }
    match &site.tied {
        Some(gather) => {
            Decision::Keep(format!("its weight is the embedding table of node `{gather}`"))
        }
        None if site.role.in_block() => {
            Decision::Convert("projection of a transformer block".into())
        }
        None => Decision::Keep(format!("{} is kept unless --include names it", site.role)),
    }
}
