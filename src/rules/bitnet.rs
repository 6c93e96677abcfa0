//! Models trained with BitLinear, whose fake quantisation is nodes of the graph.
//!
//! ```text
//!      ┌─ Abs ─ ReduceMax ─ Clip ─ … ─┐
//! x ───┴──────────── Mul ─ Round ─ Clip ─ Div ─ MatMul(W) ─ y   ⇒   x ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! ```text
//!      ┌─ Abs ─ ReduceMax ─ Clip ─ … ──────────────────── s
//! x ───┴──────────── Mul ─ Round ─ Clip ─ MatMul(W) ─ p ─ Div ─ y   ⇒   x ─ BitLinear(codes, scale) ─ y
//! ```
//!
//! The pictures are two spellings of many. The patterns only say where a chain ends: [`crate::values`]
//! recognises the arithmetic before it. What only served the fake quantisation is orphaned by the new node
//! and goes with it.

use super::{
    gemm::{PLAIN_GEMM, SUM, bias},
    matmul::PLAIN_FUSED_MATMUL,
};
use crate::{
    graph::{NodeId, View},
    proto::tensor_proto::DataType,
    quant::Layout,
    rewrite::{Effect, Match, Projection, Reject, Rule},
    values::{NotQuantized, Quantized, quantized},
};

pub(super) fn rules() -> [Rule; 6] {
    [
        // All of it in f32, in a model of 16 bits.
        Rule::named("bitnet-narrow", Effect::Exact)
            .since(15)
            .find(
                "p = MatMul(q, W)
                 y = Cast <to: int = @to> (p)",
            )
            .emit("y = bitonnx.BitLinear(x, codes, scale)")
            .with(narrowed),
        // The product is of integers, and the scales of activation and weight come after it.
        product("bitnet-scaled-div", "y = Div(p, s)"),
        product("bitnet-scaled-mul", "y = Mul(p, s)"),
        // The activation's scale is part of the product's operand.
        product("bitnet", "y = MatMul(q, W)"),
        product("bitnet-fused-matmul", &format!("y = {PLAIN_FUSED_MATMUL} (q, W)")),
        Rule::named("bitnet-gemm", Effect::Exact)
            .find(&format!("y = {PLAIN_GEMM} (q, W, b?)"))
            .emit(SUM)
            .with(|m| Ok(Projection { bias: bias(m)?, ..trained(m)? })),
    ]
}

fn product(name: &'static str, pattern: &str) -> Rule {
    Rule::named(name, Effect::Exact)
        .find(pattern)
        .emit("y = bitonnx.BitLinear(x, codes, scale)")
        .with(trained)
}

fn trained(m: &Match) -> Result<Projection, Reject> {
    let found = found(m, m.root)?;
    let flipped = m.view.node(found.product).flag("transB");
    let layout = if flipped { Layout::OutIn } else { Layout::InOut };
    let weight = m.weight_of(found.product, layout)?;
    let narrow = before_cast(m.view, &found.x, weight.data_type()).filter(|_| found.casts);
    Ok(Projection {
        node: found.product,
        casts: found.casts && narrow.is_none(),
        factor: found.factor,
        eps: found.eps,
        ..m.projection_of(narrow.map_or(found.x, str::to_owned), weight)
    })
}

fn found(m: &Match, root: NodeId) -> Result<Quantized, Reject> {
    quantized(m.view, m.constants, root).map_err(|why| match why {
        NotQuantized::Foreign => {
            Reject::Miss(format!("node `{}` multiplies no fake-quantised activation", m.label()))
        }
        NotQuantized::Otherwise(why) => Reject::Refuse(why),
    })
}

/// A product in f32 of what was widened before, and is narrowed again after it.
fn narrowed(m: &Match) -> Result<Projection, Reject> {
    let miss = |why: String| Reject::Miss(format!("node `{}` {why}", m.label()));
    let product = m.view.producer(m.value("p"));
    let found = found(m, product.ok_or_else(|| miss("casts a stored value".into()))?)
        .map_err(|(Reject::Miss(why) | Reject::Refuse(why))| Reject::Miss(why))?;
    let to = i32::try_from(m.int("to")?).ok().and_then(|to| DataType::try_from(to).ok());
    let narrow = to.filter(|to| matches!(to, DataType::Float16 | DataType::Bfloat16));
    let data_type = narrow.ok_or_else(|| miss("does not narrow the product".into()))?;
    let input = before_cast(m.view, &found.x, data_type).ok_or_else(|| {
        miss(format!("narrows a product of `{}`, which was not widened", found.x))
    })?;
    let weight = m.weight_of(found.product, Layout::InOut)?;
    Ok(Projection {
        node: found.product,
        data_type,
        factor: found.factor,
        eps: found.eps,
        ..m.projection_of(input.to_owned(), weight)
    })
}

/// What was cast to make a value, where it is known to be of this type.
fn before_cast<'m>(view: &View<'m>, value: &str, data_type: DataType) -> Option<&'m str> {
    let cast = view.node(view.producer(value)?);
    let source = cast.input.first().filter(|_| cast.is("Cast"))?;
    (view.data_type(source) == Some(data_type)).then_some(source)
}
