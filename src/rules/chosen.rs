//! ```text
//! experts ─ Gather(index) ─ w,  x ─ MatMul(w) ─ y, where index is computed   ⇒   kept
//! ```
//!
//! Experts whose weights are stored in one tensor, of which each token's router chooses, and weights that a
//! condition chooses: `w` is in lower case, since it is another for each run.

use crate::{
    graph::{captured, facts},
    rewrite::{Match, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 2] {
    [kept("chosen-matmul", "y = MatMul(x, w)"), kept("chosen-gemm", "y = Gemm(x, w, rest)")]
}

fn kept(name: &'static str, pattern: &str) -> Rule {
    Rule::refuse(name, pattern, why)
}

fn why(m: &Match) -> Reject {
    let value = m.value("w");
    match chosen_from(m, value) {
        Some((tensor, part)) => Reject::Refuse(format!(
            "its weight is {} that is chosen at run time, where a BitLinear has one weight \
             (export experts as layers of their own)",
            if part {
                format!("a part of `{tensor}`")
            } else {
                format!("one of several, as `{tensor}`,")
            }
        )),
        None => Reject::Miss(format!("`{value}` is not chosen from a stored tensor at run time")),
    }
}

/// The stored matrices that a value is taken from by what is computed: a tensor of which it is a part, or the first
/// of several.
fn chosen_from<'m>(m: &Match<'_, 'm>, value: &str) -> Option<(&'m str, bool)> {
    let (view, constants) = (m.view, m.constants);
    if constants.is_constant(value) {
        return None;
    }
    let mut node = view.node(view.producer(value)?);
    let mut chosen = false;
    loop {
        let of = node.standard();
        let either = match of {
            "Where" => node.inputs().skip(1).collect(),
            "If" => captured(node),
            _ => Vec::new(),
        };
        if let Some(matrix) = either.into_iter().find(|value| m.is_matrix(value)) {
            return Some((matrix, false));
        }
        chosen |= facts::cuts(node);
        let passes = facts::cuts(node) || facts::passes(node) || of == "Transpose";
        let source = node.input.first().filter(|_| passes)?;
        if constants.is_constant(source) {
            let matrices = view.initializer(source).is_none_or(|tensor| tensor.dims.len() > 2);
            return (chosen && matrices).then_some((source, true));
        }
        node = view.node(view.producer(source)?);
    }
}
