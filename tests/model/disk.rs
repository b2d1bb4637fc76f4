//! The files, and which of them a power cut would leave. Models `store/`.

use super::world::{Enumerable, Path, Set};

/// A name in a directory, as readers see it and as the medium holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// The name has never existed.
    Never,
    /// Visible, but the directory has not been synced since.
    Fresh,
    /// Visible and durable.
    Durable,
    /// Removed, but a power cut may bring it back.
    Fading,
    /// Removed durably.
    Gone,
}

/// The content behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Durable.
    Synced,
    /// Complete for readers, but not durable.
    Dirty,
    /// Lost by a power cut.
    Torn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct File {
    pub entry: Entry,
    pub content: Content,
}

impl File {
    /// Whether a reader finds the file.
    pub const fn is_visible(self) -> bool {
        matches!(self.entry, Entry::Fresh | Entry::Durable)
    }

    /// Whether the file takes space, or could again after a power cut.
    pub const fn takes_space(self) -> bool {
        matches!(self.entry, Entry::Fresh | Entry::Durable | Entry::Fading)
    }

    /// Whether a record may name the file.
    pub const fn is_safe(self) -> bool {
        matches!(self, Self { entry: Entry::Durable, content: Content::Synced })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Disk {
    files: [File; Path::COUNT],
}

impl Disk {
    pub const EMPTY: Self =
        Self { files: [File { entry: Entry::Never, content: Content::Synced }; Path::COUNT] };

    pub fn file(&self, path: Path) -> File {
        self.files[path.index()]
    }

    /// Moves a staged file to its path. An existing file stays; nothing is replaced.
    pub fn place(&mut self, path: Path) {
        let file = &mut self.files[path.index()];
        if !file.is_visible() {
            *file = File { entry: Entry::Fresh, content: Content::Dirty };
        }
    }

    pub fn sync_file(&mut self, path: Path) {
        self.files[path.index()].content = Content::Synced;
    }

    pub fn unlink(&mut self, path: Path) {
        self.files[path.index()].entry = Entry::Fading;
    }

    /// Syncs the directory of a name, which may have been removed.
    pub fn sync_directory(&mut self, path: Path) {
        let file = &mut self.files[path.index()];
        file.entry = match file.entry {
            Entry::Fresh => Entry::Durable,
            Entry::Fading => Entry::Gone,
            settled => settled,
        };
    }

    /// The names that a power cut may keep or lose.
    pub fn unsettled(&self) -> Set<Path> {
        Path::all().filter(|path| matches!(self.file(*path).entry, Entry::Fresh | Entry::Fading)).collect()
    }

    /// Drops everything that is not durable, except the names in `kept`, which happened to be written out.
    pub fn cut_power(&mut self, kept: Set<Path>) {
        for path in Path::all() {
            let unsettled = self.unsettled().contains(path);
            let file = &mut self.files[path.index()];
            if unsettled {
                file.entry = if kept.contains(path) { Entry::Durable } else { Entry::Gone };
            }
            if file.content == Content::Dirty {
                file.content = Content::Torn;
            }
        }
    }
}
