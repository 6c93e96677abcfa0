//! ```text
//! experts ─ Gather(index) ─ w,  x ─ MatMul(w) ─ y, where index is computed   ⇒   kept
//! ```
//!
//! Experts whose weights are stored in one tensor, of which each token's router chooses: `w` is in lower
//! case, since it is another for each run.

use crate::{
    graph::{Constants, View},
    rewrite::{Effect, Match, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 2] {
    [kept("chosen-matmul", "y = MatMul(x, w)"), kept("chosen-gemm", "y = Gemm(x, w, rest)")]
}

fn kept(name: &'static str, pattern: &str) -> Rule {
    Rule::named(name, Effect::Keep).find(pattern).refuse(why)
}

fn why(m: &Match) -> Reject {
    let value = m.value("w");
    match chosen_from(m.view, m.constants, value) {
        Some(tensor) => Reject::Refuse(format!(
            "its weight is a part of `{tensor}` that is chosen at run time, where a BitLinear has one weight \
             (export experts as layers of their own)"
        )),
        None => Reject::Miss(format!("`{value}` is not chosen from a stored tensor at run time")),
    }
}

/// Operators that take a part of their first input.
const CHOICES: [&str; 4] = ["Gather", "GatherND", "Slice", "Split"];

/// Operators that pass their first input on.
const VIEWS: [&str; 6] = ["Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// The stored matrices that a value is taken from by what is computed.
fn chosen_from<'m>(view: &View<'m>, constants: &Constants, value: &str) -> Option<&'m str> {
    if constants.is_constant(value) {
        return None;
    }
    let mut node = view.node(view.producer(value)?);
    let mut chosen = false;
    loop {
        let of = node.standard();
        chosen |= CHOICES.contains(&of);
        let passes = CHOICES.contains(&of) || VIEWS.contains(&of);
        let source = node.input.first().filter(|_| passes)?;
        if constants.is_constant(source) {
            let matrices = view.initializer(source).is_none_or(|tensor| tensor.dims.len() > 2);
            return (chosen && matrices).then_some(source);
        }
        node = view.node(view.producer(source)?);
    }
}
