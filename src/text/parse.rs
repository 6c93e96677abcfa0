//! From text to protos: a recursive-descent parser over [`Lexer`].

use super::{
    error::{Fault, ParseError},
    lex::{Lexer, Token},
    literal::{self, Form, Numbers},
    names::{self, is_number_word, is_type_word},
};
use crate::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType,
    element_count,
    tensor_proto::{DataLocation, DataType},
    tensor_shape_proto::{Dimension, dimension},
    type_name, type_named, type_proto,
};

/// Reads a model: a header in `<` and `>`, a graph, and functions.
pub fn parse_model(text: &str) -> Result<ModelProto, ParseError> {
    whole(text, Parser::model)
}

/// Reads a graph: `name (inputs) => (outputs) <initializers and value types> { nodes }`.
pub fn parse_graph(text: &str) -> Result<GraphProto, ParseError> {
    whole(text, Parser::graph)
}

/// Reads a function: a header, then `name <attributes> (inputs) => (outputs) { nodes }`.
pub fn parse_function(text: &str) -> Result<FunctionProto, ParseError> {
    whole(text, Parser::function)
}

/// Reads nodes, one after the other: `[name] y = domain.Op <attributes> (x, w)`.
pub fn parse_nodes(text: &str) -> Result<Vec<NodeProto>, ParseError> {
    whole(text, |parser| {
        let mut nodes = Vec::new();
        while parser.token != Token::End {
            nodes.push(parser.node()?);
        }
        Ok(nodes)
    })
}

/// Graphs and types nested deeper are refused. A protobuf file holds at most 100 nested messages,
/// of which a nested graph takes three and a nested type two.
const DEPTH: usize = 64;

type Parse<T> = Result<T, Fault>;

fn whole<'t, T>(
    text: &'t str,
    rule: impl FnOnce(&mut Parser<'t>) -> Parse<T>,
) -> Result<T, ParseError> {
    let parse = || {
        let mut parser = Parser::new(text)?;
        let parsed = rule(&mut parser)?;
        match parser.token {
            Token::End => Ok(parsed),
            _ => Err(parser.expected("the end of the text")),
        }
    };
    parse().map_err(|fault| ParseError::new(text, fault))
}

/// Holds one token of look-ahead.
struct Parser<'t> {
    lexer: Lexer<'t>,
    token: Token<'t>,
    /// Byte offset of `token`.
    at: usize,
    /// Byte offset after the token before it.
    previous_end: usize,
    depth: usize,
}

// The text as a whole, and its larger parts.
impl<'t> Parser<'t> {
    fn new(text: &'t str) -> Parse<Self> {
        let mut lexer = Lexer::new(text);
        let (at, token) = lexer.next()?;
        Ok(Parser { lexer, token, at, previous_end: 0, depth: 0 })
    }

    fn model(&mut self) -> Parse<ModelProto> {
        let mut model = ModelProto::default();
        self.header(|parser, key| {
            match key {
                "ir_version" => model.ir_version = Some(parser.integer()?),
                "opset_import" => model.opset_import.extend(parser.opset_import()?),
                "producer_name" => model.producer_name = Some(parser.quoted()?),
                "producer_version" => model.producer_version = Some(parser.quoted()?),
                "domain" => model.domain = Some(parser.quoted()?),
                "model_version" => model.model_version = Some(parser.integer()?),
                "doc_string" => model.doc_string = Some(parser.quoted()?),
                "metadata_props" => model.metadata_props.extend(parser.entries()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        model.graph = Some(self.graph()?);
        while self.token != Token::End {
            model.functions.push(self.function()?);
        }
        Ok(model)
    }

    fn function(&mut self) -> Parse<FunctionProto> {
        let mut function = FunctionProto::default();
        self.header(|parser, key| {
            match key {
                "domain" => function.domain = Some(parser.quoted()?),
                "overload" => function.overload = Some(parser.quoted()?),
                "opset_import" => function.opset_import.extend(parser.opset_import()?),
                "doc_string" => function.doc_string = Some(parser.quoted()?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        function.name = Some(self.name("the name of a function")?);
        self.section(|parser| parser.function_attribute(&mut function))?;
        let mut types = Vec::new();
        function.input = self.function_values(&mut types)?;
        self.expect("=>")?;
        function.output = self.function_values(&mut types)?;
        types.extend(self.section(Self::value_info)?);
        function.value_info = types;
        function.node = self.body()?;
        Ok(function)
    }

    /// A name alone declares an attribute; with a value it is an attribute with a default.
    fn function_attribute(&mut self, function: &mut FunctionProto) -> Parse<()> {
        let name = self.name("the name of an attribute")?;
        match self.token {
            Token::Mark(":" | "=") => function.attribute_proto.push(self.attribute_of(name)?),
            _ => function.attribute.push(name),
        }
        Ok(())
    }

    /// Names of a function's inputs or outputs; those with a type add it to `types`.
    fn function_values(&mut self, types: &mut Vec<ValueInfoProto>) -> Parse<Vec<String>> {
        self.expect("(")?;
        self.list(")", |parser| {
            let value = parser.value_info()?;
            let name = value.name().to_owned();
            types.extend(value.r#type.is_some().then_some(value));
            Ok(name)
        })
    }

    fn graph(&mut self) -> Parse<GraphProto> {
        let name = self.name("the name of a graph")?;
        self.graph_of(name)
    }

    /// What follows the name of a graph.
    fn graph_of(&mut self, name: String) -> Parse<GraphProto> {
        self.nested(|parser| {
            let mut graph = GraphProto { name: Some(name), ..Default::default() };
            parser.expect("(")?;
            graph.input = parser.list(")", |parser| {
                let (value, default) = parser.value_or_tensor()?;
                graph.initializer.extend(default);
                Ok(value)
            })?;
            parser.expect("=>")?;
            parser.expect("(")?;
            graph.output = parser.list(")", Self::value_info)?;
            parser.section(|parser| {
                match parser.value_or_tensor()? {
                    (_, Some(tensor)) => graph.initializer.push(tensor),
                    (value, None) => graph.value_info.push(value),
                }
                Ok(())
            })?;
            graph.node = parser.body()?;
            Ok(graph)
        })
    }

    fn body(&mut self) -> Parse<Vec<NodeProto>> {
        self.expect("{")?;
        let mut nodes = Vec::new();
        while !self.take("}")? {
            if self.token == Token::End {
                return Err(self.expected("a node or `}`"));
            }
            nodes.push(self.node()?);
        }
        Ok(nodes)
    }

    fn node(&mut self) -> Parse<NodeProto> {
        let mut node = NodeProto::default();
        if self.take("[")? {
            node.name = not_empty(self.name("the name of a node")?);
            self.expect("]")?;
        }
        node.output = self.values()?;
        if self.token != Token::Mark("=") {
            return Err(self.expected(match node.output.is_empty() && node.name.is_none() {
                true => "a node, as in `y = Op(x)`",
                false => "`,` or `=`",
            }));
        }
        self.advance()?;
        (node.domain, node.op_type) = self.operator()?;
        if self.take(":")? {
            node.overload = not_empty(self.name("an overload")?);
        }
        node.attribute = self.attributes()?;
        self.expect("(")?;
        node.input = self.values()?;
        self.close(")")?;
        if node.attribute.is_empty() {
            node.attribute = self.attributes()?;
        }
        Ok(node)
    }

    /// `domain.Op`: the domain is everything before the last dot.
    fn operator(&mut self) -> Parse<(Option<String>, Option<String>)> {
        let mut domain = None;
        let mut operator = self.name("an operator")?;
        while self.take(".")? {
            domain = Some(match domain {
                None => operator,
                Some(outer) => format!("{outer}.{operator}"),
            });
            operator = self.name("an operator")?;
        }
        Ok((domain.and_then(not_empty), not_empty(operator)))
    }

    /// Inputs or outputs of a node. Nothing before a comma is the empty name, as is `""`.
    fn values(&mut self) -> Parse<Vec<String>> {
        let mut values = Vec::new();
        loop {
            match self.token {
                Token::Mark(",") => values.push(String::new()),
                Token::Name(_) | Token::Quoted(_) => values.push(self.name("a value")?),
                _ => return Ok(values),
            }
            if !self.take(",")? {
                return Ok(values);
            }
        }
    }
}

// Headers.
impl<'t> Parser<'t> {
    /// `<key: value, ...>`, if there is one. `entry` reads the value of a key that it knows.
    fn header(&mut self, mut entry: impl FnMut(&mut Self, &str) -> Parse<bool>) -> Parse<()> {
        self.section(|parser| {
            let Token::Name(key) = parser.token else {
                return Err(parser.expected("a key of the header, such as `opset_import`"));
            };
            let at = parser.at;
            parser.advance()?;
            parser.expect(":")?;
            match entry(parser, key)? {
                true => Ok(()),
                false => Err(Fault { at, message: format!("`{key}` is not a key of this header") }),
            }
        })?;
        Ok(())
    }

    fn opset_import(&mut self) -> Parse<Vec<OperatorSetIdProto>> {
        self.expect("[")?;
        self.list("]", |parser| {
            let domain = Some(parser.quoted()?);
            parser.expect(":")?;
            Ok(OperatorSetIdProto { domain, version: Some(parser.integer()?) })
        })
    }

    fn entries(&mut self) -> Parse<Vec<StringStringEntryProto>> {
        self.expect("[")?;
        self.list("]", |parser| {
            let key = Some(parser.quoted()?);
            parser.expect(":")?;
            Ok(StringStringEntryProto { key, value: Some(parser.quoted()?) })
        })
    }
}

// Attributes.
impl<'t> Parser<'t> {
    fn attributes(&mut self) -> Parse<Vec<AttributeProto>> {
        self.section(|parser| {
            let name = parser.name("the name of an attribute")?;
            parser.attribute_of(name)
        })
    }

    /// What follows the name of an attribute: `: type = value`.
    fn attribute_of(&mut self, name: String) -> Parse<AttributeProto> {
        let declared = match self.take(":")? {
            true => Some(self.attribute_type()?),
            false => None,
        };
        self.expect("=")?;
        let mut attribute = if self.take("@")? {
            let referred = Some(self.name("the name of an attribute of the function")?);
            let kind = declared.map(i32::from);
            AttributeProto { ref_attr_name: referred, r#type: kind, ..Default::default() }
        } else if self.token == Token::Mark("[") {
            self.attribute_list(declared)?
        } else {
            self.attribute_value(declared)?
        };
        attribute.name = Some(name);
        Ok(attribute)
    }

    fn attribute_type(&mut self) -> Parse<AttributeType> {
        let expected = "the type of an attribute, such as `int`, `floats` or `tensor`";
        self.word(names::attribute_type, expected)
    }

    /// `[value, ...]`, all of one type: the declared one, or that of the first.
    fn attribute_list(&mut self, declared: Option<AttributeType>) -> Parse<AttributeProto> {
        let mut element = match declared.map(|kind| (kind, names::element_of(kind))) {
            None => None,
            Some((_, Some(element))) => Some(element),
            Some((kind, None)) => {
                let kind = names::attribute_type_name(kind);
                return Err(self.expected(&format!("one `{kind}`, as the attribute declares")));
            }
        };
        let at = self.at;
        self.advance()?;
        let mut list = AttributeProto::default();
        self.list("]", |parser| {
            let one = parser.attribute_value(element)?;
            element = Some(one.r#type());
            list.ints.extend(one.i);
            list.floats.extend(one.f);
            list.strings.extend(one.s);
            list.tensors.extend(one.t);
            list.graphs.extend(one.g);
            list.type_protos.extend(one.tp);
            Ok(())
        })?;
        let Some(element) = element else {
            let message = "an empty list needs a type, as in `axes: ints = []`".into();
            return Err(Fault { at, message });
        };
        list.set_type(names::list_of(element));
        Ok(list)
    }

    /// One value, which must be of the expected type.
    fn attribute_value(&mut self, expected: Option<AttributeType>) -> Parse<AttributeProto> {
        let at = self.at;
        let mut value = AttributeProto::default();
        self.single_value(expected, &mut value)?;
        let found = value.kind();
        value.set_type(found);
        match expected {
            Some(expected) if expected != found => {
                let expected = names::attribute_type_name(expected);
                let found = names::attribute_type_name(found);
                Err(Fault { at, message: format!("expected `{expected}`, found `{found}`") })
            }
            _ => Ok(value),
        }
    }

    /// Reads one value into the field of its type.
    fn single_value(
        &mut self,
        expected: Option<AttributeType>,
        value: &mut AttributeProto,
    ) -> Parse<()> {
        let floats = expected == Some(AttributeType::Float);
        match self.token {
            Token::Name(word) if is_type_word(word) => self.type_or_tensor(value)?,
            Token::Name(word) if is_number_word(word) => {
                value.f = Some(self.convert(word, literal::single)?);
            }
            Token::Number(number) if floats || !literal::is_integer(number) => {
                value.f = Some(self.convert(number, literal::single)?);
            }
            Token::Number(_) => value.i = Some(self.integer()?),
            Token::Name(_) => value.g = Some(self.graph()?),
            Token::Quoted(_) => {
                let text = self.quoted()?;
                match self.token {
                    Token::Mark("(") => value.g = Some(self.graph_of(text)?),
                    _ => value.s = Some(text.into_bytes()),
                }
            }
            _ => return Err(self.expected("a value")),
        }
        Ok(())
    }

    /// A type; with data after it, a tensor.
    fn type_or_tensor(&mut self, value: &mut AttributeProto) -> Parse<()> {
        let at = self.at;
        let declared = self.type_proto()?;
        let name = match self.token {
            Token::Name(_) | Token::Quoted(_) => Some(self.name("the name of a tensor")?),
            _ => None,
        };
        let assigned = self.take("=")?;
        if name.is_some() || assigned || matches!(self.token, Token::Mark("{" | "[")) {
            value.t = Some(self.tensor(at, name.unwrap_or_default(), Some(&declared))?);
        } else {
            value.tp = Some(declared);
        }
        Ok(())
    }
}

// Types and tensors.
impl<'t> Parser<'t> {
    /// A name with its type before it, if it has one.
    fn value_info(&mut self) -> Parse<ValueInfoProto> {
        let declared = match self.token {
            Token::Name(word) if is_type_word(word) => Some(self.type_proto()?),
            _ => None,
        };
        let name = Some(self.name("a value, as in `float[2, 3] x`")?);
        Ok(ValueInfoProto { name, r#type: declared, ..Default::default() })
    }

    /// A value; with `=` after it, the tensor that is stored under its name.
    fn value_or_tensor(&mut self) -> Parse<(ValueInfoProto, Option<TensorProto>)> {
        let at = self.at;
        let value = self.value_info()?;
        let tensor = match self.take("=")? {
            true => Some(self.tensor(at, value.name().to_owned(), value.r#type.as_ref())?),
            false => None,
        };
        Ok((value, tensor))
    }

    fn type_proto(&mut self) -> Parse<TypeProto> {
        let Token::Name(word) = self.token else { return Err(self.expected("a type")) };
        let value = if type_named(word).is_some() {
            let (elem_type, shape) = self.tensor_type()?;
            type_proto::Value::TensorType(type_proto::Tensor { elem_type, shape })
        } else {
            self.nested(|parser| parser.compound_type(word))?
        };
        Ok(TypeProto { value: Some(value), ..Default::default() })
    }

    /// A type of which `word`, the next token, is not an element type.
    fn compound_type(&mut self, word: &str) -> Parse<type_proto::Value> {
        if !is_type_word(word) {
            return Err(self.expected("a type"));
        }
        self.advance()?;
        self.expect("(")?;
        let value = match word {
            "seq" => type_proto::Value::SequenceType(Box::new(type_proto::Sequence {
                elem_type: Some(Box::new(self.type_proto()?)),
            })),
            "optional" => type_proto::Value::OptionalType(Box::new(type_proto::Optional {
                elem_type: Some(Box::new(self.type_proto()?)),
            })),
            "map" => {
                let key_type = self.element_type()?;
                self.expect(",")?;
                let value_type = Some(Box::new(self.type_proto()?));
                type_proto::Value::MapType(Box::new(type_proto::Map { key_type, value_type }))
            }
            "sparse_tensor" => {
                let (elem_type, shape) = self.tensor_type()?;
                type_proto::Value::SparseTensorType(type_proto::SparseTensor { elem_type, shape })
            }
            _ => type_proto::Value::OpaqueType(self.opaque_type()?),
        };
        self.expect(")")?;
        Ok(value)
    }

    fn element_type(&mut self) -> Parse<Option<i32>> {
        let known = self.word(type_named, "an element type, such as `float` or `int64`")?;
        Ok(Some(known.into()))
    }

    /// `float` is a scalar, `float[]` a tensor of unknown rank.
    fn tensor_type(&mut self) -> Parse<(Option<i32>, Option<TensorShapeProto>)> {
        let element = self.element_type()?;
        if !self.take("[")? {
            return Ok((element, Some(TensorShapeProto::default())));
        }
        let dim = self.list("]", Self::dimension)?;
        Ok((element, (!dim.is_empty()).then_some(TensorShapeProto { dim })))
    }

    fn dimension(&mut self) -> Parse<Dimension> {
        let value = match self.token {
            Token::Mark("?") => {
                self.advance()?;
                None
            }
            Token::Number(_) => Some(dimension::Value::DimValue(self.integer()?)),
            _ => {
                let name = self.name("a dimension: a number, a name or `?`")?;
                Some(dimension::Value::DimParam(name))
            }
        };
        Ok(Dimension { value, ..Default::default() })
    }

    /// `domain, name`, either with dots; one alone is the name.
    fn opaque_type(&mut self) -> Parse<type_proto::Opaque> {
        if self.token == Token::Mark(")") {
            return Ok(type_proto::Opaque::default());
        }
        let first = self.dotted("the name of a type")?;
        if !self.take(",")? {
            return Ok(type_proto::Opaque { domain: None, name: Some(first) });
        }
        let name = Some(self.dotted("the name of a type")?);
        Ok(type_proto::Opaque { domain: Some(first), name })
    }

    /// A tensor's data, given the type in front of them, which begins at `at`.
    fn tensor(
        &mut self,
        at: usize,
        name: String,
        declared: Option<&TypeProto>,
    ) -> Parse<TensorProto> {
        let (data_type, dims) = stored_type(declared).ok_or_else(|| Fault {
            at,
            message: "data need a type with a shape of numbers, such as `float[2, 3]`".into(),
        })?;
        let mut tensor = TensorProto {
            name: not_empty(name),
            data_type: Some(data_type.into()),
            dims,
            ..Default::default()
        };
        match self.token {
            Token::Mark("{") => self.elements(data_type, &mut tensor)?,
            Token::Mark("[") => {
                tensor.external_data = self.entries()?;
                tensor.set_data_location(DataLocation::External);
            }
            _ => return Err(self.expected("data, as in `{1, 2}`")),
        }
        Ok(tensor)
    }

    /// `{literal, ...}`, as many as the tensor has elements.
    fn elements(&mut self, data_type: DataType, tensor: &mut TensorProto) -> Parse<()> {
        let at = self.at;
        self.advance()?;
        let found = if data_type == DataType::String {
            tensor.string_data = self.list("}", |parser| Ok(parser.quoted()?.into_bytes()))?;
            tensor.string_data.len()
        } else if let Some(form) = Form::of(data_type) {
            let mut numbers = Numbers::new(form);
            self.list("}", |parser| parser.number(&mut numbers))?;
            tensor.raw_data = Some(numbers.bytes.into());
            numbers.count
        } else {
            let name = type_name(data_type.into());
            return Err(Fault { at, message: format!("there are no literals of type `{name}`") });
        };
        let needed = literal::count(data_type, element_count(tensor));
        if needed == Some(found) {
            return Ok(());
        }
        let message = match needed {
            Some(needed) => {
                format!("the shape {:?} needs {needed} literals, found {found}", tensor.dims)
            }
            None => format!("no tensor has the shape {:?}", tensor.dims),
        };
        Err(Fault { at, message })
    }

    fn number(&mut self, numbers: &mut Numbers) -> Parse<()> {
        let literal = match self.token {
            Token::Number(literal) => literal,
            Token::Name(word) if is_number_word(word) => word,
            _ => return Err(self.expected("a number")),
        };
        self.convert(literal, |literal| numbers.push(literal))
    }
}

// Tokens.
impl<'t> Parser<'t> {
    /// Steps to the next token.
    fn advance(&mut self) -> Parse<()> {
        self.previous_end = self.lexer.position();
        (self.at, self.token) = self.lexer.next()?;
        Ok(())
    }

    /// Whether the next token is this mark, which is consumed if so.
    fn take(&mut self, mark: &str) -> Parse<bool> {
        let found = self.token == Token::Mark(mark);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    fn expect(&mut self, mark: &str) -> Parse<()> {
        match self.take(mark)? {
            true => Ok(()),
            false => Err(self.expected(&format!("`{mark}`"))),
        }
    }

    /// The mark that ends a list, where a comma could stand too.
    fn close(&mut self, mark: &str) -> Parse<()> {
        match self.take(mark)? {
            true => Ok(()),
            false => Err(self.expected(&format!("`,` or `{mark}`"))),
        }
    }

    /// Items with commas between them, up to the closing mark; the opening one is consumed already.
    fn list<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Parse<T>,
    ) -> Parse<Vec<T>> {
        let mut items = Vec::new();
        if self.take(close)? {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if !self.take(",")? {
                self.close(close)?;
                return Ok(items);
            }
        }
    }

    /// `<item, ...>`, or nothing at all.
    fn section<T>(&mut self, item: impl FnMut(&mut Self) -> Parse<T>) -> Parse<Vec<T>> {
        if self.take("<")? { self.list(">", item) } else { Ok(Vec::new()) }
    }

    /// What a bare name means, if it is one of the syntax's own words.
    fn word<T>(&mut self, meaning: fn(&str) -> Option<T>, expected: &str) -> Parse<T> {
        let known = match self.token {
            Token::Name(name) => meaning(name),
            _ => None,
        };
        let known = known.ok_or_else(|| self.expected(expected))?;
        self.advance()?;
        Ok(known)
    }

    /// A name, bare or quoted.
    fn name(&mut self, expected: &str) -> Parse<String> {
        let name = match &self.token {
            Token::Name(name) => (*name).to_owned(),
            Token::Quoted(name) => name.as_ref().to_owned(),
            _ => return Err(self.expected(expected)),
        };
        self.advance()?;
        Ok(name)
    }

    /// Names with dots between them, as one.
    fn dotted(&mut self, expected: &str) -> Parse<String> {
        let mut name = self.name(expected)?;
        while self.take(".")? {
            name = format!("{name}.{}", self.name(expected)?);
        }
        Ok(name)
    }

    fn quoted(&mut self) -> Parse<String> {
        match self.token {
            Token::Quoted(_) => self.name("a text"),
            _ => Err(self.expected("a text in quotes")),
        }
    }

    fn integer(&mut self) -> Parse<i64> {
        let Token::Number(literal) = self.token else { return Err(self.expected("an integer")) };
        let form = Form::Integer { bits: 64, signed: true };
        self.convert(literal, |literal| form.encode(literal)).map(u64::cast_signed)
    }

    /// What the next token, a literal, means.
    fn convert<T>(
        &mut self,
        literal: &str,
        meaning: impl FnOnce(&str) -> Result<T, String>,
    ) -> Parse<T> {
        let value = meaning(literal).map_err(|message| Fault { at: self.at, message })?;
        self.advance()?;
        Ok(value)
    }

    /// Applies a rule that may apply itself again.
    fn nested<T>(&mut self, rule: impl FnOnce(&mut Self) -> Parse<T>) -> Parse<T> {
        if self.depth == DEPTH {
            let message = format!("nested more than {DEPTH} deep");
            return Err(Fault { at: self.at, message });
        }
        self.depth += 1;
        let parsed = rule(self)?;
        self.depth -= 1;
        Ok(parsed)
    }

    /// The fault of finding the next token instead of what was expected.
    fn expected(&self, expected: &str) -> Fault {
        let at = if self.token == Token::End { self.previous_end } else { self.at };
        Fault { at, message: format!("expected {expected}, found {}", self.token) }
    }
}

/// An empty name in the text is a name that is not set.
fn not_empty(name: String) -> Option<String> {
    (!name.is_empty()).then_some(name)
}

/// Element type and dimensions of a tensor type that data can have.
fn stored_type(declared: Option<&TypeProto>) -> Option<(DataType, Vec<i64>)> {
    let Some(type_proto::Value::TensorType(tensor)) = declared?.value.as_ref() else { return None };
    let dims = tensor.shape.as_ref()?.dim.iter().map(|dimension| match dimension.value {
        Some(dimension::Value::DimValue(size)) => Some(size),
        _ => None,
    });
    Some((DataType::try_from(tensor.elem_type()).ok()?, dims.collect::<Option<_>>()?))
}
