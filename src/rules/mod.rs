//! The recipe: every rule, in the order in which they are tried.
//!
//! The first rule that takes or refuses a node has it. Hence: what was trained with BitLinear comes
//! before the plain products that it is made of, so that no activation is quantised twice; what only
//! stays comes last.

mod attention;
mod bitnet;
mod chosen;
mod einsum;
mod gemm;
mod held;
mod matmul;
mod quantized;
mod replaceable;

use crate::rewrite::Rule;

/// Every rule, in order.
pub fn recipe() -> Vec<Rule> {
    let mut rules = Vec::new();
    rules.extend(bitnet::rules());
    rules.extend(replaceable::rules());
    rules.extend(chosen::rules());
    rules.extend(matmul::rules());
    rules.extend(gemm::rules());
    rules.extend(einsum::rules());
    rules.extend(attention::rules());
    rules.extend(quantized::rules());
    rules.extend(held::rules());
    rules
}
