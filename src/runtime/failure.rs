//! What tract says when it fails, in words of ours.

use super::lower::Lowered;
use crate::error::{Error, ErrorKind};
use regex::Regex;
use std::sync::LazyLock;
use tract_hir::internal::TractError;

/// How tract writes sizes: `Val(3)`.
static SIZE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"Val\((-?\d+)\)").expect("valid"));

/// How tract names nodes: `#12 "name"`.
static NODE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#"#\d+ "([^"]*)""#).expect("valid"));

/// What a model, or a node of it, can't be.
pub(super) const UNPLANNED: &str = "can't be planned for these inputs";

const HINT: &str = "check the inputs; if they are right, report the model to bitonnx";

/// The error that something failed at `what`.
pub(super) fn failed(something: &str, what: &str, e: &TractError) -> Error {
    Error::new(ErrorKind::Failed, format!("{something} {what}"), reason(e), HINT)
}

/// The node that an error names, or the model.
pub(super) fn culprit(lowered: &Lowered, e: &TractError) -> String {
    let named = |cause: String| Some(NODE.captures(&cause)?[1].to_owned());
    let node = e.chain().filter_map(|cause| named(cause.to_string())).last();
    node.map_or("the model".into(), |name| lowered.label(&name))
}

/// The innermost cause, and of two things that should be the same, which.
pub(super) fn reason(e: &TractError) -> String {
    let mut causes: Vec<String> = e.chain().map(ToString::to_string).collect();
    let last = causes.pop().unwrap_or_default();
    if NODE.is_match(&last) {
        return "tract can't plan it".into();
    }
    let unified = last.strip_prefix("Impossible to unify ").map(|l| l.trim_end_matches('.'));
    let reason = match unified.and_then(|both| both.split_once(" with ")) {
        None => last,
        Some((a, b)) => {
            let rule = causes.pop().unwrap_or_default();
            let rule = rule.strip_prefix("Applying rule ").filter(|rule| !rule.contains('{'));
            rule.map_or(String::new(), |rule| format!("{rule}: ")) + &format!("{a} is not {b}")
        }
    };
    SIZE.replace_all(&reason, "$1").into_owned()
}
