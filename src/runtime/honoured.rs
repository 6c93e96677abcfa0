//! Which uses of an operator give the right numbers: every other one is refused by name.
//!
//! tract's builders read the attributes and inputs that they know and pass over the rest in silence. So a
//! node runs when [`TRACTS`], or the table of the recipe that computes it, has each of its attributes and
//! no fewer inputs and outputs than it has.
//!
//! ```text
//! operators@since : inputs -> outputs attributes
//! ```
//!
//! `*` is any number; one output goes without saying, and so does the standard domain. `axes` is honoured,
//! `axes<13` in opsets before 13, and `layout=0` may stand with this value, or one after a `|`. A node may
//! leave every attribute out: what that means, builders know.

use super::{
    composite::{Recipe, TRACT},
    recipes,
};
use crate::proto::{AttributeProto, NodeProto, attribute_proto::AttributeType};
use std::{collections::HashMap, sync::LazyLock};

/// tract's own operators, as it and `mend` build them.
const TRACTS: &str = "
    Abs Acos Acosh Asin Asinh Atan Atanh BitwiseNot Ceil Cos Cosh Erf Exp Floor GlobalAveragePool : 1
    GlobalMaxPool HardSwish Identity IsNaN Log Mish Neg NonZero Not Reciprocal Relu Round Sigmoid : 1
    Sign Sin Sinh Size Softplus Softsign Sqrt Tan Tanh : 1
    Add And BitwiseAnd BitwiseOr BitwiseXor Div Equal Expand Greater GreaterOrEqual Less : 2
    LessOrEqual MatMul Mul Or PRelu Pow Sub Tile Xor : 2
    Where : 3
    Max Mean Min Sum : *
    ArgMax ArgMin : 1 axis keepdims select_last_index
    AveragePool : 1 auto_pad ceil_mode count_include_pad dilations kernel_shape pads strides
    BlackmanWindow HammingWindow HannWindow : 1 output_datatype periodic
    Cast : 1 round_mode saturate to
    CastLike : 2 round_mode saturate
    Clip : 3 max<11 min<11
    Concat : * axis
    ConstantOfShape : 1 value
    Conv : 3 auto_pad dilations group kernel_shape pads strides
    ConvInteger : 4 auto_pad dilations group kernel_shape pads strides
    ConvTranspose : 3 auto_pad dilations group kernel_shape output_padding output_shape pads strides
    CumSum : 2 exclusive reverse
    DFT : 3 axis<20 inverse onesided
    DepthToSpace : 1 blocksize mode
    Dropout : 3 -> 2 ratio<12 seed
    DynamicQuantizeLinear : 1 -> 3
    Elu LeakyRelu ThresholdedRelu : 1 alpha
    EyeLike : 1 dtype k
    Flatten : 1 axis
    GRU : 6 -> 2 direction=forward|bidirectional hidden_size layout linear_before_reset
    Gather GatherElements : 2 axis
    Gelu : 1 approximate
    GridSample : 2 align_corners mode padding_mode
    GroupNormalization : 3 epsilon num_groups stash_type=1
    HardSigmoid : 1 alpha beta
    Hardmax Softmax : 1 axis
    InstanceNormalization : 3 epsilon
    IsInf : 1 detect_negative detect_positive
    LRN : 1 alpha beta bias size
    LSTM : 8 -> 3 direction=forward|bidirectional hidden_size input_forget=0 layout
    LayerNormalization : 3 -> 3 axis epsilon stash_type
    LpNormalization : 1 axis p
    MatMulInteger : 4
    MaxPool : 1 -> 2 auto_pad ceil_mode dilations kernel_shape pads storage_order strides
    MeanVarianceNormalization : 1 axes
    MelWeightMatrix : 5 output_datatype
    Mod : 2 fmod
    Multinomial : 1 dtype sample_size seed
    NonMaxSuppression : 5 center_point_box
    QLinearConv : 9 auto_pad dilations group kernel_shape pads strides
    QLinearMatMul : 8
    RMSNormalization : 2 axis epsilon stash_type=1
    RNN : 6 -> 2 direction=forward|bidirectional hidden_size layout
    RandomNormal : 0 dtype mean scale seed shape
    RandomNormalLike : 1 dtype mean scale seed
    RandomUniform : 0 dtype high low seed shape
    RandomUniformLike : 1 dtype high low seed
    Range : 3 stash_type=1
    ReduceL1 ReduceL2 ReduceLogSum ReduceProd ReduceSumSquare : 2 axes<18 keepdims noop_with_empty_axes
    Reshape : 2 allowzero
    Resize@11 : 4 antialias axes coordinate_transformation_mode cubic_coeff_a exclude_outside
        extrapolation_value keep_aspect_ratio_policy mode nearest_mode
    RotaryEmbedding : 4 interleaved num_heads rotary_embedding_dim
    STFT : 4 onesided
    Scatter ScatterElements : 3 axis reduction
    Selu : 1 alpha gamma
    Shape : 1 end start
    Shrink : 1 bias lambd
    SimplifiedLayerNormalization : 2 -> 2 axis epsilon stash_type=1
    SpaceToDepth : 1 blocksize mode=DCR
    Split : 2 -> * axis num_outputs split<13
    Squeeze Unsqueeze : 2 axes<13
    TopK@10 : 2 -> 2 axis largest sorted
    Transpose : 1 perm
    Trilu : 2 upper
    ai.onnx.ml.ArrayFeatureExtractor : 2
    ai.onnx.ml.LinearRegressor : 1 coefficients intercepts post_transform targets
    ai.onnx.ml.Normalizer : 1 norm
    bitonnx.BitLinear : 3 eps in_features
    com.microsoft.BiasGelu com.microsoft.FastGelu : 2
    com.microsoft.Gelu : 1
    com.microsoft.QuickGelu : 1 alpha
    com.microsoft.SimplifiedLayerNormalization : 2 -> 2 axis epsilon stash_type=1
";

/// Operators that hold graphs, which the walk enters.
const GRAPHS: &str = "
    If : 1 -> * else_branch then_branch
    Loop : * -> * body
    Scan@9 : * -> * body num_scan_inputs scan_input_axes scan_input_directions scan_output_axes
        scan_output_directions
";

/// What computes a node.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    Tract,
    Graphs,
    Recipe(Recipe),
}

/// What computes this node; an error that says why nothing does.
pub(super) fn way(node: &NodeProto, opset: i64) -> Result<Way, String> {
    if node.domain() == TRACT {
        return Ok(Way::Tract);
    }
    let (honoured, way) = TABLE
        .get(&*node.operator().to_string())
        .ok_or_else(|| format!("tract has no operator {}", node.operator()))?;
    honoured.check(node, opset)?;
    Ok(*way)
}

/// One operator, or several alike.
#[derive(Debug, Clone)]
struct Honoured {
    since: i64,
    inputs: usize,
    outputs: usize,
    attributes: Vec<Attribute>,
}

#[derive(Debug, Clone)]
struct Attribute {
    name: &'static str,
    /// The first opset that has it no more.
    before: Option<i64>,
    /// The only values that it may have.
    values: Option<&'static str>,
}

static TABLE: LazyLock<HashMap<&'static str, (Honoured, Way)>> = LazyLock::new(|| {
    let mut table = HashMap::new();
    let recipes = recipes::ALL.into_iter().flatten();
    let recipes = recipes.map(|(text, recipe)| (*text, Way::Recipe(*recipe)));
    for (text, way) in [(TRACTS, Way::Tract), (GRAPHS, Way::Graphs)].into_iter().chain(recipes) {
        for (names, honoured) in parse(text) {
            table.extend(names.into_iter().map(|name| (name, (honoured.clone(), way))));
        }
    }
    table
});

/// The entries of a table. An error in one is ours.
fn parse(text: &'static str) -> Vec<(Vec<&'static str>, Honoured)> {
    let mut entries: Vec<(Vec<&str>, Honoured)> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = match line.split_once(" : ") {
            Some((operators, rest)) => {
                let (operators, since) = operators.split_once('@').unwrap_or((operators, "0"));
                let mut words = rest.split_whitespace().peekable();
                let inputs = count(words.next());
                let outputs = words.next_if_eq(&"->").map_or(1, |_| count(words.next()));
                let since = since.parse().unwrap_or_else(|_| panic!("the opset in `{line}`"));
                let honoured = Honoured { since, inputs, outputs, attributes: Vec::new() };
                entries.push((operators.split_whitespace().collect(), honoured));
                words
            }
            None => line.split_whitespace().peekable(),
        };
        let (_, honoured) = entries.last_mut().unwrap_or_else(|| panic!("`{line}` is no entry"));
        honoured.attributes.extend(words.by_ref().map(Attribute::parse));
    }
    entries
}

fn count(word: Option<&str>) -> usize {
    match word {
        Some("*") => usize::MAX,
        word => word.and_then(|w| w.parse().ok()).unwrap_or_else(|| panic!("{word:?} is no count")),
    }
}

impl Honoured {
    fn check(&self, node: &NodeProto, opset: i64) -> Result<(), String> {
        if opset < self.since {
            return Err(format!("it is supported from opset {} on, not in {opset}", self.since));
        }
        for (what, values, most) in
            [("input", &node.input, self.inputs), ("output", &node.output, self.outputs)]
        {
            if let Some(extra) = (most..values.len()).find(|i| !values[*i].is_empty()) {
                return Err(format!("its {what} {extra} is not supported"));
            }
        }
        node.attribute.iter().try_for_each(|given| {
            let entry = self.attributes.iter().find(|a| a.name == given.name());
            let honoured = entry.is_some_and(|a| a.before.is_none_or(|before| opset < before));
            match entry.filter(|_| honoured) {
                None => Err(format!("its attribute {} is not supported", given.name())),
                Some(Attribute { values: Some(values), .. })
                    if values.split('|').all(|v| v != text(given)) =>
                {
                    Err(format!(
                        "its attribute {} = {} is not supported",
                        given.name(),
                        text(given)
                    ))
                }
                Some(_) => Ok(()),
            }
        })
    }
}

impl Attribute {
    fn parse(word: &'static str) -> Attribute {
        let (word, values) = word.split_once('=').map_or((word, None), |(w, v)| (w, Some(v)));
        let (name, before) = word.split_once('<').map_or((word, None), |(w, b)| (w, Some(b)));
        let before = before.map(|b| b.parse().unwrap_or_else(|_| panic!("the opset in `{word}`")));
        Attribute { name, before, values }
    }
}

/// The value of an attribute as the table spells it.
fn text(attribute: &AttributeProto) -> String {
    match attribute.r#type() {
        AttributeType::Int => attribute.i().to_string(),
        AttributeType::Float => attribute.f().to_string(),
        AttributeType::String => String::from_utf8_lossy(attribute.s()).into_owned(),
        other => other.as_str_name().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse_nodes;

    #[test]
    fn what_tract_runs_it_has_a_builder_for() {
        for (name, (_, way)) in &*TABLE {
            let builder = name.rsplit('.').next().unwrap_or(name);
            let has = crate::runtime::OPERATORS.op_register.0.contains_key(builder);
            assert!(has || !matches!(way, Way::Tract), "{name}");
        }
    }

    #[test]
    fn what_is_not_honoured_is_named() {
        let said = |text: &str, opset| way(&parse_nodes(text).unwrap()[0], opset).map(|_| ()).err();
        let refused = |text: &str, opset| said(text, opset).unwrap_or_default();
        assert_eq!(
            refused("y = Relu <gentle = 1> (x)", 17),
            "its attribute gentle is not supported"
        );
        assert_eq!(refused("y = Relu (x, z)", 17), "its input 1 is not supported");
        assert_eq!(
            refused("y, m, v, z = LayerNormalization (x, g)", 17),
            "its output 3 is not supported"
        );
        let lstm = "y = LSTM <direction = \"reverse\", hidden_size = 2> (x, w, r)";
        assert_eq!(refused(lstm, 14), "its attribute direction = reverse is not supported");
        assert_eq!(said("y = LSTM <direction = \"bidirectional\"> (x, w, r)", 14), None);
        assert_eq!(said("y = Squeeze <axes = [0]> (x)", 11), None);
        assert_eq!(
            refused("y = Squeeze <axes = [0]> (x)", 13),
            "its attribute axes is not supported"
        );
        assert_eq!(
            refused("y = Resize (x, scales)", 10),
            "it is supported from opset 11 on, not in 10"
        );
        assert_eq!(refused("y = ai.example.Relu (x)", 17), "tract has no operator ai.example.Relu");
    }
}
