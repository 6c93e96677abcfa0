//! Weights in the layouts that kernels read: packed once, however many plans there are.
//!
//! What is packed is told apart by its content, so nothing depends on which plan, or which session,
//! came first.

use crate::kernels::{Error, Weights};
use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak},
};
use tract_core::{
    ops::{konst::Const, matmul::pack::OptMatMulPack},
    optim::{Optimizer, OptimizerSession, TypedPass},
};
use tract_hir::internal::*;

/// Digest of the codes, outputs, inputs.
type TernaryKey = (blake3::Hash, usize, usize);

/// Packed ternary weights that some plan holds.
static TERNARY: LazyLock<Mutex<HashMap<TernaryKey, Weak<Weights>>>> = LazyLock::new(Mutex::default);

/// [`Weights::pack`], once for each content.
pub(super) fn ternary(codes: &[u8], n: usize, k: usize) -> Result<Arc<Weights>, Error> {
    let key = (blake3::hash(codes), n, k);
    let held = locked(&TERNARY).get(&key).and_then(Weak::upgrade);
    if let Some(weights) = held {
        return Ok(weights);
    }
    let weights = Arc::new(Weights::pack(codes, n, k)?);
    let mut ternary = locked(&TERNARY);
    ternary.retain(|_, weights| weights.strong_count() > 0);
    ternary.insert(key, Arc::downgrade(&weights));
    Ok(weights)
}

/// Dense matrices as tract's kernels read them.
#[derive(Debug, Clone, Default)]
pub(super) struct Dense(Arc<Mutex<HashMap<DenseKey, Arc<Tensor>>>>);

/// Digest, type and shape of the matrix, and the layout.
type DenseKey = (blake3::Hash, DatumType, TVec<usize>, OptMatMulPack);

impl Dense {
    /// tract's optimiser, which takes packed matrices from here.
    pub fn optimizer(&self) -> Optimizer {
        let mut optimizer = Optimizer::codegen();
        optimizer.add_pass(0, Box::new(Sharing { dense: self.clone(), next: 0 }));
        optimizer
    }

    /// The matrix in this layout.
    fn packed(&self, op: &OptMatMulPack, matrix: &Arc<Tensor>) -> TractResult<Option<Arc<Tensor>>> {
        let digest = blake3::hash(matrix.try_as_plain_ram()?.as_bytes());
        let key = (digest, matrix.datum_type(), matrix.shape().into(), op.clone());
        let held = locked(&self.0).get(&key).cloned();
        if held.is_some() {
            return Ok(held);
        }
        let made = op.eval_out_of_plan(tvec!(matrix.clone().into_tvalue()))?;
        rule_if_some!(packed = made.and_then(|made| made.into_iter().next()));
        let packed = packed.into_arc_tensor();
        locked(&self.0).insert(key, packed.clone());
        Ok(Some(packed))
    }
}

/// Puts packed matrices in the place of operators that pack constants.
#[derive(Debug, Clone)]
struct Sharing {
    dense: Dense,
    /// Nodes before this one pack nothing.
    next: usize,
}

impl TypedPass for Sharing {
    fn reset(&mut self) -> TractResult<()> {
        self.next = 0;
        Ok(())
    }

    fn next(
        &mut self,
        _: &mut OptimizerSession,
        model: &TypedModel,
    ) -> TractResult<Option<TypedModelPatch>> {
        for node in model.nodes.iter().skip(self.next) {
            self.next = node.id + 1;
            let Some(op) = node.op_as::<OptMatMulPack>() else { continue };
            let Some(matrix) = &model.outlet_fact(node.inputs[0])?.konst else { continue };
            let Some(packed) = self.dense.packed(op, matrix)? else { continue };
            let fact = model.outlet_fact(node.id.into())?.exotic_fact.clone();
            let constant = Const::new_with_opt_exotic_fact(packed, fact)?;
            let mut patch = TypedModelPatch::default();
            let wire = patch.wire_node(&node.name, constant, &[])?[0];
            patch.shunt_outside(model, node.id.into(), wire)?;
            return Ok(Some(patch));
        }
        Ok(None)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tract_core::ops::einsum::EinSum;

    #[test]
    fn ternary_weights_are_packed_once_for_each_content() {
        let [a, b, c] =
            [[0, 1, 2, 0], [0, 1, 2, 0], [2, 1, 2, 0]].map(|codes| ternary(&codes, 2, 5).unwrap());
        assert!(Arc::ptr_eq(&a, &b));
        assert!(!Arc::ptr_eq(&a, &c));
        assert!(!Arc::ptr_eq(&a, &ternary(&[0, 1, 2, 0], 2, 6).unwrap()));
        assert!(ternary(&[0, 1, 2, 0], 4, 5).is_err());
    }

    /// The product of x `[3, 4]` and a right side, or its transpose, not yet planned.
    fn product<T: Datum>(
        transposed: bool,
        right: impl FnOnce(&mut TypedModel) -> TractResult<OutletId>,
    ) -> TypedModel {
        let mut model = TypedModel::default();
        let x = model.add_source("x", T::fact([3, 4])).unwrap();
        let right = right(&mut model).unwrap();
        let axes = AxesMapping::for_numpy_matmul(2, false, transposed, false).unwrap();
        let y = model.wire_node("y", EinSum::new(axes, T::datum_type()), &[x, right]).unwrap();
        model.select_output_outlets(&y).unwrap();
        model
    }

    #[test]
    fn dense_weights_are_packed_once_for_each_layout() {
        let dense = Dense::default();
        let product = || {
            let weight = Tensor::from_shape(&[4, 4], &[0.5f32; 16])?;
            let mut model = product::<f32>(false, |model| model.add_const("weight", weight));
            model.optimize_with_session(&mut dense.optimizer().session())?;
            model
                .into_runnable()?
                .run(tvec![Tensor::from_shape(&[3, 4], &[2f32; 12])?.into_tvalue()])
        };
        for _ in 0..2 {
            let y = product().unwrap();
            assert_eq!(*y[0], Tensor::from_shape(&[3, 4], &[4f32; 12]).unwrap());
            assert_eq!(locked(&dense.0).len(), 1);
        }
    }

    #[test]
    fn dense_weights_are_told_apart_by_all_that_their_packing_depends_on() {
        let layouts = [false, true].map(|transposed| {
            let right = |model: &mut TypedModel| model.add_source("weight", i8::fact([4, 4]));
            let model = product::<i8>(transposed, right).into_optimized().unwrap();
            let weight = model.outlet_successors(model.inputs[1])[0].node;
            model.node(weight).op_as::<OptMatMulPack>().unwrap().clone()
        });
        assert_ne!(layouts[0], layouts[1]);
        let numbers: [i8; 16] = std::array::from_fn(|i| i as i8);
        let matrix = |shape, numbers: &[i8]| Tensor::from_shape(shape, numbers).unwrap();
        let plain = matrix(&[4, 4], &numbers);
        let steps = DatumType::QI8(QParams::ZpScale { zero_point: 0, scale: 1.0 });
        let matrices = [
            plain.cast_to_dt(steps).unwrap().into_owned(),
            matrix(&[2, 8], &numbers),
            matrix(&[4, 4], &numbers.map(|x| -x)),
            plain,
        ];
        let dense = Dense::default();
        for matrix in matrices.map(Tensor::into_arc_tensor) {
            for layout in &layouts {
                let alone = Dense::default().packed(layout, &matrix).unwrap();
                assert_eq!(dense.packed(layout, &matrix).unwrap(), alone, "{matrix:?}");
            }
        }
    }
}
