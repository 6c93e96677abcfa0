//! Trained tensors, back into the model that they were trained in.
//!
//! They come in a safetensors file (<https://github.com/huggingface/safetensors>, "Format"), keyed by the
//! names of the model's initializers, and stay slices of it: nothing is copied or converted.

use super::manifest::{Manifest, can_train};
use crate::{
    error::{Error, ErrorKind, Result},
    proto::{
        ModelProto, TensorProto, element_count, graphs, raw_bytes, stand_in,
        tensor_proto::DataType, type_name,
    },
};
use bytes::Bytes;
use safetensors::{Dtype, SafeTensors};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A model with trained tensors in it, and which ones.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Imported {
    /// The model; everything but these initializers is as it was.
    pub model: ModelProto,
    /// The initializers that have the file's data now, by name.
    pub imported: Vec<String>,
    /// Those that training does not change, and that are in the file as they are in the model.
    pub frozen: Vec<String>,
    /// Those that the file lacks, in the model's order. They keep their data.
    pub missing: Vec<String>,
    /// Bytes of the imported tensors' elements.
    pub bytes: u64,
}

/// Puts the tensors of a safetensors file into a model's initializers of the same names, in the main
/// graph and in those nested in it.
///
/// The file should hold the manifest's trainable initializers; without a manifest, every float initializer
/// of more than one element. Others may be in it if they are equal to the model's to the bit. `weights`
/// is the whole file; the model's tensors become slices of it.
///
/// An error where the file is no safetensors file; where it has a name that the model has not, or, unless
/// `partial`, lacks one; where a shape or an element type differs from the initializer's; where a frozen
/// tensor was changed; where several initializers of a name differ from each other; where a value is a NaN or
/// an infinity that the model has not; where the manifest is not this model's.
pub fn import_weights(
    mut model: ModelProto,
    weights: &Bytes,
    manifest: Option<&Manifest>,
    partial: bool,
) -> Result<Imported> {
    let mut tensors = read(weights)?;
    let initializers = initializers(&model);
    let trainable = match manifest {
        Some(manifest) => trainable(manifest, &initializers)?,
        None => floats(&model),
    };
    check_names(&tensors, &initializers)?;
    let missing: Vec<String> = trainable
        .iter()
        .filter(|name| !tensors.contains_key(**name))
        .map(|n| (*n).into())
        .collect();
    if !missing.is_empty() && !partial {
        return Err(lacking(&missing, manifest.is_some()));
    }

    let trainable: BTreeSet<&str> = trainable.into_iter().collect();
    let (trained, frozen): (Vec<_>, Vec<_>) =
        tensors.iter().partition(|(name, _)| trainable.contains(name.as_str()));
    let stored = |name: &str| initializers[name].iter().copied();
    let misfits: Vec<_> = tensors
        .iter()
        .flat_map(|(name, tensor)| stored(name).map(move |of| (name, tensor, of)))
        .filter(|(_, tensor, of)| !tensor.fits(of))
        .collect();
    if let Some((name, tensor, of)) = misfits.first() {
        return Err(misfit(name, tensor, of, misfits.len() - 1));
    }
    for (name, tensor) in &frozen {
        if stored(name).any(|of| raw_bytes(of).as_deref() != Some(&tensor.data)) {
            return Err(thawed(name));
        }
    }
    for (name, tensor) in &trained {
        let of = &initializers[name.as_str()];
        if of.windows(2).any(|pair| raw_bytes(pair[0]) != raw_bytes(pair[1])) {
            return Err(ambiguous(name, of.len()));
        }
        if let Some((index, value, more)) = tensor.diverged(of[0]) {
            return Err(diverged(name, &index, value, more));
        }
    }

    let names = |of: Vec<(&String, &Tensor)>| of.into_iter().map(|(n, _)| n.clone()).collect();
    let bytes = trained.iter().map(|(_, tensor)| tensor.data.len() as u64).sum();
    let (imported, frozen): (Vec<String>, Vec<String>) = (names(trained), names(frozen));
    tensors.retain(|name, _| imported.binary_search(name).is_ok());
    initializers_mut(&mut model, |initializer| {
        if let Some(tensor) = tensors.get(initializer.name()) {
            put(initializer, tensor.data.clone());
        }
    });
    Ok(Imported { model, imported, frozen, missing, bytes })
}

/// A tensor of the file.
#[derive(Debug)]
struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    /// Little-endian and row-major, as in ONNX's raw data.
    data: Bytes,
}

impl Tensor {
    fn fits(&self, initializer: &TensorProto) -> bool {
        let same_type = onnx_type(self.dtype).is_some_and(|t| t as i32 == initializer.data_type());
        let dims = self.shape.iter().map(|&d| i64::try_from(d).ok());
        same_type && dims.eq(initializer.dims.iter().map(|&d| Some(d)))
    }

    /// The first element that is no finite number and was another in the model, and how many follow: its index
    /// and what it is.
    fn diverged(&self, before: &TensorProto) -> Option<(Vec<usize>, &'static str, usize)> {
        // A complex number has two parts, each of which counts.
        let parts = if self.dtype == Dtype::C64 { 2 } else { 1 };
        let size = self.dtype.bitsize() / 8 / parts;
        let before = raw_bytes(before).unwrap_or_default();
        let elements = self.data.chunks_exact(size).enumerate();
        let new = elements.filter(|(i, e)| before.get(i * size..(i + 1) * size) != Some(*e));
        let mut found = new.filter_map(|(i, e)| Some((i / parts, infinite(self.dtype, e)?)));
        let (mut position, value) = found.next()?;
        let mut index = vec![0; self.shape.len()];
        for (i, &d) in index.iter_mut().zip(&self.shape).rev() {
            (*i, position) = (position % d, position / d);
        }
        Some((index, value, found.count()))
    }
}

/// What a little-endian element is, where it is no finite number.
fn infinite(dtype: Dtype, element: &[u8]) -> Option<&'static str> {
    let bits = element.iter().rev().fold(0, |bits: u64, &byte| bits << 8 | u64::from(byte));
    // An infinity has every bit of the exponent set and no other but the sign, a NaN others too.
    let (sign, exponent) = match dtype {
        Dtype::F64 => (1 << 63, 0x7ff << 52),
        Dtype::F32 | Dtype::C64 => (1 << 31, 0xff << 23),
        Dtype::F16 => (1 << 15, 0x1f << 10),
        Dtype::BF16 => (1 << 15, 0xff << 7),
        Dtype::F8_E5M2 => (1 << 7, 0x1f << 2),
        // These have no infinity, and few NaNs.
        Dtype::F8_E4M3 => return (bits & 0x7f == 0x7f).then_some("NaN"),
        Dtype::F8_E8M0 => return (bits == 0xff).then_some("NaN"),
        Dtype::F8_E4M3FNUZ | Dtype::F8_E5M2FNUZ => return (bits == 0x80).then_some("NaN"),
        _ => return None,
    };
    match bits {
        _ if bits & exponent != exponent => None,
        _ if bits == exponent => Some("inf"),
        _ if bits == exponent | sign => Some("-inf"),
        _ => Some("NaN"),
    }
}

/// The file's tensors by name.
fn read(weights: &Bytes) -> Result<BTreeMap<String, Tensor>> {
    let saved = "write it with safetensors.torch.save_file, and copy it whole";
    let invalid = |why: String, hint: &str| {
        Error::new(ErrorKind::InvalidFile, "this is not a safetensors file", why, hint)
    };
    if let Some(found) = stand_in(weights) {
        return Err(invalid(format!("it is {}", found.is), found.hint));
    }
    if weights.starts_with(b"PK\x03\x04") {
        let why = "it is a zip archive, as torch.save and numpy.savez write them";
        return Err(invalid(why.into(), saved));
    }
    let (header, metadata) = SafeTensors::read_metadata(weights)
        .map_err(|e| invalid(shortened(&e.to_string()), saved))?;
    // Before the header is its length, in eight bytes.
    let begin = header + 8;
    let mut tensors = BTreeMap::new();
    for (name, info) in metadata.tensors() {
        let (from, to) = info.data_offsets;
        let data = weights.slice(begin + from..begin + to);
        tensors.insert(name, Tensor { dtype: info.dtype, shape: info.shape.clone(), data });
    }
    if tensors.is_empty() {
        let (what, why) = ("nothing to import", "the file holds no tensor");
        return Err(Error::new(ErrorKind::InvalidFile, what, why, saved));
    }
    Ok(tensors)
}

/// Every initializer by name: graphs that do not enclose each other may use the same.
fn initializers(model: &ModelProto) -> HashMap<&str, Vec<&TensorProto>> {
    let mut found: HashMap<&str, Vec<&TensorProto>> = HashMap::new();
    for tensor in graphs(model).into_iter().flat_map(|graph| &graph.initializer) {
        found.entry(tensor.name()).or_default().push(tensor);
    }
    found
}

/// Calls `visit` with the initializers of the main graph and of those nested in it.
fn initializers_mut(model: &mut ModelProto, mut visit: impl FnMut(&mut TensorProto)) {
    if let Some(graph) = &mut model.graph {
        graph.each_mut(&mut |graph| graph.initializer.iter_mut().for_each(&mut visit));
    }
}

/// The names of the manifest's trainable initializers, each of which the model must have.
fn trainable<'m>(
    manifest: &'m Manifest,
    initializers: &HashMap<&str, Vec<&TensorProto>>,
) -> Result<Vec<&'m str>> {
    let other = |why: String| {
        let hint =
            "keep the manifest that was made with the QAT file, beside it and under its name";
        Err(Error::new(ErrorKind::InvalidFile, "the manifest is not this model's", why, hint))
    };
    if manifest.version != 1 {
        return other(format!("its version is {}, and this bitonnx reads 1", manifest.version));
    }
    for entry in &manifest.initializers {
        let name = quoted(&entry.name);
        let Some(stored) = initializers.get(entry.name.as_str()) else {
            return other(format!("it lists {name}, and the model has no such initializer"));
        };
        let fits =
            |t: &&TensorProto| t.dims == entry.shape && type_name(t.data_type()) == entry.dtype;
        if !stored.iter().any(fits) {
            let (listed, found) = (typed(&entry.dtype, &entry.shape), of_initializer(stored[0]));
            return other(format!("it lists {name} as {listed}, and the model has {found}"));
        }
    }
    let trained = manifest.initializers.iter().filter(|entry| entry.trainable);
    Ok(unique(trained.map(|entry| entry.name.as_str())))
}

/// The names of the float initializers of more than one element.
fn floats(model: &ModelProto) -> Vec<&str> {
    let all = graphs(model).into_iter().flat_map(|graph| &graph.initializer);
    unique(all.filter(|tensor| can_train(tensor)).map(|tensor| tensor.name()))
}

/// Each name once, where it is first.
fn unique<'n>(names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut known = BTreeSet::new();
    names.filter(|name| known.insert(*name)).collect()
}

fn put(initializer: &mut TensorProto, data: Bytes) {
    *initializer = TensorProto {
        dims: std::mem::take(&mut initializer.dims),
        data_type: initializer.data_type,
        name: initializer.name.take(),
        doc_string: initializer.doc_string.take(),
        metadata_props: std::mem::take(&mut initializer.metadata_props),
        raw_data: Some(data),
        ..TensorProto::default()
    };
}

fn check_names(
    tensors: &BTreeMap<String, Tensor>,
    initializers: &HashMap<&str, Vec<&TensorProto>>,
) -> Result<()> {
    let names = tensors.keys().map(String::as_str);
    let extra: Vec<&str> = names.filter(|name| !initializers.contains_key(name)).collect();
    if extra.is_empty() {
        return Ok(());
    }
    let of = match extra.len() {
        1 => "a tensor that the model has not".into(),
        count => format!("{count} tensors that the model has not"),
    };
    Err(Error::new(
        ErrorKind::InvalidInput,
        format!("there {} {of}", if extra.len() == 1 { "is" } else { "are" }),
        format!("no initializer is called {}", listed(&extra)),
        "name tensors as the manifest of the QAT file names its initializers, and import them into that file",
    ))
}

fn lacking(missing: &[String], manifest: bool) -> Error {
    let names: Vec<&str> = missing.iter().map(String::as_str).collect();
    let why = match manifest {
        true => "the manifest says to train",
        false => {
            "without a manifest, every float initializer of more than one element is expected:"
        }
    };
    Error::new(
        ErrorKind::MissingTensors,
        format!("{} missing", if let [_] = names[..] { "a tensor is" } else { "tensors are" }),
        format!("{why} {}", listed(&names)),
        "save every trained tensor under its initializer's name, or keep the model's data of the others",
    )
}

fn misfit(name: &str, tensor: &Tensor, of: &TensorProto, more: usize) -> Error {
    let more = match more {
        0 => String::new(),
        more => format!(", nor do {more} more"),
    };
    Error::new(
        ErrorKind::InvalidInput,
        format!("{} does not fit the model{more}", quoted(name)),
        format!("the tensor is {}, the initializer {}", of_tensor(tensor), of_initializer(of)),
        match conversion(tensor, of) {
            Some(call) => {
                let name = quoted(name);
                let name = name.trim_matches('`');
                format!("convert it in Python: tensors[\"{name}\"] = tensors[\"{name}\"]{call}")
            }
            None => "import what was trained from this very file".into(),
        },
    )
}

/// What makes an initializer's shape and type of a PyTorch tensor, if anything does.
fn conversion(tensor: &Tensor, of: &TensorProto) -> Option<String> {
    let dims: Vec<usize> =
        of.dims.iter().map(|&d| usize::try_from(d).ok()).collect::<Option<_>>()?;
    let mut call = String::new();
    if dims != tensor.shape {
        match (&dims[..], &tensor.shape[..]) {
            ([a, b], [c, d]) if (a, b) == (d, c) => call.push_str(".t().contiguous()"),
            _ if element_count(of)? == tensor.shape.iter().product::<usize>() => {
                call.push_str(&format!(".reshape({dims:?})"));
            }
            _ => return None,
        }
    }
    if onnx_type(tensor.dtype).is_none_or(|t| t as i32 != of.data_type()) {
        let to = match DataType::try_from(of.data_type()).ok()? {
            DataType::Float => "float32",
            DataType::Double => "float64",
            DataType::Float16 => "float16",
            DataType::Bfloat16 => "bfloat16",
            DataType::Int64 => "int64",
            DataType::Int32 => "int32",
            DataType::Bool => "bool",
            _ => return None,
        };
        call.push_str(&format!(".to(torch.{to})"));
    }
    Some(call)
}

fn thawed(name: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("{} is frozen, and was changed", quoted(name)),
        "training may not change this initializer, and its data differ from the model's",
        "leave it out of the file, or make the QAT file such that it is trained",
    )
}

fn diverged(name: &str, index: &[usize], value: &str, more: usize) -> Error {
    let more = match more {
        0 => String::new(),
        more => format!(", and {more} more are no finite numbers"),
    };
    Error::new(
        ErrorKind::InvalidInput,
        format!("{} is not finite", quoted(name)),
        format!("its value at {index:?} is {value}{more}"),
        "import a checkpoint from before training diverged, or train again at a lower rate",
    )
}

fn ambiguous(name: &str, count: usize) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("{} names {count} initializers", quoted(name)),
        "they are in different graphs and their data differ, so that one tensor can't be both",
        "leave it out of the file, and keep the model's data of the others",
    )
}

fn onnx_type(dtype: Dtype) -> Option<DataType> {
    Some(match dtype {
        Dtype::BOOL => DataType::Bool,
        Dtype::U8 => DataType::Uint8,
        Dtype::I8 => DataType::Int8,
        Dtype::F8_E5M2 => DataType::Float8e5m2,
        Dtype::F8_E4M3 => DataType::Float8e4m3fn,
        Dtype::F8_E8M0 => DataType::Float8e8m0,
        Dtype::F8_E4M3FNUZ => DataType::Float8e4m3fnuz,
        Dtype::F8_E5M2FNUZ => DataType::Float8e5m2fnuz,
        Dtype::I16 => DataType::Int16,
        Dtype::U16 => DataType::Uint16,
        Dtype::F16 => DataType::Float16,
        Dtype::BF16 => DataType::Bfloat16,
        Dtype::I32 => DataType::Int32,
        Dtype::U32 => DataType::Uint32,
        Dtype::F32 => DataType::Float,
        Dtype::C64 => DataType::Complex64,
        Dtype::F64 => DataType::Double,
        Dtype::I64 => DataType::Int64,
        Dtype::U64 => DataType::Uint64,
        // Those of less than a byte, which ONNX packs in ways of its own.
        _ => return None,
    })
}

fn of_tensor(tensor: &Tensor) -> String {
    let dtype = match onnx_type(tensor.dtype) {
        Some(known) => type_name(known as i32),
        None => tensor.dtype.to_string(),
    };
    typed(&dtype, &tensor.shape)
}

fn of_initializer(tensor: &TensorProto) -> String {
    typed(&type_name(tensor.data_type()), &tensor.dims)
}

/// `float[64, 192]`, and `float` for a scalar.
fn typed(dtype: &str, dims: &[impl std::fmt::Debug]) -> String {
    match dims {
        [] => dtype.to_owned(),
        dims => shortened(&format!("{dtype}{dims:?}")),
    }
}

/// How many names an error has room for.
const NAMED: usize = 3;

/// A few of the names, and how many more there are.
fn listed(names: &[&str]) -> String {
    let named: Vec<String> = names.iter().take(NAMED).map(|name| quoted(name)).collect();
    match (names.len().saturating_sub(NAMED), &named[..]) {
        (0, [before @ .., last]) if !before.is_empty() => {
            format!("{} and {last}", before.join(", "))
        }
        (0, _) => named.concat(),
        (more, _) => format!("{} and {more} more", named.join(", ")),
    }
}

/// A name that may be anything, as part of a sentence.
fn quoted(name: &str) -> String {
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.into() };
    format!("`{}`", shortened(&name.chars().map(plain).collect::<String>()))
}

/// The beginning of a text that someone else may have made long.
fn shortened(text: &str) -> String {
    const ROOM: usize = 300;
    match text.char_indices().nth(ROOM) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
