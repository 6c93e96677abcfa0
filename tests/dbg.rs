#![cfg(feature = "runtime")]
use bitonnx::{npz::{self, Array}, proto, runtime::{Options, Session}};
use std::{collections::BTreeMap, path::Path};
fn floats(a: &Array) -> Vec<f64> { match a { Array::F32(a) => a.iter().map(|&v| v as f64).collect(), Array::F16(a) => a.iter().map(|v| v.to_f64()).collect(), Array::I64(a) => a.iter().map(|&v| v as f64).collect(),Array::Bool(a) => a.iter().map(|&v| v as u8 as f64).collect(), Array::F64(a) => a.iter().copied().collect(), Array::I32(a) => a.iter().map(|&v| v as f64).collect(), Array::U8(a) => a.iter().map(|&v| v as f64).collect(), Array::I8(a) => a.iter().map(|&v| v as f64).collect(), _ => vec![] } }
#[test]
fn dbg() {
    let Ok(base) = std::env::var("DBG") else { return };
    let arrays = npz::read(Path::new(&format!("{base}.npz"))).unwrap();
    let inputs: BTreeMap<String, Array> = arrays.iter().filter_map(|(k, v)| Some((k.strip_prefix("case0/in/")?.to_owned(), v.clone()))).collect();
    let model = proto::load(Path::new(&format!("{base}.onnx"))).unwrap();
    let order: Vec<String> = model.graph.as_ref().unwrap().node.iter().flat_map(|n| n.output.clone()).collect();
    let ops: BTreeMap<String, String> = model.graph.as_ref().unwrap().node.iter().flat_map(|n| n.output.iter().map(|o| (o.clone(), n.op_type().to_owned())).collect::<Vec<_>>()).collect();
    let mut s = Session::new(model, &Options::default()).unwrap();
    let t = std::time::Instant::now();
    let out: BTreeMap<String, Array> = match s.run(&inputs) { Ok(o) => o.into_iter().collect(), Err(e) => panic!("{e}") };
    println!("run {:?}", t.elapsed());
    for name in order {
        let (Some(got), Some(want)) = (out.get(&name), arrays.get(&format!("case0/out/{}", name.replace('/', "|")))) else { continue };
        let (g, w) = (floats(got), floats(want));
        let m = w.iter().filter(|v| v.is_finite()).fold(0f64, |m, v| m.max(v.abs()));
        let d = g.iter().zip(&w).fold(0f64, |m, (a, b)| m.max((a - b).abs()));
        if d > 1e-5 * m || got.shape() != want.shape() { println!("{name} {} {:?} {:?} diff {d:.3e} of {m:.3e}", ops[&name], got.shape(), want.shape()); }
    }
}
