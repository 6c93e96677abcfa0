//! A walk over everything in a model that stores data.

use super::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto,
    TensorProto, TrainingInfoProto,
};
use std::collections::VecDeque;

/// Calls `visit` with every tensor that a model stores, and its name: that of the value which a node
/// makes of it, where it has none of its own.
///
/// These are initializers, the values and indices of sparse ones, and attributes, in the main graph,
/// in training, in functions and in the graphs nested in any of them; each graph comes before those
/// nested in it, the main one first. Ends at the first error.
pub fn tensors_mut<E>(
    model: &mut ModelProto,
    mut visit: impl FnMut(&str, &mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    let mut bodies: VecDeque<Body> = model.graph.iter_mut().map(Body::of_graph).collect();
    bodies.extend(model.training_info.iter_mut().flat_map(training).map(Body::of_graph));
    bodies.extend(model.functions.iter_mut().map(Body::of_function));
    // A queue, not a recursion: the nesting of a hostile file costs memory, not the stack.
    while let Some(body) = bodies.pop_front() {
        body.visit(&mut visit, &mut bodies)?;
    }
    Ok(())
}

fn training(info: &mut TrainingInfoProto) -> impl Iterator<Item = &mut GraphProto> {
    info.initialization.iter_mut().chain(&mut info.algorithm)
}

/// What graphs and functions have in common.
#[derive(Default)]
struct Body<'m> {
    name: &'m str,
    initializers: &'m mut [TensorProto],
    sparse: &'m mut [SparseTensorProto],
    /// Defaults of a function's attributes.
    defaults: &'m mut [AttributeProto],
    nodes: &'m mut [NodeProto],
}

impl<'m> Body<'m> {
    fn of_graph(graph: &'m mut GraphProto) -> Self {
        Body {
            initializers: &mut graph.initializer,
            sparse: &mut graph.sparse_initializer,
            nodes: &mut graph.node,
            ..Body::default()
        }
    }

    fn of_function(function: &'m mut FunctionProto) -> Self {
        Body {
            name: function.name.as_deref().unwrap_or_default(),
            defaults: &mut function.attribute_proto,
            nodes: &mut function.node,
            ..Body::default()
        }
    }

    /// Visits the body's own tensors and queues the graphs nested in it.
    fn visit<E>(
        self,
        visit: &mut impl FnMut(&str, &mut TensorProto) -> Result<(), E>,
        nested: &mut VecDeque<Body<'m>>,
    ) -> Result<(), E> {
        let mut named = |owner: &str, tensor: &mut TensorProto| {
            let own = tensor.name.clone().filter(|name| !name.is_empty());
            visit(own.as_deref().unwrap_or(owner), tensor)
        };
        self.initializers.iter_mut().try_for_each(|t| named("", t))?;
        self.sparse.iter_mut().try_for_each(|s| of_sparse("", s, &mut named))?;
        for attribute in self.defaults {
            of_attribute(self.name, attribute, &mut named, nested)?;
        }
        for node in self.nodes {
            let owner = node.output.first().map_or("", String::as_str);
            for attribute in &mut node.attribute {
                of_attribute(owner, attribute, &mut named, nested)?;
            }
        }
        Ok(())
    }
}

fn of_attribute<'m, E>(
    owner: &str,
    attribute: &'m mut AttributeProto,
    visit: &mut impl FnMut(&str, &mut TensorProto) -> Result<(), E>,
    nested: &mut VecDeque<Body<'m>>,
) -> Result<(), E> {
    attribute.t.iter_mut().chain(&mut attribute.tensors).try_for_each(|t| visit(owner, t))?;
    let sparse = attribute.sparse_tensor.iter_mut().chain(&mut attribute.sparse_tensors);
    for tensor in sparse {
        of_sparse(owner, tensor, visit)?;
    }
    nested.extend(attribute.g.iter_mut().chain(&mut attribute.graphs).map(Body::of_graph));
    Ok(())
}

/// The values of a sparse tensor have its name; its indices share it.
fn of_sparse<E>(
    owner: &str,
    sparse: &mut SparseTensorProto,
    visit: &mut impl FnMut(&str, &mut TensorProto) -> Result<(), E>,
) -> Result<(), E> {
    let name = sparse.values.as_ref().and_then(|v| v.name.clone()).unwrap_or_default();
    let owner = if name.is_empty() { owner } else { &name };
    sparse.values.iter_mut().chain(&mut sparse.indices).try_for_each(|t| visit(owner, t))
}
