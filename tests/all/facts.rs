//! What is said of operators, against what ONNX Runtime made of each case of `constants/cases.onnx`.

use bitonnx::{
    array::Array,
    graph::{GraphId, Graphs, View, compute, facts, is_elementwise},
    proto::{self, NodeProto, tensor_proto::DataType},
};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

/// A node with its inputs, and what it makes of them.
struct Case<'m> {
    node: &'m NodeProto,
    inputs: Vec<Option<Array>>,
    output: Array,
}

impl Case<'_> {
    fn input(&self, index: usize) -> Option<&Array> {
        self.inputs.get(index)?.as_ref()
    }

    /// The elements of the inputs at these places.
    fn elements(&self, places: impl IntoIterator<Item = usize>) -> HashSet<u64> {
        let inputs = places.into_iter().filter_map(|place| self.input(place));
        inputs.flat_map(|input| numbers(input, self.output.dtype())).collect()
    }

    fn made(&self) -> Vec<u64> {
        numbers(&self.output, self.output.dtype())
    }
}

/// The bits of what elements are in a type, in their order.
fn numbers(array: &Array, dtype: DataType) -> Vec<u64> {
    let cast = array.clone().cast(dtype).and_then(|array| array.cast(DataType::Double));
    let Some(Array::F64(elements)) = cast else { panic!("every type casts to double") };
    elements.iter().map(|element| element.to_bits()).collect()
}

/// Calls `check` with every case that a fact holds for. There must be one of each of these operators.
#[track_caller]
fn each(fact: impl Fn(&NodeProto) -> bool, operators: &[&str], check: impl Fn(&Case)) {
    let model = proto::load(Path::new("tests/constants/cases.onnx")).unwrap();
    let graphs = Graphs::of(&model);
    let (view, constants) = (graphs.main(), graphs.constants(GraphId::MAIN));
    let expected = |view: &View, value: &str| {
        Array::from_tensor(view.initializer(&format!("{value}/expected"))?)
    };
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for (_, node) in view.nodes().filter(|(_, node)| fact(node)) {
        let value = |name: &String| (!name.is_empty()).then(|| constants.value(name).unwrap());
        let inputs = node.input.iter().map(value).collect();
        let output = expected(view, node.output(0).unwrap()).unwrap();
        check(&Case { node, inputs, output });
        *seen.entry(node.op_type()).or_default() += 1;
    }
    let unseen: Vec<_> = operators.iter().filter(|op| !seen.contains_key(**op)).collect();
    assert!(unseen.is_empty(), "no case of {unseen:?}; there are {seen:?}");
}

#[test]
fn what_passes_keeps_elements_in_order() {
    let all =
        ["Cast", "CastLike", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"];
    each(facts::passes, &all, |case| {
        let input = case.input(0).unwrap();
        assert_eq!(numbers(input, case.output.dtype()), case.made(), "{}", case.node.name());
    });
}

#[test]
fn what_moves_loses_nothing() {
    each(facts::moves, &["Concat", "Expand", "Pad", "Tile", "Transpose"], |case| {
        let content = facts::content(case.node).map_or((0..9).collect(), <[usize]>::to_vec);
        let made: HashSet<u64> = case.made().into_iter().collect();
        let lost = case.elements(content).difference(&made).count();
        assert!(lost == 0 || case.made().is_empty(), "{} loses {lost}", case.node.name());
    });
}

#[test]
fn what_cuts_makes_nothing_new() {
    each(facts::cuts, &["Gather", "Slice", "Split"], |case| {
        let had = case.elements([0]);
        assert!(case.made().iter().all(|e| had.contains(e)), "{}", case.node.name());
    });
}

/// What only moves elements takes them from its content.
#[test]
fn content_is_where_elements_come_from() {
    let taken = |node: &NodeProto| {
        let copies = ["Gather", "ScatterND", "Slice", "Split", "Tile", "Trilu", "Where"];
        (facts::moves(node) || copies.contains(&node.standard())) && facts::content(node).is_some()
    };
    let seen = ["CastLike", "Expand", "Gather", "Pad", "Reshape", "ScatterND", "Slice", "Split"];
    each(taken, &seen, |case| {
        let mut had = case.elements(facts::content(case.node).unwrap().iter().copied());
        // What is filled up, and what a triangle leaves out.
        had.extend(
            case.input(2)
                .filter(|_| case.node.is("Pad"))
                .map(|v| numbers(v, case.output.dtype())[0]),
        );
        had.insert(0);
        had.insert(case.node.float("value").map_or(0.0, f64::from).to_bits());
        assert!(case.made().iter().all(|e| had.contains(e)), "{}", case.node.name());
    });
}

#[test]
fn operands_that_commute_may_change_places() {
    let two = |node: &NodeProto| facts::commutes(node) && node.inputs().count() > 1;
    each(
        |node| two(node) && !node.is("Einsum"),
        &["Add", "Equal", "Max", "Min", "Mul"],
        |case| {
            let mut swapped = case.inputs.clone();
            swapped.swap(0, 1);
            let [made, again] = [case.inputs.clone(), swapped].map(|inputs| {
                let outputs = compute(case.node, inputs, 1 << 20).unwrap();
                numbers(&outputs[0], outputs[0].dtype())
            });
            let nan = |bits: &u64| f64::from_bits(*bits).is_nan();
            let same = made.iter().zip(&again).all(|(a, b)| a == b || nan(a) && nan(b));
            assert!(same, "{}", case.node.name());
        },
    );
    let others = ["Sub", "Div", "Pow", "Mod", "Less", "PRelu", "BitShift"];
    each(
        |node| others.contains(&node.standard()),
        &others[..4],
        |case| {
            assert!(!facts::commutes(case.node), "{}", case.node.name());
        },
    );
}

#[test]
fn what_is_of_one_type_has_it() {
    let some = |node: &NodeProto| !facts::of_one_type(node).is_empty();
    each(some, &["Add", "Clip", "Gather", "Gemm", "Pow", "Softmax", "Transpose"], |case| {
        for index in 0..facts::of_one_type(case.node).len() {
            let found = case.input(index).map_or(case.output.dtype(), Array::dtype);
            assert_eq!(found, case.output.dtype(), "input {index} of {}", case.node.name());
        }
    });
}

#[test]
fn what_adjusts_leaves_elements_in_place() {
    each(facts::adjusts, &["Add", "Clip", "Div", "Max", "Min", "Mul", "Sub", "Sum"], |case| {
        assert!(is_elementwise(case.node), "{}", case.node.name());
    });
}

#[test]
fn what_reduces_makes_fewer() {
    each(facts::reduces, &["GlobalAveragePool", "ReduceMax", "ReduceMean", "ReduceSum"], |case| {
        assert!(case.output.len() <= case.input(0).unwrap().len(), "{}", case.node.name());
    });
}

#[test]
fn what_quantizes_goes_to_integers_or_comes_from_them() {
    each(
        facts::quantizes,
        &["DequantizeLinear", "DynamicQuantizeLinear", "QuantizeLinear"],
        |case| {
            let integers = |array: &Array| !proto::is_float(array.dtype() as i32);
            let input = case.input(0).unwrap();
            assert!(integers(&case.output) != integers(input), "{}", case.node.name());
        },
    );
}
