//! From protos to text.

use super::{
    data::{self, Data, list},
    literal::float_literal,
    names::{attribute_type_name, distinct_name, is_bare, name, quoted, stored_type},
    table::{Row, Widths},
};
use crate::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    SparseTensorProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_shape_proto::dimension, type_name, type_proto,
};
use std::collections::HashMap;

/// How much a text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Everything the syntax holds, so that the text can be parsed back.
    Full,
    /// For people: tensors of more than so many literals as size and digest, long texts cut, no
    /// value types but those of inputs, outputs and, beside their nodes, inner values.
    Short {
        /// Literals of the largest tensor that is written out.
        literals: usize,
    },
}

impl Style {
    /// The short style of snapshots and `show`.
    pub const SHORT: Style = Style::Short { literals: LITERALS };
}

/// A model's text: header, graph, functions.
pub fn model(model: &ModelProto, style: Style) -> String {
    Printer::print(style, |printer| printer.model(model))
}

/// A graph's text, without a line break at its end.
pub fn graph(graph: &GraphProto, style: Style) -> String {
    Printer::print(style, |printer| printer.graph(graph, true))
}

/// A function's text, without a line break at its end.
pub fn function(function: &FunctionProto, style: Style) -> String {
    Printer::print(style, |printer| printer.function(function))
}

/// A node's text: one line unless it holds graphs, without a line break at its end.
pub fn node(node: &NodeProto, style: Style) -> String {
    Printer::print(style, |printer| printer.node(node))
}

/// An attribute's text, as it stands among a node's: `axes = [0, 1]`.
pub fn attribute(attribute: &AttributeProto, style: Style) -> String {
    Printer::print(style, |printer| printer.attribute(attribute))
}

/// A graph's name, inputs and outputs.
pub(super) fn signature(graph: &GraphProto, style: Style) -> String {
    Printer::print(style, |printer| printer.signature(graph))
}

/// The entries of a model's header, each a line of its own.
pub(super) fn model_header(model: &ModelProto, style: Style) -> Vec<String> {
    let text = |value: &Option<String>| value.as_deref().map(|value| style.text(value));
    let number = |value: Option<i64>| value.map(|value| value.to_string());
    // The syntax collects the entries of repeated keys.
    let props = model.metadata_props.iter().map(|prop| {
        let prop = format!("[{}: {}]", style.text(prop.key()), style.text(prop.value()));
        ("metadata_props", Some(prop))
    });
    let fields = [
        ("ir_version", number(model.ir_version)),
        ("opset_import", opset_import(&model.opset_import)),
        ("producer_name", text(&model.producer_name)),
        ("producer_version", text(&model.producer_version)),
        ("domain", text(&model.domain)),
        ("model_version", number(model.model_version)),
        ("doc_string", text(&model.doc_string)),
    ];
    entries(fields.into_iter().chain(props))
}

fn function_header(function: &FunctionProto, style: Style) -> Vec<String> {
    let text = |value: &Option<String>| value.as_deref().map(|value| style.text(value));
    entries([
        ("domain", text(&function.domain)),
        ("overload", text(&function.overload)),
        ("opset_import", opset_import(&function.opset_import)),
        ("doc_string", text(&function.doc_string)),
    ])
}

/// The entries of a header whose fields are set.
fn entries<'k>(fields: impl IntoIterator<Item = (&'k str, Option<String>)>) -> Vec<String> {
    let set = fields.into_iter().filter_map(|(key, value)| Some((key, value?)));
    set.map(|(key, value)| format!("{key}: {value}")).collect()
}

fn opset_import(imports: &[OperatorSetIdProto]) -> Option<String> {
    let mut text = String::new();
    list(&mut text, String::push_str, ["[", "]"], imports, |out, import| {
        out.push_str(&format!("{}: {}", quoted(import.domain()), import.version()));
    });
    (!imports.is_empty()).then_some(text)
}

impl Style {
    /// A text in quotes; in the short style on one line, and cut when it is long.
    fn text(self, text: &str) -> String {
        if self == Style::Full {
            return quoted(text);
        }
        let line = |text: &str| quoted(text).replace('\n', "\\n").replace('\r', "\\r");
        match text.char_indices().nth(TEXT) {
            None => line(text),
            Some((end, _)) => {
                let digest = data::digest(&blake3::hash(text.as_bytes()));
                format!("{} … {digest}", line(&text[..end]))
            }
        }
    }

    /// The text of bytes that should be UTF-8.
    fn bytes(self, bytes: &[u8]) -> String {
        self.text(&String::from_utf8_lossy(bytes))
    }
}

/// Literals of the largest tensor that [`Style::SHORT`] writes out.
pub(super) const LITERALS: usize = 8;
/// Characters of a text that the short style shows.
const TEXT: usize = 60;
/// A graph's inputs and outputs go on lines of their own where one line would be longer.
const WIDTH: usize = 100;

struct Printer {
    out: String,
    style: Style,
    /// How deep the present line is indented.
    indent: usize,
}

// Graphs and what holds them.
impl Printer {
    fn print(style: Style, what: impl FnOnce(&mut Self)) -> String {
        let mut printer = Printer { out: String::new(), style, indent: 0 };
        what(&mut printer);
        printer.out
    }

    fn model(&mut self, model: &ModelProto) {
        self.header(&model_header(model, self.style));
        if let Some(graph) = &model.graph {
            self.graph(graph, true);
            self.push("\n");
        }
        for function in &model.functions {
            self.push("\n");
            self.function(function);
            self.push("\n");
        }
    }

    fn header(&mut self, entries: &[String]) {
        if !entries.is_empty() {
            self.push(&format!("<\n  {}\n>\n", entries.join(",\n  ")));
        }
    }

    fn function(&mut self, function: &FunctionProto) {
        self.header(&function_header(function, self.style));
        self.push(&name(function.name()));
        self.push(" ");
        self.function_attributes(function);
        for (open, values) in [("(", &function.input), (" => (", &function.output)] {
            self.list([open, ")"], values, |printer, value| printer.push(&distinct_name(value)));
        }
        self.section(function.value_info.iter().map(value_text), ",");
        self.body(&function.node, |_| None);
    }

    /// Attributes without a default by name, then those with one.
    fn function_attributes(&mut self, function: &FunctionProto) {
        let style = self.style;
        let plain = function.attribute.iter().map(|attribute| name(attribute).into_owned());
        let defaults = function.attribute_proto.iter().map(|value| attribute(value, style));
        let attributes: Vec<_> = plain.chain(defaults).collect();
        if !attributes.is_empty() {
            self.list(["<", "> "], attributes, |printer, attribute| printer.push(&attribute));
        }
    }

    /// A graph; the outermost one has its tensors in columns and types beside its nodes.
    fn graph(&mut self, graph: &GraphProto, outermost: bool) {
        self.signature(graph);
        match self.style {
            Style::Full => {
                let tensors = graph.initializer.iter().map(stored_text);
                self.section(tensors.chain(graph.value_info.iter().map(value_text)), ",");
                self.body(&graph.node, |_| None);
            }
            Style::Short { literals } => {
                let tensors = graph.initializer.iter();
                let rows: Vec<_> = tensors.map(|tensor| Row::of(tensor, literals)).collect();
                let widths = if outermost { Widths::of(&rows) } else { Widths::default() };
                let stored = rows.iter().map(|row| row.text(widths));
                self.section(stored.chain(graph.sparse_initializer.iter().map(sparse_text)), "");
                let types = if outermost { value_types(graph) } else { HashMap::new() };
                self.body(&graph.node, |node| output_types(node, &types));
            }
        }
    }

    fn signature(&mut self, graph: &GraphProto) {
        let inputs: Vec<_> = graph.input.iter().map(value_text).collect();
        let outputs: Vec<_> = graph.output.iter().map(value_text).collect();
        let name = distinct_name(graph.name());
        let line = format!("{name} ({}) => ({})", inputs.join(", "), outputs.join(", "));
        if line.chars().count() <= WIDTH {
            return self.push(&line);
        }
        self.push(&name);
        self.block([" (", ")"], inputs, ",");
        self.push(" =>");
        self.block([" (", ")"], outputs, ",");
    }

    /// The part in `<` and `>` between a signature and the nodes, if it has anything in it.
    fn section(&mut self, items: impl Iterator<Item = String>, separator: &str) {
        let mut items = items.peekable();
        if items.peek().is_some() {
            self.block([" <", ">"], items, separator);
        }
    }

    /// Items in brackets, each on a line of its own.
    fn block(
        &mut self,
        [open, close]: [&str; 2],
        items: impl IntoIterator<Item = String>,
        separator: &str,
    ) {
        self.push(open);
        self.indent += 1;
        for (index, item) in items.into_iter().enumerate() {
            self.push(if index > 0 { separator } else { "" });
            self.line();
            self.push(&item);
        }
        self.indent -= 1;
        self.line();
        self.push(close);
    }

    fn body(&mut self, nodes: &[NodeProto], comment: impl Fn(&NodeProto) -> Option<String>) {
        self.push(" {");
        self.indent += 1;
        for node in nodes {
            self.line();
            self.node(node);
            if let Some(comment) = comment(node) {
                self.push(&format!("  # {comment}"));
            }
        }
        self.indent -= 1;
        self.line();
        self.push("}");
    }

    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    fn line(&mut self) {
        self.push("\n");
        self.out.extend(std::iter::repeat_n("  ", self.indent));
    }
}

// Nodes.
impl Printer {
    fn node(&mut self, node: &NodeProto) {
        if !node.name().is_empty() {
            self.push(&format!("[{}] ", name(node.name())));
        }
        self.names(["", if node.output.is_empty() { "= " } else { " = " }], &node.output);
        if !node.domain().is_empty() {
            self.push(&format!("{}.", dotted(node.domain())));
        }
        self.push(&name(node.op_type()));
        if !node.overload().is_empty() {
            self.push(&format!(":{}", name(node.overload())));
        }
        // Graphs go last, so that the inputs stay beside the operator.
        match (node.attribute.is_empty(), node.graphs().next().is_some()) {
            (true, _) => self.names(["(", ")"], &node.input),
            (false, true) => {
                self.names(["(", ")"], &node.input);
                self.attributes([" <", ">"], &node.attribute);
            }
            (false, false) => {
                self.attributes([" <", "> "], &node.attribute);
                self.names(["(", ")"], &node.input);
            }
        }
    }

    fn names(&mut self, brackets: [&str; 2], names: &[String]) {
        self.list(brackets, names, |printer, value| printer.push(&name(value)));
    }

    fn attributes(&mut self, brackets: [&str; 2], attributes: &[AttributeProto]) {
        self.list(brackets, attributes, Self::attribute);
    }

    /// `name = value`, with the type where the value does not tell it.
    fn attribute(&mut self, attribute: &AttributeProto) {
        let kind = attribute.kind();
        self.push(&name(attribute.name()));
        if kind != AttributeType::Undefined && !tells_type(attribute, kind) {
            self.push(&format!(": {}", attribute_type_name(kind)));
        }
        self.push(" = ");
        match attribute.ref_attr_name() {
            "" => self.attribute_value(attribute, kind),
            referred => self.push(&format!("@{}", name(referred))),
        }
    }

    fn attribute_value(&mut self, attribute: &AttributeProto, kind: AttributeType) {
        use AttributeType::*;
        let brackets = ["[", "]"];
        match kind {
            Float => self.float(&attribute.f()),
            Int => self.int(&attribute.i()),
            String => self.text(attribute.s()),
            Tensor => self.one(attribute.t.as_ref(), Self::tensor),
            Graph => self.one(attribute.g.as_ref(), Self::inner_graph),
            TypeProto => self.one(attribute.tp.as_ref(), Self::type_proto),
            Floats => self.list(brackets, &attribute.floats, Self::float),
            Ints => self.list(brackets, &attribute.ints, Self::int),
            Strings => self.list(brackets, &attribute.strings, |printer, s| printer.text(s)),
            Tensors => self.list(brackets, &attribute.tensors, Self::tensor),
            Graphs => self.list(brackets, &attribute.graphs, Self::inner_graph),
            TypeProtos => self.list(brackets, &attribute.type_protos, Self::type_proto),
            SparseTensor | SparseTensors | Undefined => self.push(ELLIPSIS),
        }
    }

    fn list<T>(
        &mut self,
        brackets: [&str; 2],
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(&mut Self, T),
    ) {
        list(self, Self::push, brackets, items, write);
    }

    fn one<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => write(self, value),
            None => self.push(ELLIPSIS),
        }
    }

    fn float(&mut self, value: &f32) {
        self.push(&float_literal(*value));
    }

    fn int(&mut self, value: &i64) {
        self.push(&value.to_string());
    }

    fn text(&mut self, text: &[u8]) {
        self.push(&self.style.bytes(text));
    }

    /// A constant's type, name and data.
    fn tensor(&mut self, tensor: &TensorProto) {
        self.push(&stored_type(tensor.data_type(), &tensor.dims));
        self.push(" ");
        if !tensor.name().is_empty() {
            self.push(&format!("{} ", name(tensor.name())));
        }
        let data = Data::of(tensor);
        if tensor.name().is_empty() && matches!(data, Data::External(_)) {
            self.push("= ");
        }
        match self.style {
            Style::Full => data.write(&mut self.out, false),
            Style::Short { literals } => data.write_short(&mut self.out, literals),
        }
    }

    fn inner_graph(&mut self, graph: &GraphProto) {
        self.graph(graph, false);
    }

    fn type_proto(&mut self, declared: &TypeProto) {
        self.push(&type_text(declared));
    }
}

/// Stands for what the syntax can't hold.
const ELLIPSIS: &str = "…";

/// Whether the value alone says what type the attribute has.
fn tells_type(attribute: &AttributeProto, kind: AttributeType) -> bool {
    use AttributeType::*;
    attribute.ref_attr_name().is_empty()
        && match kind {
            Floats => !attribute.floats.is_empty(),
            Ints => !attribute.ints.is_empty(),
            Strings => !attribute.strings.is_empty(),
            Tensors => !attribute.tensors.is_empty(),
            Graphs => !attribute.graphs.is_empty(),
            TypeProtos => !attribute.type_protos.is_empty(),
            SparseTensor | SparseTensors | Undefined => false,
            Float | Int | String | Tensor | Graph | TypeProto => true,
        }
}

/// A domain: bare if each part between its dots is, else in quotes as a whole.
fn dotted(domain: &str) -> String {
    if domain.split('.').all(is_bare) { domain.to_owned() } else { quoted(domain) }
}

fn value_text(value: &ValueInfoProto) -> String {
    match &value.r#type {
        Some(declared) if declared.value.is_some() => {
            format!("{} {}", type_text(declared), name(value.name()))
        }
        _ => distinct_name(value.name()).into_owned(),
    }
}

/// An initializer with all its data.
fn stored_text(tensor: &TensorProto) -> String {
    let mut text =
        format!("{} {} = ", stored_type(tensor.data_type(), &tensor.dims), name(tensor.name()));
    Data::of(tensor).write(&mut text, false);
    text
}

/// A remark in place of a sparse tensor, which the syntax lacks.
pub(super) fn sparse_text(sparse: &SparseTensorProto) -> String {
    let none = TensorProto::default();
    let values = sparse.values.as_ref().unwrap_or(&none);
    let declared = stored_type(values.data_type(), &sparse.dims);
    let count = values.dims.first().copied().unwrap_or_default();
    let digest = Data::of(values).digest();
    format!("# sparse_tensor({declared}) {}: {count} values {digest}", name(values.name()))
}

fn type_text(declared: &TypeProto) -> String {
    use type_proto::Value::*;
    let inner = |inner: Option<&TypeProto>| inner.map_or_else(|| ELLIPSIS.into(), type_text);
    match &declared.value {
        Some(TensorType(t)) => tensor_type_text(t.elem_type(), t.shape.as_ref()),
        Some(SequenceType(t)) => format!("seq({})", inner(t.elem_type.as_deref())),
        Some(OptionalType(t)) => format!("optional({})", inner(t.elem_type.as_deref())),
        Some(MapType(t)) => {
            let key = type_name(t.key_type());
            format!("map({key}, {})", inner(t.value_type.as_deref()))
        }
        Some(SparseTensorType(t)) => {
            format!("sparse_tensor({})", tensor_type_text(t.elem_type(), t.shape.as_ref()))
        }
        Some(OpaqueType(t)) => opaque_text(t),
        None => ELLIPSIS.into(),
    }
}

fn tensor_type_text(element: i32, shape: Option<&TensorShapeProto>) -> String {
    let mut text = type_name(element);
    match shape {
        None => text += "[]",
        Some(shape) if shape.dim.is_empty() => {}
        Some(shape) => list(&mut text, String::push_str, ["[", "]"], &shape.dim, |out, size| {
            match &size.value {
                Some(dimension::Value::DimValue(size)) => out.push_str(&size.to_string()),
                Some(dimension::Value::DimParam(symbol)) => out.push_str(&name(symbol)),
                None => out.push('?'),
            }
        }),
    }
    text
}

/// A name alone may have dots; behind a domain it is one name.
fn opaque_text(opaque: &type_proto::Opaque) -> String {
    match (opaque.domain(), opaque.name()) {
        ("", "") => "opaque()".into(),
        ("", name) => format!("opaque({})", dotted(name)),
        (domain, name) => format!("opaque({}, {})", dotted(domain), dotted(name)),
    }
}

/// The known types of the values that a graph's nodes make.
fn value_types(graph: &GraphProto) -> HashMap<&str, &TypeProto> {
    let values = graph.value_info.iter().chain(&graph.output);
    values.filter_map(|value| Some((value.name(), value.r#type.as_ref()?))).collect()
}

/// The types of a node's outputs, if any is known; graphs say themselves what they give.
fn output_types(node: &NodeProto, types: &HashMap<&str, &TypeProto>) -> Option<String> {
    if node.graphs().next().is_some() {
        return None;
    }
    let known = |output: &String| types.get(output.as_str());
    node.output.iter().any(|output| known(output).is_some()).then(|| {
        let texts =
            node.output.iter().map(|output| known(output).map_or("?".into(), |t| type_text(t)));
        texts.collect::<Vec<_>>().join(", ")
    })
}
