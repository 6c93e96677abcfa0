//! `Einsum`, `MatMul` and `Gemm`, as products of stacks of matrices.

use super::call::{Call, Limit, Outcome, Reason, converted, same};
use super::elementwise::combined;
use super::layout::standard;
use super::number::{ADD, FLOATS, MUL};
use crate::array::{Array, Element, Elements};
use crate::graph::Equation;
use ndarray::{ArcArray, Axis, Ix3, LinalgScalar};
use std::collections::HashSet;

pub fn einsum(call: &mut Call) -> Outcome {
    let text = call.node.string("equation").ok_or("its equation is missing")?;
    let equation =
        Equation::parse(text).ok_or_else(|| format!("its equation `{text}` can't be read"))?;
    product(&equation, &call.take_all()?, call.limit)
}

/// Of a vector, a matrix or a stack with a matrix, or with as many as it has.
pub fn mat_mul(call: &mut Call) -> Outcome {
    let operands = call.take_all()?;
    let ranks: Vec<usize> = operands.iter().map(|operand| operand.shape().len()).collect();
    let &[a, b] = &ranks[..] else { return Err("it multiplies two matrices".to_owned()) };
    let outer: Vec<char> = ('α'..).take(a.saturating_sub(1)).collect();
    let stack = outer.split_last().map_or(&outer[..], |(_, stack)| stack);
    let shared = stack.get(stack.len().saturating_sub(b.saturating_sub(2))..).unwrap_or_default();
    let terms = vec![[&outer[..], &['k']].concat(), [shared, &['k', 'n']].concat()];
    product(&Equation { terms, output: [&outer[..], &['n']].concat() }, &operands, call.limit)
}

/// `alpha · A' · B' + beta · C`.
pub fn gemm(call: &mut Call) -> Outcome {
    let operands = [call.take(0)?, call.take(1)?];
    let (node, limit) = (call.node, call.limit);
    let term = |turned, [row, column]: [char; 2]| {
        if node.flag(turned) { vec![column, row] } else { vec![row, column] }
    };
    let terms = vec![term("transA", ['m', 'k']), term("transB", ['k', 'n'])];
    let y = product(&Equation { terms, output: vec!['m', 'n'] }, &operands, limit)?;
    let times = |x: Array, name| match node.float(name) {
        Some(factor) => {
            let factor = converted(Array::from_scalar(factor), x.dtype())?;
            combined(x, factor, FLOATS, MUL, limit)
        }
        None => Ok(x),
    };
    let y = times(y, "alpha")?;
    let Some(c) = call.take_optional(2) else { return Ok(y) };
    let shapes = [y.shape().to_vec(), c.shape().to_vec()];
    let sum = combined(y, times(c, "beta")?, FLOATS, ADD, limit)?;
    if sum.shape() == shapes[0] { Ok(sum) } else { Err(format!("it adds up shapes {shapes:?}")) }
}

/// An operand, or the product of some, with a letter for each of its axes.
struct Term<T: Element> {
    axes: Vec<char>,
    elements: Elements<T>,
}

/// Matrices of one shape.
type Stack<T> = ArcArray<T, Ix3>;

fn product(equation: &Equation, operands: &[Array], limit: Limit) -> Outcome {
    match operands.first() {
        Some(Array::F32(_)) => multiplied::<f32>(equation, operands, limit),
        Some(Array::F64(_)) => multiplied::<f64>(equation, operands, limit),
        _ => Err("it is computed for floats only".to_owned()),
    }
}

fn multiplied<T: Element + LinalgScalar>(
    equation: &Equation,
    operands: &[Array],
    limit: Limit,
) -> Outcome {
    if operands.len() != equation.terms.len() {
        return Err(format!("its equation has {} terms", equation.terms.len()));
    }
    let mut product: Option<Term<T>> = None;
    for (at, (axes, operand)) in equation.terms.iter().zip(operands).enumerate() {
        let elements = same::<T>(operand.clone())?;
        let distinct: HashSet<char> = axes.iter().copied().collect();
        let fits = [axes.len(), distinct.len()] == [elements.ndim(); 2];
        if !fits || distinct.contains(&Equation::REST) {
            let (shape, axes) = (elements.shape(), String::from_iter(axes));
            return Err(format!("its operand {at} has shape {shape:?}, not the axes {axes}"));
        }
        let needed = [&equation.terms[at + 1..].concat()[..], &equation.output].concat();
        let term = Term { axes: axes.clone(), elements };
        product = Some(match product {
            None => term,
            Some(before) => before.times(term, &needed, limit)?,
        });
    }
    let Term { axes, elements } = product.ok_or("it has no operand")?.summed(&equation.output);
    let order = equation.output.iter().map(|axis| axes.iter().position(|a| a == axis));
    let order: Vec<usize> =
        order.collect::<Option<_>>().ok_or("its result has an axis of no operand")?;
    if order.len() != axes.len() {
        return Err("its result has an axis twice".to_owned());
    }
    Ok(T::wrap(elements.permuted_axes(order)))
}

impl<T: Element + LinalgScalar> Term<T> {
    /// The sum over all axes but those that are needed.
    fn summed(mut self, needed: &[char]) -> Self {
        for at in (0..self.axes.len()).rev().filter(|at| !needed.contains(&self.axes[*at])) {
            self.elements = self.elements.sum_axis(Axis(at)).into_shared();
        }
        self.axes.retain(|axis| needed.contains(axis));
        self
    }

    /// The product with another, summed over the axes of both that are not needed.
    fn times(self, other: Self, needed: &[char], limit: Limit) -> Result<Self, Reason> {
        let within = |term: &Self, axes: &[char]| [axes, &term.axes].concat();
        let (needed_a, needed_b) = (within(&other, needed), within(&self, needed));
        let (a, b) = (self.summed(&needed_a), other.summed(&needed_b));
        let of = |term: &Self, keep: &dyn Fn(&char) -> bool| -> Vec<char> {
            term.axes.iter().copied().filter(keep).collect()
        };
        let stacked = of(&a, &|c| b.axes.contains(c) && needed.contains(c));
        let summed = of(&a, &|c| b.axes.contains(c) && !needed.contains(c));
        let rows = of(&a, &|c| !b.axes.contains(c));
        let columns = of(&b, &|c| !a.axes.contains(c));
        let shapes = [a.elements.shape().to_vec(), b.elements.shape().to_vec()];
        let (x, left) = a.matrices([&stacked, &rows, &summed])?;
        let (y, right) = b.matrices([&stacked, &summed, &columns])?;
        if [left[0].clone(), left[2].clone()] != [right[0].clone(), right[1].clone()] {
            return Err(format!("it multiplies along axes of different lengths: {shapes:?}"));
        }
        let shape = [&left[0][..], &left[1], &right[2]].concat();
        limit.allow::<T>(&shape)?;
        let products = x.outer_iter().zip(y.outer_iter()).flat_map(|(x, y)| x.dot(&y));
        let elements =
            Elements::from_shape_vec(shape, products.collect()).map_err(|e| e.to_string())?;
        Ok(Term { axes: [stacked, rows, columns].concat(), elements })
    }

    /// The elements as a stack of matrices, and the lengths of the axes of each of its three.
    fn matrices(self, groups: [&[char]; 3]) -> Result<(Stack<T>, [Vec<usize>; 3]), Reason> {
        let places = groups.map(|group| -> Vec<usize> {
            group.iter().filter_map(|c| self.axes.iter().position(|a| a == c)).collect()
        });
        let lengths = places.clone().map(|group| -> Vec<usize> {
            group.iter().map(|at| self.elements.len_of(Axis(*at))).collect()
        });
        let [stack, rows, columns] = lengths.clone().map(|group| group.iter().product::<usize>());
        let elements = standard(self.elements.permuted_axes(places.concat()));
        let stacked = elements.into_shape_with_order((stack, rows, columns));
        Ok((stacked.map_err(|e| e.to_string())?, lengths))
    }
}
