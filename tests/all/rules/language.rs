//! What a rule may say: mistakes in it are found when the recipe is built, or at its first match.

use crate::graphs::{model, rewritten};
use bitonnx::{
    pattern::Pattern,
    quant::Layout,
    report::Action,
    rewrite::{Effect, Match, Projection, Reject, Rule},
    rules::recipe,
};
use std::panic::{AssertUnwindSafe, catch_unwind};

const PLAIN: &str = "y = bitonnx.BitLinear(x, codes, scale)";

fn plain(m: &Match) -> Result<Projection, Reject> {
    Ok(m.projection(m.weight("W", Layout::InOut)?))
}

fn panic_of<T>(run: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(run)).err().expect("a panic");
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap().to_owned()
}

#[test]
fn patterns_that_match_nothing_are_refused() {
    for (pattern, why) in [
        ("", "it has no node"),
        ("y = Op(rest, x)", "`rest` may only be a node's last input"),
        ("rest = Op(x)", "`rest` may only be a node's last input"),
        ("y = Op(x) y = Op(x)", "`y` is defined twice"),
        ("y = Op <a: int = @n, b: int = @n> (x)", "`n` is defined twice"),
        ("y = Op(z) z = Op(y)", "`z` is read before it is made"),
        ("y = Op(y)", "`y` is read before it is made"),
        ("z? = Op(x) y = Op(z?)", "`z?` is made, so that it is never missing"),
        ("z = Op(x) y = Op(x)", "no later node reads `z`"),
        ("y = Gemm <alpha = 1> (x, W)", "attribute `alpha` of Gemm is of type float, not int"),
        (
            "y = Gemm <transB: float = @b> (x, W)",
            "attribute `transB` of Gemm is of type int, not float",
        ),
    ] {
        let panic = panic_of(|| Pattern::new(pattern));
        assert!(panic.ends_with(why), "{pattern}: {panic}");
    }
}

#[test]
fn templates_that_can_not_be_filled_in_are_refused() {
    let build = |find: &'static str, emit: &'static str| {
        panic_of(move || Rule::named("r", Effect::Exact).find(find).emit(emit).with(plain))
    };
    let find = "p = Neg(x) y = MatMul(p, W)";
    for (emit, why) in [
        ("", "it emits nothing"),
        ("z = bitonnx.BitLinear(x, codes, scale)", "it emits another value than it replaces"),
        ("y = MatMul(x, W)", "it emits 0 nodes of bitonnx, not one BitLinear"),
        ("y = bitonnx.Other(x, codes, scale)", "it emits 1 nodes of bitonnx, not one BitLinear"),
        ("y = bitonnx.BitLinear(x, W, scale)", "its BitLinear does not read (…, codes, scale)"),
        (
            "y = bitonnx.BitLinear(x?, codes, scale)",
            "its BitLinear does not read (…, codes, scale)",
        ),
        (
            "y = bitonnx.BitLinear <eps = 1.0> (x, codes, scale)",
            "its BitLinear has the attribute `eps`; the conversion writes them",
        ),
        (
            "z = bitonnx.BitLinear(x, codes, scale) y = Neg(z)",
            "two of the nodes that it emits have no name",
        ),
        (
            "[a] z = bitonnx.BitLinear(x, codes, scale) [a?] y = Neg(z)",
            "two of the nodes that it emits are named [a]",
        ),
        ("p = bitonnx.BitLinear(x, codes, scale) [n] y = Neg(p)", "it emits `p` a second time"),
        ("x = Neg(p) [n] y = bitonnx.BitLinear(x, codes, scale)", "it emits `x` a second time"),
        (
            "z = bitonnx.BitLinear(x, codes, scale) [n] y = Sum(z, rest)",
            "it emits `rest`, which stands for no value",
        ),
        (
            "z = bitonnx.BitLinear(x, codes, scale) [n] y = Sum(z, b)",
            "it emits `b`, which nothing binds",
        ),
        (
            "z = bitonnx.BitLinear(x, codes, scale) [n] y = Sum(z, y)",
            "it emits `y`, which nothing binds",
        ),
        (
            "z = bitonnx.BitLinear(x, codes, scale) [n] y = Op <a: int = @a> (z)",
            "it emits @a, which nothing binds",
        ),
    ] {
        assert_eq!(build(find, emit), format!("rule r: {why}"), "{emit}");
    }
    for taken in ["codes", "scale"] {
        let find = if taken == "codes" { "y = MatMul(x, codes)" } else { "y = MatMul(x, scale)" };
        let why = format!("rule r: its pattern names `{taken}`, which is the ternarised weight's");
        assert_eq!(build(find, PLAIN), why);
    }
    let keeps = panic_of(|| {
        Rule::named("r", Effect::Keep).find("y = MatMul(x, W)").emit(PLAIN).with(plain)
    });
    assert_eq!(keeps, "rule r keeps what it finds: use Rule::keep");
}

#[test]
fn asking_for_unbound_names_panics_at_the_first_match() {
    let source = model(
        r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[m, 4] x) => (float[m, 3] y) <float[4, 3] w> { n = Neg(x) y = MatMul(n, w) }"#,
    );
    type With = fn(&Match) -> Result<Projection, Reject>;
    let cases: [(With, &str); 6] = [
        (
            |m| Ok(m.projection(m.weight("V", Layout::InOut)?)),
            "rule r asks for `V`, which its pattern does not bind",
        ),
        (
            |m| Err(Reject::Miss(m.value("rest").into())),
            "rule r asks for `rest`, which its pattern does not bind",
        ),
        (
            |m| Err(Reject::Miss(m.constant("b").unwrap())),
            "rule r asks for `b`, which its pattern does not bind",
        ),
        (
            |m| Err(Reject::Miss(m.int("axis")?.to_string())),
            "rule r asks for `@axis`, which its pattern does not bind",
        ),
        (
            |m| Err(Reject::Miss(m.has("axis").to_string())),
            "rule r asks for `@axis`, which its pattern does not bind",
        ),
        (
            |m| Ok(Projection { input: m.value("y").into(), ..plain(m)? }),
            "rule r: its `x` is not the projection's input",
        ),
    ];
    for (with, why) in cases {
        let rule = Rule::named("r", Effect::Exact).find("y = MatMul(x, W)").emit(PLAIN).with(with);
        assert_eq!(panic_of(|| rewritten(&source, &[rule])), why);
    }
}

/// A rule of more nodes than one takes from other rules only what nothing else reads.
#[test]
fn a_match_claims_what_it_alone_reads() {
    let source = |beside: &str| {
        model(&format!(
            r#"<ir_version: 8, opset_import: ["" : 17]>
            g (float[m, 4] x) => (float[m, 3] y, float[m, 3] z)
            <float[4, 3] w, float[4, 3] v, float half = {{0.5}}>
            {{ [w] p = MatMul(x, w) [v] q = MatMul(x, v) s = Add(q, p) [s] y = Mul(s, half) z = Neg({beside}) }}"#
        ))
    };
    let found = |beside: &str| -> Vec<String> {
        let both = Rule::named("both", Effect::Approximate)
            .find("p = MatMul(x, W) q = MatMul(x, V) s = Add(p, q) y = Mul(s, H)")
            .emit("l = bitonnx.BitLinear(x, codes, scale) [r] r = MatMul(x, V) [y] y = Add(l, r)")
            .with(plain);
        let rules = [both].into_iter().chain(recipe()).collect::<Vec<_>>();
        let report = rewritten(&source(beside), &rules).report;
        assert!(report.projections.iter().all(|e| e.action == Action::BitLinear));
        report.projections.into_iter().map(|e| format!("{} {}", e.node, e.rule)).collect()
    };
    assert_eq!(found("x"), ["s both"]);
    assert_eq!(found("p"), ["w matmul", "s both"]);
    assert_eq!(found("q"), ["v matmul", "s both"]);
    assert_eq!(found("s"), ["w matmul", "v matmul", "s both"]);
}
