//! Each room of `src` uses what stands below it, no two files or folders use each other in a circle, and
//! CONTRIBUTING says so.

use proc_macro2::{Delimiter, TokenStream, TokenTree, token_stream};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    iter::Peekable,
    path::{Path, PathBuf},
};

/// The rooms from the ground up, each with all that it uses of those below.
const ROOMS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("kernels", &[]),
    ("files", &["error"]),
    ("npz", &["error", "files"]),
    ("proto", &["error", "files"]),
    ("array", &["proto"]),
    ("text", &["proto"]),
    ("operator", &["error", "proto", "text"]),
    ("quant", &["operator"]),
    ("graph", &["array", "proto"]),
    ("values", &["array", "graph", "proto"]),
    ("pattern", &["graph", "proto", "text"]),
    ("roles", &["graph", "proto", "values"]),
    ("report", &["roles"]),
    ("options", &["error", "roles"]),
    ("draft", &["graph", "operator", "proto", "quant", "text"]),
    (
        "variants",
        &["draft", "error", "graph", "operator", "options", "pattern", "proto", "quant", "values"],
    ),
    (
        "rewrite",
        &[
            "draft", "error", "graph", "operator", "options", "pattern", "proto", "quant",
            "report", "roles", "text", "values", "variants",
        ],
    ),
    ("rules", &["graph", "operator", "pattern", "proto", "quant", "rewrite", "values"]),
    ("runtime", &["error", "graph", "kernels", "npz", "operator", "proto"]),
    (
        "cli",
        &[
            "error", "files", "graph", "kernels", "npz", "options", "proto", "report", "rewrite",
            "rules", "runtime", "text", "variants",
        ],
    ),
];

#[test]
fn rooms_use_what_stands_below() {
    let mut uses: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    let room = |module: &Module| module.split("::").next().unwrap_or_default().to_owned();
    for (module, used) in House::read().uses {
        uses.entry(room(&module)).or_default().extend(used.iter().map(room));
    }
    // `lib.rs` and `main.rs`, the doors.
    uses.retain(|room, _| !["", "main"].contains(&room.as_str()));
    let mut below = BTreeSet::new();
    for (room, may_use) in ROOMS {
        let may_use: BTreeSet<Module> = may_use.iter().map(|used| (*used).into()).collect();
        let higher: Vec<_> = may_use.difference(&below).collect();
        assert!(higher.is_empty(), "src/{room} may use {higher:?}, which do not stand below it");
        let mut used = uses.remove(*room).unwrap_or_else(|| panic!("src/{room} is gone"));
        used.retain(|used| !used.is_empty() && used != room);
        assert_eq!(used, may_use, "what src/{room} uses, and what its line in ROOMS says");
        below.insert((*room).to_owned());
    }
    assert!(uses.is_empty(), "rooms without a line in ROOMS: {:?}", uses.keys());
}

/// The table of CONTRIBUTING has a line for each room, in the same order.
#[test]
fn the_page_lists_the_rooms() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("CONTRIBUTING.md");
    let page = fs::read_to_string(page).unwrap();
    let table = page.lines().skip_while(|line| !line.starts_with("| room of")).skip(2);
    let listed: Vec<&str> =
        table.map_while(|row| row.strip_prefix("| `")?.split(['/', '`']).next()).collect();
    assert_eq!(listed, ROOMS.iter().map(|(room, _)| *room).collect::<Vec<_>>());
}

#[test]
fn no_two_use_each_other_in_a_circle() {
    let mut uses: BTreeMap<Module, BTreeSet<Module>> = BTreeMap::new();
    for (module, used) in House::read().uses {
        for (a, b) in used.iter().filter_map(|used| siblings(&module, used)) {
            uses.entry(a).or_default().insert(b);
        }
    }
    assert_eq!(circles(&uses), BTreeSet::new());
}

/// The path of a module or an item in the crate: `rewrite::rule`. The crate itself is empty.
type Module = String;

/// What each file names of the others.
#[derive(Default)]
struct House {
    /// By module, the paths behind the names that it imports.
    imports: BTreeMap<Module, BTreeMap<String, Vec<String>>>,
    /// By module, the modules that define what it names.
    uses: BTreeMap<Module, BTreeSet<Module>>,
}

impl House {
    fn read() -> House {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut house = House::default();
        let mut files = Vec::new();
        for file in rust_files(&source) {
            let module = module(file.strip_prefix(&source).unwrap());
            let code: TokenStream = fs::read_to_string(&file).unwrap().parse().unwrap();
            let mut paths = Paths::default();
            paths.collect(code);
            house.imports.entry(module.clone()).or_default().extend(paths.imports);
            files.push((module, paths.all));
        }
        for (module, paths) in files {
            let used: Vec<Module> =
                paths.iter().filter_map(|path| house.definer(&module, path)).collect();
            house.uses.entry(module).or_default().extend(used);
        }
        house
    }

    /// The module that defines what a path leads to from another; `None` outside of the crate.
    fn definer(&self, from: &str, path: &[String]) -> Option<Module> {
        let (first, rest) = path.split_first()?;
        let mut at = match first.as_str() {
            "crate" | "bitonnx" => Module::new(),
            "self" => from.to_owned(),
            _ => self.step(from, first)?,
        };
        for name in rest {
            match self.step(&at, name) {
                Some(next) => at = next,
                None => break,
            }
        }
        Some(at)
    }

    /// Where a name leads from a module: up, to a child or along an import.
    fn step(&self, module: &str, name: &str) -> Option<Module> {
        let parent = module.rsplit_once("::").map_or("", |(parent, _)| parent);
        let child = format!("{module}::{name}").trim_start_matches("::").to_owned();
        match name {
            "super" => Some(parent.to_owned()),
            _ if self.imports.contains_key(&child) => Some(child),
            _ => {
                let path = self.imports.get(module)?.get(name)?;
                if path[0] == name { None } else { self.definer(module, path) }
            }
        }
    }
}

/// The paths in a file's code, its tests left out.
#[derive(Default)]
struct Paths {
    all: Vec<Vec<String>>,
    imports: BTreeMap<String, Vec<String>>,
}

type Tokens = Peekable<token_stream::IntoIter>;

impl Paths {
    fn collect(&mut self, code: TokenStream) {
        let mut tokens = code.into_iter().peekable();
        let mut imports = false;
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Ident(word) if word == "use" => imports = true,
                TokenTree::Ident(word)
                    if word == "mod" && next_word(&mut tokens).is_some_and(|w| w == "tests") =>
                {
                    tokens.next();
                }
                TokenTree::Ident(word) => self.path(vec![word.to_string()], &mut tokens, imports),
                TokenTree::Group(group) => self.collect(group.stream()),
                TokenTree::Punct(punct) if punct.as_char() == ';' => imports = false,
                _ => {}
            }
        }
    }

    /// Reads a path to its end, and those that branch off from it in braces.
    fn path(&mut self, mut path: Vec<String>, tokens: &mut Tokens, imports: bool) {
        let is_colon =
            |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ':');
        while tokens.next_if(is_colon).is_some() {
            tokens.next_if(is_colon);
            if let Some(word) = next_word(tokens) {
                path.push(word);
            } else if let Some(TokenTree::Group(list)) = tokens.peek()
                && list.delimiter() == Delimiter::Brace
            {
                let mut items = list.stream().into_iter().peekable();
                while items.peek().is_some() {
                    if let Some(word) = next_word(&mut items) {
                        let item = path.iter().cloned().chain([word]).collect();
                        self.path(item, &mut items, imports);
                    }
                    items.next();
                }
                return;
            }
        }
        if imports {
            let renamed = tokens.next_if(|t| matches!(t, TokenTree::Ident(word) if word == "as"));
            let name = renamed.map_or_else(|| path.last().cloned(), |_| next_word(tokens));
            self.imports.extend(name.map(|name| (name, path.clone())));
        }
        self.all.push(path);
    }
}

fn next_word(tokens: &mut Tokens) -> Option<String> {
    tokens.next_if(|token| matches!(token, TokenTree::Ident(_))).map(|word| word.to_string())
}

/// The children of one module through which two others belong to it, unless one of these is that module:
/// a folder's `mod.rs` may name what the folder holds, and be named by it.
fn siblings(a: &str, b: &str) -> Option<(Module, Module)> {
    let (a, b): (Vec<_>, Vec<_>) = (a.split("::").collect(), b.split("::").collect());
    let differs = a.iter().zip(&b).position(|(a, b)| a != b)?;
    let child = |path: &[&str]| path[..=differs].join("::");
    // Everything belongs to the crate.
    Some((child(&a), child(&b))).filter(|(a, b)| !a.is_empty() && !b.is_empty())
}

/// The largest sets of modules of which each uses each other, be it by way of others.
fn circles(uses: &BTreeMap<Module, BTreeSet<Module>>) -> BTreeSet<BTreeSet<Module>> {
    let reached: BTreeMap<&Module, BTreeSet<Module>> =
        uses.keys().map(|from| (from, reached(uses, from))).collect();
    let circle = |from: &Module| -> BTreeSet<Module> {
        let back = |to: &&Module| reached.get(*to).is_some_and(|back| back.contains(from));
        reached[from].iter().filter(back).cloned().collect()
    };
    uses.keys().map(circle).filter(|circle| !circle.is_empty()).collect()
}

/// All that a module uses, be it by way of others.
fn reached(uses: &BTreeMap<Module, BTreeSet<Module>>, from: &Module) -> BTreeSet<Module> {
    let (mut reached, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(at) = open.pop() {
        open.extend(uses.get(at).into_iter().flatten().filter(|to| reached.insert((*to).clone())));
    }
    reached
}

fn module(file: &Path) -> Module {
    let path = file.with_extension("");
    let mut parts: Vec<&str> = path.iter().map(|part| part.to_str().unwrap()).collect();
    parts.pop_if(|last| ["mod", "lib"].contains(last));
    parts.join("::")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect()
}
