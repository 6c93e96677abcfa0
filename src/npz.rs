//! numpy's `.npz` files: named arrays in a zip archive.

use crate::{
    error::{Error, ErrorKind, Result},
    files,
};
use half::f16;
use ndarray::{ArrayD, IxDyn, ShapeBuilder as _};
use npyz::{AutoSerialize, NpyFile, Order, WriterBuilder as _};
use std::{
    collections::BTreeMap,
    io::{self, Cursor, Read as _, Write},
    path::Path,
};
use zip::{CompressionMethod, DateTime, ZipArchive, ZipWriter, write::SimpleFileOptions};

/// Declares [`Array`], one variant for each element type that numpy and ONNX share.
macro_rules! arrays {
    ($($variant:ident, $element:ty, $dtype:literal;)*) => {
        /// A dense array, row-major.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Array {
            $(
                #[doc = concat!("Elements of numpy's dtype `", $dtype, "`.")]
                $variant(ArrayD<$element>),
            )*
        }

        impl Array {
            /// numpy's name of the element type.
            pub fn dtype(&self) -> &'static str {
                match self { $(Array::$variant(_) => $dtype,)* }
            }

            /// The dimensions, outermost first.
            pub fn shape(&self) -> &[usize] {
                match self { $(Array::$variant(array) => array.shape(),)* }
            }
        }

        $(
            impl From<ArrayD<$element>> for Array {
                fn from(array: ArrayD<$element>) -> Self {
                    Array::$variant(array)
                }
            }
        )*

        fn parse(npy: NpyFile<&[u8]>) -> io::Result<Array> {
            let header = npy.header().clone();
            $(
                let npy = match npy.try_data::<$element>() {
                    Ok(reader) => {
                        let elements: Vec<$element> = reader.collect::<io::Result<_>>()?;
                        return dense(&header, elements).map(Array::from);
                    }
                    Err(npy) => npy,
                };
            )*
            Err(io::Error::other(format!(
                "its dtype {} is not a bool, an integer or a float",
                npy.dtype().descr()
            )))
        }

        fn put(array: &Array, to: &mut impl Write) -> io::Result<()> {
            match array { $(Array::$variant(array) => put_elements(array, to),)* }
        }
    };
}

arrays! {
    Bool, bool, "bool";
    I8, i8, "int8";
    I16, i16, "int16";
    I32, i32, "int32";
    I64, i64, "int64";
    U8, u8, "uint8";
    U16, u16, "uint16";
    U32, u32, "uint32";
    U64, u64, "uint64";
    F16, f16, "float16";
    F32, f32, "float32";
    F64, f64, "float64";
}

/// What a file of one array begins with.
const NPY: &[u8] = b"\x93NUMPY";

/// Reads every array of a file, stored or deflated, in C or Fortran order.
pub fn read(path: &Path) -> Result<BTreeMap<String, Array>> {
    let failed = |what: String, e: &dyn std::fmt::Display| {
        Error::new(
            ErrorKind::InvalidFile,
            what,
            e.to_string(),
            "write the file with numpy.savez or numpy.savez_compressed",
        )
    };
    let whole = |e: &dyn std::fmt::Display| failed(format!("{} can't be read", path.display()), e);
    let content = files::read(path)?;
    if content.starts_with(NPY) {
        let hint = "save it with numpy.savez under the input's name";
        return Err(whole(&"it is a single array (.npy)").with_hint(hint));
    }
    let mut archive = ZipArchive::new(Cursor::new(content)).map_err(|e| whole(&e))?;
    let mut arrays = BTreeMap::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| whole(&e))?;
        let name = entry.name().map_err(|e| whole(&e))?.into_owned();
        let name = name.strip_suffix(".npy").unwrap_or(&name).to_owned();
        let mut bytes = Vec::new();
        let array =
            entry.read_to_end(&mut bytes).and_then(|_| parse(NpyFile::new(&bytes[..])?)).map_err(
                |e| failed(format!("array `{name}` of {} can't be read", path.display()), &e),
            )?;
        arrays.insert(name, array);
    }
    Ok(arrays)
}

/// Writes the arrays in the given order, uncompressed. The same arrays give the same bytes.
pub fn write<'a>(
    path: &Path,
    arrays: impl IntoIterator<Item = (&'a str, &'a Array)>,
) -> Result<()> {
    let archive = archive(arrays).map_err(|e| {
        let what = format!("{} can't be written", path.display());
        Error::new(ErrorKind::Unsupported, what, e.to_string(), "give the arrays shorter names")
    })?;
    files::write_bytes(path, &archive)
}

fn archive<'a>(arrays: impl IntoIterator<Item = (&'a str, &'a Array)>) -> io::Result<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::DEFAULT)
        .large_file(true);
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, array) in arrays {
        zip.start_file(format!("{name}.npy"), options)?;
        put(array, &mut zip)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn put_elements<T: AutoSerialize + Copy>(array: &ArrayD<T>, to: &mut impl Write) -> io::Result<()> {
    let shape: Vec<u64> = array.shape().iter().map(|&d| d as u64).collect();
    let mut buffered = io::BufWriter::new(to);
    let mut npy =
        npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut buffered).begin_nd()?;
    npy.extend(array.iter().copied())?;
    npy.finish()?;
    buffered.flush()
}

fn dense<T: Clone>(header: &npyz::NpyHeader, elements: Vec<T>) -> io::Result<ArrayD<T>> {
    let shape: Vec<usize> = header.shape().iter().map(|&d| d as usize).collect();
    let fortran = header.order() == Order::Fortran;
    let array = ArrayD::from_shape_vec(IxDyn(&shape).set_f(fortran), elements)
        .map_err(|e| io::Error::other(format!("its shape {shape:?} does not fit its data: {e}")))?;
    Ok(if fortran { array.as_standard_layout().into_owned() } else { array })
}
