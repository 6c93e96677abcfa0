//! Inputs made up for `run --random`: the same for the same seed, and such as a model can take.

use bitonnx::{
    Error, ErrorKind, Result,
    graph::facts,
    npz::Array,
    proto::{self, ModelProto, NodeProto},
    runtime::{Dim, Value},
};
use half::f16;
use ndarray::{ArrayD, IxDyn};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    f64::consts::TAU,
};

/// What the graph says of its inputs.
pub struct Limits {
    /// Rows of the smallest table that each input indexes.
    rows: HashMap<String, u64>,
    /// Inputs that the model has a value for.
    given: HashSet<String>,
}

impl Limits {
    /// Follows each input to the embedding tables that it indexes.
    pub fn of(model: &ModelProto) -> Self {
        let graphs = proto::graphs(model);
        let tensors = graphs.iter().flat_map(|g| &g.initializer);
        let stored: HashMap<&str, u64> = tensors
            .filter_map(|t| Some((t.name(), u64::try_from(*t.dims.first()?).ok()?)))
            .collect();
        let nodes = || graphs.iter().flat_map(|g| &g.node);
        let passing: HashMap<&str, &str> = nodes().filter_map(passes).collect();
        let origin = |value| {
            // Broken models may go round in circles.
            let mut origin: &str = value;
            for _ in 0..passing.len() {
                let Some(before) = passing.get(origin) else { break };
                origin = before;
            }
            origin
        };
        let mut rows: HashMap<String, u64> = HashMap::new();
        for lookup in nodes().flat_map(facts::lookups).filter(|lookup| lookup.axis == 0) {
            let Some(&size) = stored.get(origin(lookup.table)) else { continue };
            let least = rows.entry(origin(lookup.index).to_owned()).or_insert(size);
            *least = size.min(*least);
        }
        let given = model.graph.iter().flat_map(|g| &g.initializer).map(|t| t.name().to_owned());
        Limits { rows, given: given.collect() }
    }

    /// Whether the model has a value for an input, which may thus be left out.
    pub fn stored(&self, input: &str) -> bool {
        self.given.contains(input)
    }
}

/// The output and input of a node that changes no value's meaning.
fn passes(node: &NodeProto) -> Option<(&str, &str)> {
    if facts::passes(node) || node.is("DequantizeLinear") {
        Some((node.output.first()?, node.input.first()?))
    } else {
        None
    }
}

/// An array for each of these inputs.
pub fn inputs(
    wanted: &[&Value],
    limits: &Limits,
    dims: &[(String, usize)],
    seed: u64,
) -> Result<BTreeMap<String, Array>> {
    let shapes = shapes(wanted, dims)?;
    // Where a mask is longer than the positions, what comes before them is the past.
    let longest = |word: &str| {
        let named = wanted.iter().zip(&shapes).filter(|(v, _)| v.name.contains(word));
        named.filter_map(|(_, shape)| shape.last()).max().copied()
    };
    let past =
        longest("mask").zip(longest("position")).map_or(0, |(all, new)| all.saturating_sub(new));
    wanted
        .iter()
        .zip(&shapes)
        .map(|(value, shape)| {
            let content = content(value, shape, limits, past);
            Ok((value.name.clone(), array(value, shape, content, seed)?))
        })
        .collect()
}

/// What an input is filled with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    /// Masks and flags.
    Ones,
    /// `from`, `from + 1`, … along the last axis.
    Positions { from: usize, axis: usize },
    /// Uniform below this.
    Ids(u64),
    /// Mean 0, variance 1.
    Normal,
}

fn content(value: &Value, shape: &[usize], limits: &Limits, past: usize) -> Content {
    if value.dtype == "bool" || value.name.contains("mask") {
        Content::Ones
    } else if value.dtype.starts_with("float") {
        Content::Normal
    } else if value.name.contains("position") {
        Content::Positions { from: past, axis: shape.last().map_or(1, |n| *n) }
    } else {
        // 0 and 1 exist in every table that has a use.
        Content::Ids(limits.rows.get(&value.name).map_or(2, |rows| *rows))
    }
}

/// The shapes of the values, or which sizes are missing.
fn shapes(values: &[&Value], dims: &[(String, usize)]) -> Result<Vec<Vec<usize>>> {
    let mut sizes: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, size) in dims {
        if sizes.insert(name, *size).is_some_and(|other| other != *size) {
            return Err(Error::new(
                ErrorKind::InvalidOption,
                format!("--dim {name} is given twice"),
                "its sizes differ",
                "give it once",
            ));
        }
    }
    let known = open(values);
    if let Some(unknown) = sizes.keys().find(|name| !known.contains(**name)) {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("--dim {unknown} is of no use"),
            match known.is_empty() {
                true => "every dimension of the model's inputs has a fixed size".to_owned(),
                false => format!("the model's dimensions are {}", listed(&known)),
            },
            "leave it out, or correct its name",
        ));
    }
    let missing: BTreeSet<String> =
        known.into_iter().filter(|name| !sizes.contains_key(name.as_str())).collect();
    if !missing.is_empty() {
        let example = missing.iter().map(|name| format!("--dim '{name}={}'", example(name)));
        return Err(Error::new(
            ErrorKind::InvalidOption,
            "random inputs need sizes for the model's dimensions",
            format!("the model leaves open {}", listed(&missing)),
            example.collect::<Vec<_>>().join(" "),
        ));
    }
    values.iter().map(|value| shape(value, &sizes)).collect()
}

fn listed(names: &BTreeSet<String>) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn shape(value: &Value, sizes: &BTreeMap<&str, usize>) -> Result<Vec<usize>> {
    let Some(dims) = &value.dims else {
        return Err(Error::new(
            ErrorKind::InvalidOption,
            format!("input `{}` can't be made up", value.name),
            "the model does not say how many axes it has",
            "give the inputs with --input FILE.npz",
        ));
    };
    let size = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(size) => *size,
        Dim::Named(name) => terms(name)
            .map(|term| term.parse().unwrap_or_else(|_| sizes[term]))
            .fold(0, usize::saturating_add),
        Dim::Any => sizes[position(value, axis).as_str()],
    };
    Ok(dims.iter().enumerate().map(size).collect())
}

/// The names of what the shapes of these values leave open.
pub fn open(values: &[&Value]) -> BTreeSet<String> {
    values.iter().flat_map(|v| names(v)).collect()
}

/// The names of what a value's shape leaves open.
fn names(value: &Value) -> Vec<String> {
    let dims = value.dims.iter().flatten().enumerate();
    dims.flat_map(|(axis, dim)| match dim {
        Dim::Fixed(_) => Vec::new(),
        Dim::Named(name) => {
            terms(name).filter(|t| t.parse::<usize>().is_err()).map(str::to_owned).collect()
        }
        Dim::Any => vec![position(value, axis)],
    })
    .collect()
}

/// Exporters name a dimension `past + seq` where it is the sum of two others.
fn terms(name: &str) -> impl Iterator<Item = &str> {
    name.split(" + ").map(str::trim)
}

/// What to call a dimension that has no name.
fn position(value: &Value, axis: usize) -> String {
    format!("{}.{axis}", value.name)
}

/// A size that a dimension of this name may have.
pub fn example(name: &str) -> usize {
    if name.contains("batch") {
        1
    } else if name.contains("past") {
        0
    } else {
        16
    }
}

fn array(value: &Value, shape: &[usize], content: Content, seed: u64) -> Result<Array> {
    let mut source = Source::new(seed, &value.name);
    let mut numbers = (0..).map(|index| source.number(content, index));
    Ok(match value.dtype {
        "bool" => filled(value, shape, || numbers.next().map(|v| v != 0.0))?,
        "int8" => filled(value, shape, || numbers.next().map(|v| v as i8))?,
        "int16" => filled(value, shape, || numbers.next().map(|v| v as i16))?,
        "int32" => filled(value, shape, || numbers.next().map(|v| v as i32))?,
        "int64" => filled(value, shape, || numbers.next().map(|v| v as i64))?,
        "uint8" => filled(value, shape, || numbers.next().map(|v| v as u8))?,
        "uint16" => filled(value, shape, || numbers.next().map(|v| v as u16))?,
        "uint32" => filled(value, shape, || numbers.next().map(|v| v as u32))?,
        "uint64" => filled(value, shape, || numbers.next().map(|v| v as u64))?,
        "float16" => filled(value, shape, || numbers.next().map(f16::from_f64))?,
        "float64" => filled(value, shape, || numbers.next())?,
        _ => filled(value, shape, || numbers.next().map(|v| v as f32))?,
    })
}

fn filled<T>(value: &Value, shape: &[usize], next: impl FnMut() -> Option<T>) -> Result<Array>
where
    Array: From<ArrayD<T>>,
{
    let too_large = || {
        Error::new(
            ErrorKind::InvalidOption,
            format!("input `{}` can't be made up", value.name),
            format!("an array of shape {shape:?} does not fit into memory"),
            "give its dimensions smaller sizes",
        )
    };
    let count =
        shape.iter().try_fold(1usize, |n, size| n.checked_mul(*size)).ok_or_else(too_large)?;
    let mut elements = Vec::new();
    elements.try_reserve_exact(count).map_err(|_| too_large())?;
    elements.extend(std::iter::from_fn(next).take(count));
    let array = ArrayD::from_shape_vec(IxDyn(shape), elements).map_err(|_| too_large())?;
    Ok(Array::from(array))
}

/// Random numbers (SplitMix64: Steele, Lea and Flood, 2014).
struct Source(u64);

impl Source {
    /// Each input has its own, whatever the order.
    fn new(seed: u64, name: &str) -> Self {
        let mut source = Source(seed);
        for byte in name.bytes() {
            source.0 = source.next() ^ u64::from(byte);
        }
        source
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1].
    fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Element `index` of an array.
    fn number(&mut self, content: Content, index: usize) -> f64 {
        match content {
            Content::Ones => 1.0,
            Content::Positions { from, axis } => (from + index % axis.max(1)) as f64,
            Content::Ids(below) => (self.next() % below.max(1)) as f64,
            // Box and Muller, 1958.
            Content::Normal => (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos(),
        }
    }
}
