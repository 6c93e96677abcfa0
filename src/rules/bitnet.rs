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
    gemm::layout,
    matmul::PLAIN_FUSED_MATMUL,
};
use crate::{
    quant::Layout,
    rewrite::{Effect, Match, Projection, Reject, Rule},
};

pub(super) fn rules() -> [Rule; 6] {
    [
        // The product is of integers, and the scales of activation and weight come after it.
        product("bitnet-scaled-div", "y = Div(p, s)", |_| Layout::InOut),
        product("bitnet-scaled-mul", "y = Mul(p, s)", |_| Layout::InOut),
        // The activation's scale is part of the product's operand.
        product("bitnet", "y = MatMul(q, W)", |_| Layout::InOut),
        product("bitnet-fused-matmul", &format!("y = {PLAIN_FUSED_MATMUL} (q, W)"), |m| {
            layout(m.int("transB"))
        }),
        product(
            "bitnet-gemm",
            "y = Gemm <alpha = 1.0, transA = 0, transB: int = @transB> (q, W)",
            |m| layout(m.int("transB")),
        ),
        Rule::named("bitnet-gemm-bias", Effect::Exact)
            .find("y = Gemm <alpha = 1.0, beta = 1.0, transA = 0, transB: int = @transB> (q, W, b)")
            .emit(
                "bit = bitonnx.BitLinear(x, codes, scale)
                 [bias] y = Add(bit, b)",
            )
            .with(|m| trained(m, layout(m.int("transB")))),
    ]
}

fn product(name: &'static str, pattern: &str, layout: fn(&Match) -> Layout) -> Rule {
    Rule::named(name, Effect::Exact)
        .find(pattern)
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(move |m| trained(m, layout(m)))
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
        input: found.x,
        factor: found.factor,
        eps: found.eps,
        casts: found.casts,
        parts: Vec::new(),
    })
}
