//! Graph inputs that a plan may have to be made for by their values, not their shapes alone.

use crate::proto::{GraphProto, NodeProto, graphs_within};
use std::collections::{HashMap, HashSet};

/// The graph inputs whose values a plan may be for.
#[derive(Debug, Default)]
pub(in crate::runtime) struct ByValue {
    /// They choose the branch of an `If`: a plan is for one of their values.
    pub always: HashSet<String>,
    /// Something that tract takes as a constant only is computed from them: a shape, an axis, a bound.
    /// Often it comes out as one from shapes alone, so a plan is for their values where none is without.
    pub at_need: HashSet<String>,
}

impl ByValue {
    pub(super) fn of(graph: &GraphProto) -> ByValue {
        let nodes: Vec<_> = graphs_within(graph).into_iter().flat_map(|g| &g.node).collect();
        let inputs: HashSet<&str> = graph.input.iter().map(|v| v.name()).collect();
        let of_inputs = |values: &HashSet<&str>| -> HashSet<String> {
            values.intersection(&inputs).map(|v| String::from(*v)).collect()
        };
        let conditions = nodes.iter().filter(|n| n.is("If")).filter_map(|n| n.input.first());
        let always = of_inputs(&conditions.map(String::as_str).collect());
        let needed = nodes.iter().flat_map(|n| {
            let goes_on =
                n.graphs().filter(|_| n.is("Loop")).filter_map(|body| body.output.first());
            let inputs = needed(n).iter().filter_map(|&i| n.input(i));
            inputs.chain(goes_on.map(|v| v.name()))
        });
        let mut at_need = of_inputs(&sources(&nodes, needed.collect()));
        at_need.retain(|input| !always.contains(input));
        ByValue { always, at_need }
    }

    /// Whether a plan may be for the value of this input.
    pub fn may_be(&self, input: &str) -> bool {
        self.always.contains(input) || self.at_need.contains(input)
    }
}

/// The inputs of a node that tract takes as constants only, or better so.
fn needed(node: &NodeProto) -> &'static [usize] {
    match node.standard() {
        "ConstantOfShape" | "If" | "BlackmanWindow" | "HammingWindow" | "HannWindow" => &[0],
        "AffineGrid" | "CenterCropPad" | "Compress" | "CumProd" | "CumSum" | "Expand"
        | "ReduceL1" | "ReduceL2" | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax"
        | "ReduceMean" | "ReduceMin" | "ReduceProd" | "ReduceSum" | "ReduceSumSquare"
        | "Reshape" | "Split" | "SplitToSequence" | "SequenceAt" | "Squeeze" | "Tile" | "TopK"
        | "Trilu" | "Unsqueeze" | "Upsample" => &[1],
        "Loop" => &[0, 1],
        "Col2Im" | "DFT" | "OneHot" => &[1, 2],
        "Range" => &[0, 1, 2],
        "Pad" | "Resize" | "STFT" => &[1, 2, 3],
        "Slice" | "BatchNormalization" | "MelWeightMatrix" => &[1, 2, 3, 4],
        "GRU" | "LSTM" | "RNN" => &[4],
        _ => &[],
    }
}

/// These values, and all that they are computed from. A shape is known without the value that has it.
fn sources<'n>(nodes: &[&'n NodeProto], of: Vec<&'n str>) -> HashSet<&'n str> {
    let made = nodes.iter().flat_map(|n| n.output.iter().map(move |o| (o.as_str(), *n)));
    let makers: HashMap<&str, &NodeProto> = made.collect();
    let (mut found, mut open) = (HashSet::new(), of);
    while let Some(value) = open.pop() {
        let maker = found.insert(value).then(|| makers.get(value)).flatten();
        let Some(node) = maker.filter(|n| !matches!(n.standard(), "Shape" | "Size")) else {
            continue;
        };
        open.extend(node.input.iter().map(String::as_str));
        open.extend(node.graphs().flat_map(|g| &g.output).map(|v| v.name()));
    }
    found
}
