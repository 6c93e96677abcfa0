//! numpy's `.npz` files: what numpy writes is read, what is written numpy reads.

use bitonnx::npz::{self, Array};
use half::f16;
use ndarray::{ArrayD, IxDyn};
use std::{collections::BTreeMap, io::Write as _, path::Path};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

#[test]
fn every_type_survives() {
    let arrays = [
        ("bool", dense(&[3], vec![true, false, true])),
        ("i8", dense(&[2], vec![i8::MIN, i8::MAX])),
        ("i16", dense(&[2], vec![i16::MIN, i16::MAX])),
        ("i32", dense(&[2], vec![i32::MIN, i32::MAX])),
        ("i64", dense(&[2], vec![i64::MIN, i64::MAX])),
        ("u8", dense(&[2], vec![0u8, u8::MAX])),
        ("u16", dense(&[2], vec![0u16, u16::MAX])),
        ("u32", dense(&[2], vec![0u32, u32::MAX])),
        ("u64", dense(&[2], vec![0u64, u64::MAX])),
        ("f16", dense(&[2], vec![f16::MIN, f16::INFINITY])),
        ("f32", dense(&[2, 2], vec![f32::MIN_POSITIVE, -0.0, 1.5, f32::NEG_INFINITY])),
        ("f64", dense(&[], vec![f64::EPSILON])),
        ("empty", dense(&[0, 3], Vec::<f32>::new())),
        ("a/name/with slashes", dense(&[1], vec![1i64])),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("arrays.npz");
    npz::write(&path, arrays.iter().map(|(n, a)| (*n, a))).unwrap();
    let read = npz::read(&path).unwrap();
    let expected: BTreeMap<String, Array> =
        arrays.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect();
    assert_eq!(read, expected);
    assert_eq!(read["f32"].shape(), [2, 2]);
    assert_eq!(read["f16"].dtype(), "float16");

    let first = std::fs::read(&path).unwrap();
    npz::write(&path, arrays.iter().map(|(n, a)| (*n, a))).unwrap();
    assert!(first == std::fs::read(&path).unwrap(), "the same arrays gave other bytes");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "something was left behind");
}

/// The bytes are numpy's own: `numpy.save` of `[[1, 2, 3], [4, 5, 6]]` in these layouts.
#[test]
fn orders_and_byte_orders_of_numpy_are_read() {
    let expected = dense(&[2, 3], vec![1i16, 2, 3, 4, 5, 6]);
    let rows: Vec<i16> = vec![1, 2, 3, 4, 5, 6];
    let columns: Vec<i16> = vec![1, 4, 2, 5, 3, 6];
    let little = |v: &[i16]| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let big = |v: &[i16]| v.iter().flat_map(|v| v.to_be_bytes()).collect::<Vec<u8>>();
    for (descr, fortran, data) in [
        ("<i2", "False", little(&rows)),
        ("<i2", "True", little(&columns)),
        (">i2", "False", big(&rows)),
        (">i2", "True", big(&columns)),
    ] {
        for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
            let npy = npy(descr, fortran, "(2, 3)", &data);
            assert_eq!(read_one(&npy, method).unwrap(), expected, "{descr} {fortran} {method:?}");
        }
    }
}

#[test]
fn what_is_no_array_is_refused() {
    let data = [0u8; 16];
    let complex = npy("<c8", "False", "(2,)", &data);
    let short = npy("<f4", "False", "(5,)", &data);
    let huge = npy("<f4", "False", "(4294967296, 4294967295)", &data);
    let mut cut = npy("<f4", "False", "(4,)", &data);
    cut.truncate(40);
    for (what, npy) in [("complex", complex), ("short", short), ("huge", huge), ("cut", cut)] {
        let error = read_one(&npy, CompressionMethod::Stored).unwrap_err();
        assert!(error.what().contains("array `x`"), "{what}: {error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.npz");
    std::fs::write(&path, "not a zip").unwrap();
    assert!(npz::read(&path).unwrap_err().what().contains("text.npz"));
    std::fs::write(&path, npy("<f4", "False", "(4,)", &data)).unwrap();
    let error = npz::read(&path).unwrap_err();
    assert_eq!(error.why(), "it is a single array (.npy)");
    assert!(error.hint().contains("numpy.savez under the input's name"), "{error}");
    assert!(npz::read(Path::new("no/such.npz")).unwrap_err().what().contains("no/such.npz"));
}

fn dense<T>(shape: &[usize], elements: Vec<T>) -> Array
where
    Array: From<ArrayD<T>>,
{
    ArrayD::from_shape_vec(IxDyn(shape), elements).unwrap().into()
}

/// A `.npy` file of version 1.
fn npy(descr: &str, fortran: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    npy.extend((header.len() as u16).to_le_bytes());
    npy.extend(header.as_bytes());
    npy.extend(data);
    npy
}

fn read_one(npy: &[u8], method: CompressionMethod) -> bitonnx::Result<Array> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("one.npz");
    let mut zip = ZipWriter::new(std::fs::File::create(&path).unwrap());
    zip.start_file("x.npy", SimpleFileOptions::default().compression_method(method)).unwrap();
    zip.write_all(npy).unwrap();
    zip.finish().unwrap();
    npz::read(&path).map(|mut arrays| arrays.remove("x").unwrap())
}
