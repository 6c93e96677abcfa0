//! What a plan is for: the inputs that it takes.

use super::walk::Feed;
use std::collections::HashSet;
use tract_hir::internal::*;

/// What a plan depends on in one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input {
    pub name: String,
    pub datum_type: DatumType,
    pub shape: Vec<usize>,
    /// The value, where the plan is for it.
    pub value: Option<Arc<Tensor>>,
}

/// The symbol of what is left open.
pub(super) const OPEN: &str = "S";

/// An input, and an axis of it.
pub(super) type Axis = (usize, usize);

/// The inputs of a run, in the graph's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key(pub Vec<Input>);

impl Key {
    /// The same for any value of the inputs of these names.
    pub fn without(&self, names: &HashSet<String>) -> Key {
        let mut key = self.clone();
        key.0.iter_mut().filter(|i| names.contains(&i.name)).for_each(|i| i.value = None);
        key
    }

    /// The axes that have other sizes in `other`, and how much larger those are: the same for all of
    /// them. `None` where they are not, or where anything else differs, values but for those that this
    /// key is not for included.
    pub fn growth(&self, other: &Key) -> Option<(Vec<Axis>, isize)> {
        let alike = |a: &Input, b: &Input| {
            (&a.name, a.datum_type, a.shape.len()) == (&b.name, b.datum_type, b.shape.len())
                && (a.value.is_none() || a.value == b.value)
        };
        let (a, b) = (&self.0, &other.0);
        if a.len() != b.len() || !a.iter().zip(b).all(|(a, b)| alike(a, b)) {
            return None;
        }
        let (mut axes, mut growths) = (Vec::new(), HashSet::new());
        for (input, (a, b)) in a.iter().zip(b).enumerate() {
            for (axis, (&a, &b)) in
                a.shape.iter().zip(&b.shape).enumerate().filter(|(_, (a, b))| a != b)
            {
                axes.push((input, axis));
                growths.insert(b as isize - a as isize);
            }
        }
        (growths.len() < 2).then(|| (axes, growths.into_iter().next().unwrap_or_default()))
    }

    /// The smallest size of these axes.
    pub fn least(&self, axes: &[Axis]) -> usize {
        axes.iter().map(|&(input, axis)| self.0[input].shape[axis]).min().unwrap_or_default()
    }

    /// What is fed into the model; these axes have a size of `S` and a constant.
    pub fn feeds<'k>(&'k self, open: &[Axis], symbols: &SymbolScope) -> Vec<Feed<'k>> {
        let least = self.least(open);
        let size = |input: usize, axis: usize, size: usize| match open.contains(&(input, axis)) {
            true => symbols.sym(OPEN).to_dim() + (size - least),
            false => size.to_dim(),
        };
        let of = |(index, input): (usize, &'k Input)| {
            let shape = input.shape.iter().enumerate().map(|(axis, n)| size(index, axis, *n));
            let shape: TVec<TDim> = shape.collect();
            Feed {
                name: input.name.as_str().into(),
                fact: input.datum_type.fact(shape),
                value: input.value.clone(),
            }
        };
        self.0.iter().enumerate().map(of).collect()
    }

    /// The values, cut to the sizes of these inputs, which are no larger.
    pub fn cut(&self, values: TVec<Tensor>) -> TractResult<TVec<TValue>> {
        let one = |(value, input): (Tensor, &Input)| {
            let mut sizes = input.shape.iter().enumerate();
            let cut =
                sizes.try_fold(value, |value, (axis, &size)| match value.shape()[axis] == size {
                    true => Ok(value),
                    false => value.slice(axis, 0, size),
                });
            cut.map(Tensor::into_tvalue)
        };
        values.into_iter().zip(&self.0).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(shapes: &[&[usize]]) -> Key {
        let of = |shape: &&[usize]| Input {
            name: String::new(),
            datum_type: DatumType::F32,
            shape: shape.to_vec(),
            value: None,
        };
        Key(shapes.iter().map(of).collect())
    }

    #[test]
    fn growth_is_the_same_for_all_axes_or_none() {
        let of = |past, total, x| key(&[&[past, 2], &[total], &[x, 2]]);
        let base = of(3, 4, 1);
        assert_eq!(base.growth(&base), Some((vec![], 0)));
        assert_eq!(base.growth(&of(5, 6, 1)), Some((vec![(0, 0), (1, 0)], 2)));
        assert_eq!(base.growth(&of(1, 2, 1)), Some((vec![(0, 0), (1, 0)], -2)));
        assert_eq!(base.growth(&of(5, 7, 1)), None);
        assert_eq!(base.growth(&key(&[&[3, 2], &[4]])), None);
    }

    #[test]
    fn a_plan_without_a_value_is_for_any() {
        let (any, [mut one, mut two]) = (key(&[&[3]]), [key(&[&[3]]), key(&[&[3]])]);
        one.0[0].value = Some(Arc::new(tensor1(&[1f32, 2.0, 3.0])));
        two.0[0].value = Some(Arc::new(tensor1(&[1f32, 2.0, 4.0])));
        assert!(any.growth(&one).is_some() && one.growth(&one).is_some());
        assert!(one.growth(&two).is_none() && one.growth(&any).is_none());
        assert_eq!(one.without(&HashSet::from([String::new()])), any);
    }

    #[test]
    fn values_are_cut_to_what_a_plan_is_for() {
        let value = tensor2(&[[1f32, 2.0, 3.0], [4.0, 5.0, 6.0]]);
        let cut = key(&[&[2, 2]]).cut(tvec![value]).unwrap();
        assert_eq!(*cut[0], tensor2(&[[1f32, 2.0], [4.0, 5.0]]));
    }
}
