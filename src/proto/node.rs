//! What a node says of itself: its operator, what to call it, its attributes, inputs and outputs.

use super::{
    AttributeProto, FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto,
    attribute_proto::AttributeType,
};
use std::fmt;

/// An operator: `Add`, `com.microsoft.Attention`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Operator<'n> {
    /// Empty for ONNX's own, which files also call `ai.onnx`.
    pub domain: &'n str,
    /// Its name there.
    pub name: &'n str,
}

impl<'n> Operator<'n> {
    /// The operator of this name in a domain.
    pub fn new(domain: &'n str, name: &'n str) -> Self {
        Operator { domain: if domain == "ai.onnx" { "" } else { domain }, name }
    }
}

impl PartialEq<str> for Operator<'_> {
    fn eq(&self, written: &str) -> bool {
        match self.domain {
            "" => self.name == written,
            domain => {
                let name = written.strip_prefix(domain).and_then(|rest| rest.strip_prefix('.'));
                name == Some(self.name)
            }
        }
    }
}

impl fmt::Display for Operator<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.domain {
            "" => f.write_str(self.name),
            domain => write!(f, "{domain}.{}", self.name),
        }
    }
}

impl NodeProto {
    /// Its operator.
    pub fn operator(&self) -> Operator<'_> {
        Operator::new(self.domain(), self.op_type())
    }

    /// Whether its operator is the one written so: `Add`, `com.microsoft.Attention`.
    pub fn is(&self, operator: &str) -> bool {
        self.operator() == *operator
    }

    /// The name of its operator where that is ONNX's own, else nothing.
    pub fn standard(&self) -> &str {
        if self.operator().domain.is_empty() { self.op_type() } else { "" }
    }

    /// What to call it: its name, or the first value it makes.
    pub fn label(&self) -> &str {
        match self.name() {
            "" => self.outputs().next().unwrap_or("?"),
            name => name,
        }
    }

    /// What to call it and its operator, for sentences.
    pub fn described(&self) -> impl fmt::Display {
        format!("`{}` ({})", self.label(), self.operator())
    }

    /// The attribute of this name.
    pub fn attribute(&self, name: &str) -> Option<&AttributeProto> {
        self.attribute.iter().find(|a| a.name() == name)
    }

    /// An attribute that is an integer.
    pub fn int(&self, name: &str) -> Option<i64> {
        self.typed(name, AttributeType::Int).map(AttributeProto::i)
    }

    /// Whether an attribute is given that is an integer other than zero.
    pub fn flag(&self, name: &str) -> bool {
        self.int(name).is_some_and(|flag| flag != 0)
    }

    /// An attribute that is a float.
    pub fn float(&self, name: &str) -> Option<f32> {
        self.typed(name, AttributeType::Float).map(AttributeProto::f)
    }

    /// An attribute that is a list of integers.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        self.typed(name, AttributeType::Ints).map(|a| &*a.ints)
    }

    /// An attribute that is text.
    pub fn string(&self, name: &str) -> Option<&str> {
        str::from_utf8(self.typed(name, AttributeType::String)?.s()).ok()
    }

    /// An attribute that is a tensor.
    pub fn tensor(&self, name: &str) -> Option<&TensorProto> {
        self.typed(name, AttributeType::Tensor)?.t.as_ref()
    }

    /// An attribute of this type; what refers to a function's attribute has no value yet.
    fn typed(&self, name: &str, kind: AttributeType) -> Option<&AttributeProto> {
        self.attribute(name).filter(|a| a.kind() == kind && a.ref_attr_name().is_empty())
    }

    /// The input at an index, if it is given.
    pub fn input(&self, index: usize) -> Option<&str> {
        self.input.get(index).map(String::as_str).filter(|i| !i.is_empty())
    }

    /// The output at an index, if it is made.
    pub fn output(&self, index: usize) -> Option<&str> {
        self.output.get(index).map(String::as_str).filter(|o| !o.is_empty())
    }

    /// The inputs that are given.
    pub fn inputs(&self) -> impl Iterator<Item = &str> {
        self.input.iter().map(String::as_str).filter(|i| !i.is_empty())
    }

    /// The outputs that are made.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.output.iter().map(String::as_str).filter(|o| !o.is_empty())
    }

    /// The graphs among its attributes: the branches of `If`, the bodies of `Loop` and `Scan`.
    pub fn graphs(&self) -> impl Iterator<Item = &GraphProto> {
        self.attribute.iter().flat_map(|a| a.g.iter().chain(&a.graphs))
    }

    /// The same, to be changed.
    pub fn graphs_mut(&mut self) -> impl Iterator<Item = &mut GraphProto> {
        self.attribute.iter_mut().flat_map(|a| a.g.iter_mut().chain(&mut a.graphs))
    }
}

impl AttributeProto {
    /// Its type, or where it names none, as in files older than IR version 2, that of the value it holds.
    pub fn kind(&self) -> AttributeType {
        use AttributeType::*;
        if self.r#type() != Undefined || !self.ref_attr_name().is_empty() {
            return self.r#type();
        }
        let held = [
            (self.f.is_some(), Float),
            (self.i.is_some(), Int),
            (self.s.is_some(), String),
            (self.t.is_some(), Tensor),
            (self.g.is_some(), Graph),
            (self.tp.is_some(), TypeProto),
            (!self.floats.is_empty(), Floats),
            (!self.ints.is_empty(), Ints),
            (!self.strings.is_empty(), Strings),
            (!self.tensors.is_empty(), Tensors),
            (!self.graphs.is_empty(), Graphs),
            (!self.type_protos.is_empty(), TypeProtos),
        ];
        held.into_iter().find(|(held, _)| *held).map_or(Undefined, |(_, kind)| kind)
    }
}

impl SparseTensorProto {
    /// The name of the value that it is, which is that of its values.
    pub fn name(&self) -> &str {
        self.values.as_ref().map_or("", TensorProto::name)
    }
}

impl FunctionProto {
    /// The operator that it defines, and which of those of one name: what tells functions apart.
    pub fn identity(&self) -> (Operator<'_>, &str) {
        (Operator::new(self.domain(), self.name()), self.overload())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(domain: &str, op_type: &str) -> NodeProto {
        NodeProto {
            domain: Some(domain.into()),
            op_type: Some(op_type.into()),
            ..NodeProto::default()
        }
    }

    #[test]
    fn an_operator_is_known_by_its_domain_and_name() {
        assert!(node("", "Add").is("Add") && node("ai.onnx", "Add").is("Add"));
        assert!(node("com.microsoft", "Gelu").is("com.microsoft.Gelu"));
        for other in ["Gelu", ".Gelu", "com.Gelu", "com.microsoftGelu", "com.microsoft.Gelus", ""] {
            assert!(!node("com.microsoft", "Gelu").is(other), "{other}");
        }
        assert!(!node("", "com.microsoft.Gelu").is("com.microsoft"));
        assert_eq!(node("com.microsoft", "Gelu").standard(), "");
        assert_eq!(node("ai.onnx", "Gelu").operator().to_string(), "Gelu");
    }

    #[test]
    fn an_attribute_is_read_as_what_it_is() {
        let attribute = |r#type, reference: &str| AttributeProto {
            name: Some("a".into()),
            r#type,
            ref_attr_name: Some(reference.into()),
            ..AttributeProto::default()
        };
        let with = |a: AttributeProto| NodeProto { attribute: vec![a], ..NodeProto::default() };
        let int = Some(AttributeType::Int as i32);
        // A writer of proto3 leaves out what is zero.
        assert_eq!(with(attribute(int, "")).int("a"), Some(0));
        assert_eq!(with(attribute(int, "")).float("a"), None);
        assert_eq!(with(attribute(int, "outer")).int("a"), None);
        let old = AttributeProto { i: Some(3), ..attribute(None, "") };
        assert_eq!(with(old).int("a"), Some(3));
    }
}
