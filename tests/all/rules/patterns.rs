//! The matcher: patterns of many nodes, in any order of operands.

use crate::graphs::Numbers;
use bitonnx::{
    graph::{GraphId, Graphs},
    pattern::{Bindings, Miss, Pattern},
    proto::{GraphProto, NodeProto},
    text::{parse_graph, parse_nodes},
};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Matches a pattern at the last node of a graph.
fn at_last(pattern: &str, graph: &GraphProto) -> Result<Bindings, Miss> {
    let model = crate::model_of(graph);
    let graphs = Graphs::of(&model);
    let last = GraphId::MAIN.node(graph.node.len() - 1);
    Pattern::new(pattern).at(graphs.main(), &graphs.constants(GraphId::MAIN), last)
}

fn graph(nodes: &str) -> GraphProto {
    let header = "g (float[2] x, float[2] y, float[2] z) => (float[2] out)
        <float[2] w = {1.0, 2.0}, float[2] v = {3.0, 4.0}>";
    parse_graph(&format!("{header} {{ {nodes} }}")).unwrap()
}

fn miss(pattern: &str, nodes: &str) -> String {
    at_last(pattern, &graph(nodes)).unwrap_err().why
}

#[test]
fn a_later_input_changes_an_earlier_order() {
    let found = at_last("p = Add(a, b) q = Sub(p, b)", &graph("s = Add(x, y) out = Sub(s, x)"));
    let values = found.unwrap().values;
    assert_eq!((values["a"].as_str(), values["b"].as_str()), ("y", "x"));
    // The second operand of the root decides the order two nodes further up.
    let pattern = "p = Mul(a, W) q = Add(p, b) r = Neg(q) s = Div(b, a) t = Mul(s, r)";
    let nodes = "p = Mul(w, x) q = Add(y, p) r = Neg(q) s = Div(y, x) out = Mul(r, s)";
    let values = at_last(pattern, &graph(nodes)).unwrap().values;
    assert_eq!((values["a"].as_str(), values["b"].as_str()), ("x", "y"));
}

#[test]
fn an_order_that_fails_leaves_no_trace() {
    let pattern = "p = Mul <broadcast: int = @first> (a, W) q = Add(p, b)";
    let nodes = "p = Mul <broadcast = 1> (x, y) r = Mul(w, z) out = Add(p, r)";
    let found = at_last(pattern, &graph(nodes)).unwrap();
    assert!(found.attributes.is_empty());
    assert_eq!(found.values["a"], "z");
    assert_eq!(found.nodes, [1, 2].map(|index| Some(GraphId::MAIN.node(index))));
}

#[test]
fn a_value_is_the_same_output_of_its_node() {
    let pattern = "a, b = Split(x) c = Neg(b)";
    let fits = at_last(pattern, &graph("a, b = Split(x) out = Neg(b)"));
    assert_eq!(fits.unwrap().values["a"], "a");
    assert_eq!(
        miss(pattern, "[cut] a, b = Split(x) out = Neg(a)"),
        "`a` is not the output 1 of node `cut`"
    );
    assert_eq!(
        miss(pattern, "[cut] b = Split(x) out = Neg(b)"),
        "`b` is not the output 1 of node `cut`"
    );
}

#[test]
fn a_shared_subexpression_is_one_node() {
    let pattern = "a = Abs(x) b = Neg(a) c = Sub(b, a)";
    assert!(at_last(pattern, &graph("a = Abs(x) b = Neg(a) out = Sub(b, a)")).is_ok());
    assert_eq!(
        miss(pattern, "a = Abs(x) d = Abs(x) b = Neg(a) out = Sub(b, d)"),
        "nodes `a` and `d` would have to be one"
    );
}

#[test]
fn misses_say_what_was_found_and_what_was_wanted() {
    for (pattern, nodes, why) in [
        ("y = Neg(x)", "[n] out = Abs(x)", "node `n` is Abs, not Neg"),
        ("y = Abs(x)", "[n] out = a.Abs(x)", "node `n` is a.Abs, not Abs"),
        ("y = Clip(x, W)", "[n] out = Clip(x)", "node `n` has 1 inputs, not 2"),
        (
            "y = Clip(x)",
            "[n] out = Clip(x, w)",
            "node `n` reads `w` as well, which the pattern does not",
        ),
        ("y = Clip(x, , W)", "out = Clip(x, v, w)", "`v` is given where the pattern has no input"),
        ("y = Clip(x, V, W)", "out = Clip(x, , w)", "its input `V` is left out"),
        ("y = Mul(x, x)", "out = Mul(x, y)", "`y` and `x` would have to be one value"),
        (
            "y = Sub(x, W)",
            "out = Sub(x, y)",
            "its `W`, `y`, is not constant: `y` is an input of the graph",
        ),
        ("p = Abs(x) y = Neg(p)", "out = Neg(x)", "no node makes `x`"),
    ] {
        assert_eq!(miss(pattern, nodes), why, "{pattern}");
    }
    assert!(at_last("y = Clip(x, rest)", &graph("out = Clip(x, , w)")).is_ok());
    assert!(at_last("y = Clip(x, rest)", &graph("out = Clip(x)")).is_ok());
}

#[test]
fn an_operand_may_be_missing() {
    let found = |nodes: &str| {
        let values = at_last("y = Clip(x, LOW?, HIGH?)", &graph(nodes)).unwrap().values;
        ["LOW?", "HIGH?"].map(|name| values.get(name).cloned().unwrap_or_default())
    };
    assert_eq!(found("out = Clip(x, w, v)"), ["w", "v"]);
    assert_eq!(found("out = Clip(x, , v)"), ["", "v"]);
    assert_eq!(found("out = Clip(x, w)"), ["w", ""]);
    assert_eq!(found("out = Clip(x)"), ["", ""]);
    for (pattern, nodes, why) in [
        (
            "y = Clip(x, LOW?)",
            "out = Clip(x, y)",
            "its `LOW?`, `y`, is not constant: `y` is an input of the graph",
        ),
        ("y = Clip(x, LOW?, HIGH)", "[n] out = Clip(x, w)", "node `n` has 2 inputs, not 3"),
        (
            "y = Clip(x, LOW?)",
            "[n] out = Clip(x, w, v)",
            "node `n` reads `v` as well, which the pattern does not",
        ),
    ] {
        assert_eq!(miss(pattern, nodes), why, "{pattern}");
    }
}

/// Both orders come equally far: the one that the graph has is told.
#[test]
fn of_equal_misses_the_first_is_told() {
    let pattern = "p = Abs(a) q = Abs(b) y = Add(p, q)";
    let nodes = "[r] c = Exp(x) [s] d = Log(x) out = Add(c, d)";
    assert_eq!(miss(pattern, nodes), "node `r` is Exp, not Abs");
}

#[test]
fn attributes_of_every_kind_are_compared() {
    let node = |attribute: &str| graph(&format!("[n] out = Op <{attribute}> (x)"));
    for (same, other) in [
        ("a = 1", "a = 2"),
        ("a = 1.5", "a = 2.5"),
        ("a = \"left\"", "a = \"right\""),
        ("a = [1, 2]", "a = [2, 1]"),
        ("a = [1.5, 2.5]", "a = [2.5, 1.5]"),
        ("a = [\"left\"]", "a = [\"right\"]"),
        ("a = float[2] {1, 2}", "a = float[2] {2, 1}"),
        ("a = float[2] {1, 2}", "a = float[1, 2] {1, 2}"),
        ("a = 1", "a = 1.0"),
    ] {
        let pattern = format!("y = Op <{same}> (x)");
        assert!(at_last(&pattern, &node(same)).is_ok(), "{same}");
        let [found, wanted] = [other, same].map(|text| text.strip_prefix("a = ").unwrap());
        let why = at_last(&pattern, &node(other)).unwrap_err().why;
        // Tensors are written with their dimensions apart.
        let plain = |text: &str| text.replace(' ', "");
        let expected = format!("attribute `a` of node `n` is {found}, not {wanted}");
        assert_eq!(plain(&why).replace(".0", ""), plain(&expected).replace(".0", ""));
    }
    let absent = miss("y = Op <a = 0> (x)", "[n] out = Op(x)");
    assert_eq!(absent, "attribute `a` of node `n` is left out, not 0");
    let default = miss("y = Gemm <transB = 1> (x, z)", "[n] out = Gemm(x, y)");
    assert_eq!(default, "attribute `transB` of node `n` is 0 by default, not 1");
    let mistyped = miss("y = Op <a: int = @a> (x)", "[n] out = Op <a = [1]> (x)");
    assert_eq!(mistyped, "attribute `a` of node `n` is [1], not of type int");
}

/// A tensor is its values, in whichever field the file has them.
#[test]
fn a_tensor_is_compared_by_value() {
    let mut other = graph("out = Op <a = float[2] {1, 2}> (x)");
    let tensor = other.node[0].attribute[0].t.as_mut().unwrap();
    let raw = [1.0f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    tensor.float_data.clear();
    tensor.raw_data = Some(raw.into());
    assert!(at_last("y = Op <a = float[2] {1, 2}> (x)", &other).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn an_instance_of_a_pattern_is_found(seed: u64, size in 1usize..32) {
        let mut numbers = Numbers::new(seed);
        let pattern = random_pattern(&mut numbers, size);
        let graph = instance(&pattern, &mut numbers);
        let text = printed(&pattern);
        let found = at_last(&text, &graph);
        let found = found.unwrap_or_else(|miss| panic!("{text}\n{miss:?}"));
        for (want, id) in pattern.iter().zip(&found.nodes) {
            let node = &graph.node[id.unwrap().index()];
            let stands_for = |names: &[String]| -> Vec<String> {
                names.iter().map(|name| found.values[name].clone()).collect()
            };
            let inputs = stands_for(&want.input);
            let mut turned = inputs.clone();
            turned.reverse();
            prop_assert_eq!(want.op_type(), node.op_type());
            prop_assert!(inputs == node.input || commutes(want) && turned == node.input);
            prop_assert_eq!(&stands_for(&want.output), &node.output);
        }
        for (name, value) in &found.values {
            let stored = graph.initializer.iter().any(|t| t.name() == value);
            prop_assert!(stored || !name.starts_with(|c: char| c.is_ascii_uppercase()));
        }
    }
}

const OPERATORS: [(&str, usize, usize); 8] = [
    ("Add", 2, 1),
    ("Mul", 2, 1),
    ("Max", 2, 1),
    ("Sub", 2, 1),
    ("Div", 2, 1),
    ("Neg", 1, 1),
    ("Abs", 1, 1),
    ("Split", 1, 2),
];

fn commutes(node: &NodeProto) -> bool {
    matches!(node.op_type(), "Add" | "Mul" | "Max")
}

/// So many nodes at most, each of which the last one needs.
fn random_pattern(numbers: &mut Numbers, size: usize) -> Vec<NodeProto> {
    let mut made: Vec<String> = Vec::new();
    let variables = ["a", "b", "c", "K", "L"];
    let mut nodes: Vec<NodeProto> = Vec::new();
    for index in 0..size {
        let (op, inputs, outputs) = OPERATORS[numbers.below(OPERATORS.len())];
        let mut input = |_| match made.len() {
            // New values more often than old ones, so that the pattern is deep.
            some @ 1.. if numbers.below(4) > 0 => {
                made[some - 1 - numbers.below(some.min(4))].clone()
            }
            _ => variables[numbers.below(variables.len())].to_owned(),
        };
        let input: Vec<String> = (0..inputs).map(&mut input).collect();
        let output: Vec<String> = (0..outputs).map(|o| format!("v{index}_{o}")).collect();
        made.extend(output.clone());
        let node = NodeProto { op_type: Some(op.into()), input, output, ..Default::default() };
        nodes.push(node);
    }
    let mut needed: BTreeSet<String> = nodes.last().unwrap().output.iter().cloned().collect();
    let mut kept: Vec<NodeProto> = Vec::new();
    for node in nodes.into_iter().rev() {
        if node.output.iter().any(|o| needed.contains(o)) {
            needed.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    kept
}

/// A graph of which the last nodes are the pattern's, by other names and with operands exchanged,
/// among others that read the same values.
fn instance(pattern: &[NodeProto], numbers: &mut Numbers) -> GraphProto {
    let mut nodes = Vec::new();
    for want in pattern {
        let mut node = want.clone();
        node.input.iter_mut().chain(&mut node.output).for_each(|name| *name = format!("g{name}"));
        if commutes(&node) && numbers.below(2) == 0 {
            node.input.reverse();
        }
        nodes.extend((numbers.below(3) == 0).then(|| NodeProto {
            op_type: Some("Add".into()),
            input: vec![node.input[0].clone(), "ga".into()],
            output: vec![format!("beside_{}", node.output[0])],
            ..Default::default()
        }));
        nodes.push(node);
    }
    let header = "g (float ga, float gb, float gc) => () <float gK = {2}, float gL = {3}> {}";
    GraphProto { node: nodes, ..parse_graph(header).unwrap() }
}

fn printed(pattern: &[NodeProto]) -> String {
    let line = |node: &NodeProto| {
        format!("{} = {}({})", node.output.join(", "), node.op_type(), node.input.join(", "))
    };
    pattern.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Thirty nodes with many orders, of which the last input tells the right ones.
#[test]
fn a_large_pattern_is_found_and_missed_in_time() {
    let mut lines = vec!["v0 = Mul(x, W)".to_owned()];
    lines.extend((1..30).map(|i| format!("v{i} = Add(v{}, K{i})", i - 1)));
    lines.push("y = Sub(v29, W)".into());
    let pattern = lines.join("\n");
    let mut nodes = parse_nodes(&pattern).unwrap();
    nodes.iter_mut().step_by(2).for_each(|node| node.input.reverse());
    nodes.last_mut().unwrap().input.sort_by_key(|i| i != "v29");
    let constants: Vec<String> =
        (1..30).map(|i| format!("float K{i} = {{{i}}}")).chain(["float W = {2}".into()]).collect();
    let header = format!("g (float x) => () <{}> {{}}", constants.join(", "));
    let graph = GraphProto { node: nodes, ..parse_graph(&header).unwrap() };
    let found: BTreeMap<String, String> = at_last(&pattern, &graph).unwrap().values;
    assert!(found.iter().all(|(name, value)| name == value));
    let missed = at_last(&pattern.replace("Sub(v29, W)", "Sub(v29, x)"), &graph).unwrap_err();
    assert_eq!(missed.why, "`W` and `x` would have to be one value");
}
