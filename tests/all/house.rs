//! Imports point one way: what each folder of `src` may use of the others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Folder or file of `src`, and the others that it may name.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("files", &["error"]),
    ("kernels", &[]),
    ("quant", &[]),
    ("proto", &["error", "files"]),
    ("text", &["proto"]),
    ("array", &["proto"]),
    ("npz", &["error", "files"]),
    ("graph", &["array", "proto"]),
    ("pattern", &["graph", "proto", "text"]),
    ("values", &["array", "graph", "pattern", "proto"]),
    ("roles", &["graph", "proto", "values"]),
    ("report", &["roles"]),
    (
        "rewrite",
        &["error", "graph", "pattern", "proto", "quant", "report", "roles", "text", "values"],
    ),
    ("rules", &["graph", "pattern", "proto", "quant", "rewrite", "values"]),
    ("runtime", &["error", "graph", "kernels", "npz", "proto"]),
    ("schedule", &["error"]),
    ("weights", &["error", "proto", "rewrite"]),
];

#[test]
fn imports_point_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in rust_files(&source) {
        let within = file.strip_prefix(&source).unwrap();
        let part = within.components().next().unwrap().as_os_str().to_str().unwrap();
        let part = part.trim_end_matches(".rs").to_owned();
        uses.entry(part).or_default().extend(named(&fs::read_to_string(&file).unwrap()));
    }
    for (part, allowed) in MAY_USE {
        let mut used =
            uses.remove(*part).unwrap_or_else(|| panic!("src/{part} is gone: mend MAY_USE"));
        used.remove(*part);
        let allowed: BTreeSet<String> = allowed.iter().map(|a| (*a).to_owned()).collect();
        let extra: Vec<&String> = used.difference(&allowed).collect();
        assert!(extra.is_empty(), "src/{part} uses {extra:?}, which the house does not allow");
    }
    let rest: Vec<String> = uses.into_keys().collect();
    assert_eq!(rest, ["cli", "lib", "main"], "a part of src without a line in MAY_USE");
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false => vec![path],
        })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// The parts of the crate that a file names after `crate::`.
fn named(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .map(|l| format!("{l}\n"))
        .collect();
    let mut found = BTreeSet::new();
    for after in code.split("crate::").skip(1) {
        match after.strip_prefix('{') {
            Some(list) => found.extend(first_names(list)),
            None => found.extend(identifier(after)),
        }
    }
    found.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    found
}

/// The first identifier of each item of a use list, up to its closing brace.
fn first_names(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = Vec::new();
    let mut at_start = true;
    for (index, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => at_start = true,
            c if at_start && c.is_alphabetic() => {
                names.extend(identifier(&list[index..]));
                at_start = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(text[..end].to_owned())
}
