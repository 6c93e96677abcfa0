//! Panics of tract's in a program of its own: a test of its own, as panic hooks are the process's.
#![cfg(feature = "runtime")]

use bitonnx::{
    npz::Array,
    runtime::{Options, Session, quiet_panics},
    text::parse_model,
};
use std::{
    collections::BTreeMap,
    panic,
    sync::atomic::{AtomicUsize, Ordering},
};

static TOLD: AtomicUsize = AtomicUsize::new(0);

/// A program's hook hears of every panic, until the program asks for quiet: then of those alone that no
/// session makes errors of.
#[test]
fn panic_hooks_are_the_programs_own() {
    panic::set_hook(Box::new(|_| {
        TOLD.fetch_add(1, Ordering::SeqCst);
    }));
    let told = || TOLD.swap(0, Ordering::SeqCst);
    panics_in_tract();
    assert_eq!(told(), 1);
    quiet_panics();
    panics_in_tract();
    assert_eq!(told(), 0);
    assert!(panic::catch_unwind(|| panic!("not of tract's")).is_err());
    assert_eq!(told(), 1);
}

fn panics_in_tract() {
    let text = r#"<ir_version: 8, opset_import: ["" : 17]>
        g (float[2, 2] x) => (float[2, 2] y) { y = Transpose <perm = [0, 7]> (x) }"#;
    let mut session = Session::new(parse_model(text).unwrap(), &Options::default()).unwrap();
    let x = Array::F32(ndarray::ArrayD::zeros(ndarray::IxDyn(&[2, 2])));
    let error = session.run(&BTreeMap::from([("x".into(), x)])).unwrap_err();
    assert!(error.why().contains("tract panicked: index out of bounds"), "{error}");
}
