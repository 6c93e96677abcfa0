//! A rewritten model in a program that is built on tract: `cargo run --example embed MODEL`.
//!
//! Only the second line of `load` is new to a user of tract.

use bitonnx::runtime::{
    register,
    tract::{
        self,
        tract_hir::{infer::Factoid, internal::*},
    },
};

fn load(path: &str) -> TractResult<InferenceModel> {
    let mut onnx = tract::onnx();
    register(&mut onnx);
    onnx.with_ignore_value_info(true).model_for_path(path)
}

fn main() -> TractResult<()> {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: embed MODEL");
        std::process::exit(2);
    };
    let mut model = load(&path)?;
    // Every dimension that has only a name is 4 here, and every input is zeros.
    let mut inputs = tvec!();
    for (index, outlet) in model.input_outlets()?.to_vec().into_iter().enumerate() {
        let fact = model.outlet_fact(outlet)?;
        let datum_type = fact.datum_type.concretize().unwrap_or(f32::datum_type());
        let shape: TVec<usize> = fact
            .shape
            .dims()
            .map(|d| d.concretize().and_then(|d| d.to_usize().ok()).unwrap_or(4))
            .collect();
        model.set_input_fact(index, InferenceFact::dt_shape(datum_type, &shape))?;
        inputs.push(Tensor::zero_dt(datum_type, &shape)?.into_tvalue());
    }
    let outputs = model.into_optimized()?.into_runnable()?.run(inputs)?;
    for output in outputs {
        println!("{:?} {:?}", output.datum_type(), output.shape());
    }
    Ok(())
}
