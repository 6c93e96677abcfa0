//! `bitonnx.toml`: the options of `rewrite` in a file, by their names on the command line.
//!
//! ```toml
//! granularity = "channel"
//! filters = [{ exclude = "layers.0" }, { include = "lm_head" }]
//! ```

use super::{Failure, args::Rewrite};
use bitonnx::{Error, ErrorKind, Result, proto::ExternalData, rewrite::Options};
use serde::Deserialize as _;
use std::{borrow::Cow, path::Path};
use toml::{Spanned, de};

/// What the file and the command line ask for together; the command line wins.
pub fn options(args: &Rewrite) -> Result<(Options, ExternalData), Failure> {
    let config = args.config.as_deref().map(read).transpose()?;
    let (mut options, external) = config.unwrap_or_default();
    args.options.put_over(&mut options);
    options.check().map_err(Failure::Usage)?;
    Ok((options, args.external_data.unwrap_or(external)))
}

fn read(path: &Path) -> Result<(Options, ExternalData)> {
    let text = std::fs::read_to_string(path).map_err(|e| Error::unreadable(path, e))?;
    parse(&text).map_err(|e| {
        let line = e.span().map(|span| 1 + text[..span.start].matches('\n').count());
        let line = line.map_or(String::new(), |line| format!("line {line}: "));
        let why = match e.message().split_once(", expected") {
            Some((unknown, _)) if unknown.starts_with("unknown field") => unknown,
            _ => e.message(),
        };
        let hint = "`bitonnx rewrite --help` names the options, and has an example".to_owned();
        let hint = match meant(e.message()) {
            Some(name) => format!("write `{}`; {hint}", name.replace('_', "-")),
            None => hint,
        };
        let what = format!("{} is not a configuration of bitonnx", path.display());
        Error::new(ErrorKind::InvalidFile, what, format!("{line}{why}"), hint)
    })
}

fn parse(text: &str) -> Result<(Options, ExternalData), de::Error> {
    let table = de::DeTable::parse(text)?;
    let span = table.span();
    // The words of a name are joined as on the command line.
    let joined = |(key, value): (Spanned<Cow<str>>, _)| {
        let name = key.get_ref().replace('-', "_");
        (Spanned::new(key.span(), name.into()), value)
    };
    let mut table: de::DeTable = table.into_inner().into_iter().map(joined).collect();
    let external = table.remove("external_data").map(de::ValueDeserializer::from);
    let external = external.map(ExternalData::deserialize).transpose()?.unwrap_or_default();
    let options = Options::deserialize(de::Deserializer::from(Spanned::new(span, table)))?;
    Ok((options, external))
}

/// What was meant: of the names that the message lists after the one that is wrong, the nearest.
fn meant(message: &str) -> Option<&str> {
    let mut names = message.split('`').skip(1).step_by(2);
    let wrong = names.next()?;
    similar::get_close_matches(wrong, &names.collect::<Vec<_>>(), 1, 0.6).pop()
}
