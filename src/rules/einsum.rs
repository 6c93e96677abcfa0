//! ```text
//! x ─ Einsum<"bsk,kn->bsn">(W) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! A plain product sums over the last axis of the activation, which is one of the matrix's two; the other
//! one takes its place. The matrix may be either operand.

use crate::{
    graph::Equation,
    quant::Layout,
    rewrite::{Effect, Match, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 2] {
    let einsum = Rule::named("einsum", Effect::Approximate)
        .find("y = Einsum <equation: string = @equation> (x, W)")
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(|m| Ok(m.projection(m.weight("W", layout(m)?)?)));
    let kept = Rule::named("einsum-kept", Effect::Keep)
        .find("y = Einsum <equation: string = @equation> (x, W)")
        .refuse(|m| match (layout(m), m.is_matrix("W")) {
            (Err(Reject::Miss(why)), true) => {
                Reject::Refuse(format!("it is no plain product: {why}"))
            }
            _ => Reject::Miss(format!("node `{}` multiplies with no stored matrix", m.label())),
        });
    [einsum, kept]
}

/// How a plain product reads its matrix.
fn layout(m: &Match) -> Result<Layout, Reject> {
    let text = m.string("equation")?;
    let differs =
        |why: &str| Reject::Miss(format!("the equation `{text}` of node `{}` {why}", m.label()));
    let equation = Equation::parse(text).ok_or_else(|| differs("can't be read"))?;
    let first = m.view.node(m.root).input(0) == Some(m.value("W"));
    let (x, w) = match &equation.terms[..] {
        [w, x] if first => (x, w),
        [x, w] => (x, w),
        _ => return Err(differs("is of other operands")),
    };
    let Some((summed, tokens)) = x.split_last() else { return Err(differs("is of a scalar")) };
    let (made, layout) = match w[..] {
        [k, n] if k == *summed => (n, Layout::InOut),
        [n, k] if k == *summed => (n, Layout::OutIn),
        _ => {
            return Err(differs("does not sum over the last axis of the activation with a matrix"));
        }
    };
    let mut axes = x.clone();
    axes.push(made);
    axes.sort_unstable();
    axes.dedup();
    let plain = axes.len() == x.len() + 1 && equation.output == [tokens, &[made]].concat();
    plain
        .then_some(layout)
        .ok_or_else(|| differs("does not put what it makes in place of what it sums"))
}
