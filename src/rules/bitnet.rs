//! Models trained with BitLinear, whose fake quantisation is nodes of the graph.
//!
//! ```text
//!      ┌─ Abs ─ ReduceMax ─ Clip ─ … ─┐
//! x ───┴──────────── Mul ─ Round ─ Clip ─ Div ─ MatMul(W) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! The picture is one spelling of many: [`super::fake_quant`] recognises the arithmetic. What only served
//! the fake quantisation is orphaned by the new node and goes with it.

use super::{
    fake_quant::{Stop, quantized},
    matmul::PLAIN_FUSED_MATMUL,
};
use crate::{
    quant::Layout,
    rewrite::{Effect, Match, Projection, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 6] {
    [
        // The product is of integers, and the scales of activation and weight come after it.
        product("bitnet-scaled-div", "y = Div(p, s)", as_stored),
        product("bitnet-scaled-mul", "y = Mul(p, s)", as_stored),
        // The activation's scale is part of the product's operand.
        product("bitnet", "y = MatMul(q, W)", as_stored),
        product("bitnet-fused-matmul", &format!("y = {PLAIN_FUSED_MATMUL} (q, W)"), by_attribute),
        product(
            "bitnet-gemm",
            "y = Gemm <alpha = 1.0, transA = 0, transB: int = @transB> (q, W)",
            by_attribute,
        ),
        Rule::named("bitnet-gemm-bias", Effect::Exact)
            .find("y = Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB: int = @transB> (q, W, b)")
            .emit(
                "bit = bitonnx.BitLinear(x, codes, scale)
                 [bias] y = Add(bit, b)",
            )
            .with(|m| Ok(Projection { bias: m.constant("b"), ..trained(m, by_attribute(m)?)? })),
    ]
}

type LayoutOf = fn(&Match) -> Result<Layout, Reject>;

fn as_stored(_: &Match) -> Result<Layout, Reject> {
    Ok(Layout::InOut)
}

fn by_attribute(m: &Match) -> Result<Layout, Reject> {
    m.layout("transB")
}

fn product(name: &'static str, pattern: &str, layout: LayoutOf) -> Rule {
    Rule::named(name, Effect::Exact)
        .find(pattern)
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(move |m| trained(m, layout(m)?))
}

fn trained(m: &Match, layout: Layout) -> Result<Projection, Reject> {
    let found = quantized(m.view, m.constants, m.root).map_err(|stop| match stop {
        Stop::Foreign => {
            Reject::Miss(format!("node `{}` multiplies no fake-quantised activation", m.label()))
        }
        Stop::Other(why) => Reject::Refuse(why),
    })?;
    Ok(Projection {
        node: found.product,
        weight: m.weight_of(found.product, layout)?,
        bias: None,
        input: found.x,
        factor: found.factor,
        eps: found.eps,
        casts: found.casts,
        part_sizes: Vec::new(),
    })
}
