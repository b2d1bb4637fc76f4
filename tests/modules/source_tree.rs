//! The crate's files and the paths in them, resolved to the files that define what they name.
//!
//! Only what the product compiles counts: items below `#[cfg(test)]` are left out. A re-export is the index of a
//! module, not a dependency of it; a file that uses the name depends on the file that defines it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// How many re-exports are followed before a name counts as unknown.
const MAX_REEXPORTS: usize = 8;

/// The files that each file uses.
pub(crate) type Graph = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

type ModulePath = Vec<String>;

/// What a `use` declaration makes available in its module.
struct Import {
    /// `None` for a glob.
    name: Option<String>,
    path: Vec<String>,
    reexport: bool,
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    items: BTreeSet<String>,
    /// The modules that it declares.
    children: BTreeSet<String>,
    imports: Vec<Import>,
    /// Paths in the code itself.
    paths: BTreeSet<Vec<String>>,
}

/// The modules of the crate. One within a file belongs to that file.
pub(crate) struct SourceTree {
    modules: HashMap<ModulePath, Module>,
}

impl SourceTree {
    /// Reads the crate below `folder`.
    pub(crate) fn read(folder: &Path) -> Self {
        let files = sources(folder).into_iter().map(|file| {
            let text = fs::read_to_string(&file).expect("readable source");
            (file.strip_prefix(folder).expect("a file of the folder").to_owned(), text)
        });
        Self::parse(files)
    }

    /// Parses files, each with its path below the crate's folder.
    pub(crate) fn parse(files: impl IntoIterator<Item = (PathBuf, String)>) -> Self {
        let parsed: Vec<_> = files
            .into_iter()
            .map(|(file, text)| (module_path(&file), file, syn::parse_file(&text).expect("valid Rust")))
            .collect();
        let mut tree = Self { modules: HashMap::new() };
        let tests = test_modules(&parsed);
        for (path, file, parsed) in parsed {
            if !tests.iter().any(|tests| path.starts_with(tests)) {
                tree.add(path, &file, &parsed.items);
            }
        }
        tree
    }

    fn add(&mut self, path: ModulePath, file: &Path, items: &[Item]) {
        let mut module = Module { file: file.to_owned(), ..Module::default() };
        for item in items.iter().filter(|item| !is_for_tests(attributes(item))) {
            if let Some(name) = name_of(item) {
                module.items.insert(name);
            }
            match item {
                Item::Use(found) => {
                    let reexport = !matches!(found.vis, Visibility::Inherited);
                    collect_imports(&found.tree, &mut Vec::new(), reexport, &mut module.imports);
                }
                Item::Mod(inner) => {
                    module.children.insert(inner.ident.to_string());
                    if let Some((_, items)) = &inner.content {
                        let path = joined(&path, &inner.ident.to_string());
                        self.add(path, file, items);
                    }
                }
                item => Paths(&mut module).visit_item(item),
            }
        }
        self.modules.insert(path, module);
    }

    /// Returns which file uses which.
    pub(crate) fn graph(&self) -> Graph {
        let mut graph = Graph::new();
        for (path, module) in &self.modules {
            let imported = module.imports.iter().filter(|import| !import.reexport).map(|import| &import.path);
            let used = imported.chain(&module.paths).filter_map(|used| self.file_of(path, used, 0));
            let used = used.filter(|file| *file != module.file);
            graph.entry(module.file.clone()).or_default().extend(used);
        }
        graph
    }

    /// Lists the files that no module declares, which are never compiled.
    pub(crate) fn undeclared(&self) -> Vec<&Path> {
        let mut declared: BTreeSet<ModulePath> = BTreeSet::from([ModulePath::new()]);
        for (path, module) in &self.modules {
            declared.extend(module.children.iter().map(|child| joined(path, child)));
        }
        let undeclared = self.modules.iter().filter(|(path, _)| !declared.contains(*path));
        undeclared.map(|(_, module)| module.file.as_path()).collect()
    }

    /// Returns the file that defines what `path` names in the module `here`. `None` for other crates.
    fn file_of(&self, here: &[String], path: &[String], depth: usize) -> Option<PathBuf> {
        if depth > MAX_REEXPORTS {
            return None;
        }
        let (mut at, mut rest) = match path.first()?.as_str() {
            "crate" => (Vec::new(), &path[1..]),
            "self" => (here.to_vec(), &path[1..]),
            "super" => (here.split_last()?.1.to_vec(), &path[1..]),
            _ => (here.to_vec(), path),
        };
        while rest.first().is_some_and(|segment| segment == "super") {
            at.pop()?;
            rest = &rest[1..];
        }
        while let Some(segment) = rest.first() {
            let child = joined(&at, segment);
            if !self.modules.contains_key(&child) {
                break;
            }
            at = child;
            rest = &rest[1..];
        }
        let module = self.modules.get(&at)?;
        let Some(name) = rest.first() else {
            // A module named as a whole. A single word is a variable.
            return (path.len() > 1).then(|| module.file.clone());
        };
        if module.items.contains(name) {
            return Some(module.file.clone());
        }
        let named = module.imports.iter().filter(|import| import.name.as_ref() == Some(name));
        let globs = module.imports.iter().filter(|import| import.name.is_none());
        let named = named.map(|import| import.path.iter().chain(&rest[1..]).cloned().collect::<Vec<_>>());
        let globs = globs.map(|import| import.path.iter().chain(rest).cloned().collect::<Vec<_>>());
        named.chain(globs).find_map(|path| self.file_of(&at, &path, depth + 1))
    }
}

/// Lists the Rust files below `folder`.
pub(crate) fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

fn joined(path: &[String], child: &str) -> ModulePath {
    path.iter().cloned().chain([child.to_owned()]).collect()
}

fn module_path(file: &Path) -> ModulePath {
    let parts = file.with_extension("");
    let mut path: ModulePath = parts.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(path.last().map(String::as_str), Some("mod" | "lib")) {
        path.pop();
    }
    path
}

/// Lists the modules that are declared for tests only, in files of their own.
fn test_modules(files: &[(ModulePath, PathBuf, syn::File)]) -> Vec<ModulePath> {
    let mut found = Vec::new();
    for (path, _, file) in files {
        for item in &file.items {
            if let Item::Mod(module) = item
                && is_for_tests(&module.attrs)
            {
                found.push(joined(path, &module.ident.to_string()));
            }
        }
    }
    found
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string();
        list.path.is_ident("cfg") && (condition == "test" || condition.contains("\"testing\""))
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}

fn collect_imports(tree: &UseTree, before: &mut Vec<String>, reexport: bool, found: &mut Vec<Import>) {
    let mut add = |name: Option<String>, last: Option<String>| {
        let path = before.iter().cloned().chain(last).collect();
        found.push(Import { name, path, reexport });
    };
    match tree {
        UseTree::Path(inner) => {
            before.push(inner.ident.to_string());
            collect_imports(&inner.tree, before, reexport, found);
            before.pop();
        }
        UseTree::Group(group) => {
            group.items.iter().for_each(|tree| collect_imports(tree, before, reexport, found));
        }
        UseTree::Name(name) if name.ident == "self" => add(before.last().cloned(), None),
        UseTree::Name(name) => add(Some(name.ident.to_string()), Some(name.ident.to_string())),
        UseTree::Rename(renamed) if renamed.ident == "self" => add(Some(renamed.rename.to_string()), None),
        UseTree::Rename(renamed) => add(Some(renamed.rename.to_string()), Some(renamed.ident.to_string())),
        UseTree::Glob(_) => add(None, None),
    }
}

/// Collects the paths in an item.
struct Paths<'a>(&'a mut Module);

impl<'a> Visit<'a> for Paths<'_> {
    fn visit_path(&mut self, path: &'a syn::Path) {
        self.0.paths.insert(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    fn visit_attribute(&mut self, _: &'a Attribute) {}

    fn visit_item_use(&mut self, found: &'a syn::ItemUse) {
        collect_imports(&found.tree, &mut Vec::new(), false, &mut self.0.imports);
    }

    fn visit_macro(&mut self, found: &'a syn::Macro) {
        visit::visit_macro(self, found);
        collect_token_paths(found.tokens.clone(), &mut self.0.paths);
    }
}

/// Collects the paths among a macro's tokens: those that start with a keyword or a type.
fn collect_token_paths(tokens: TokenStream, found: &mut BTreeSet<Vec<String>>) {
    let mut paths = vec![Vec::new()];
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(name) if colons == 2 => paths.last_mut().expect("a path").push(name.to_string()),
            TokenTree::Ident(name) => paths.push(vec![name.to_string()]),
            TokenTree::Punct(punct) if punct.as_char() == ':' => {
                colons += 1;
                continue;
            }
            TokenTree::Group(group) => {
                collect_token_paths(group.stream(), found);
                paths.push(Vec::new());
            }
            _ => paths.push(Vec::new()),
        }
        colons = 0;
    }
    let is_path = |path: &Vec<String>| {
        path.first().is_some_and(|first| {
            ["crate", "self", "super"].contains(&first.as_str()) || first.starts_with(char::is_uppercase)
        })
    };
    found.extend(paths.into_iter().filter(is_path));
}
