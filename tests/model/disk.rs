//! The bytes, and what of them a power cut would leave. Stands for `store/`.

use super::world::{Few, Path, Set};

/// A name in a directory: what a reader sees, and what the medium holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// It never was.
    Never,
    /// It can be seen, but the directory was not synced since.
    Fresh,
    /// It can be seen and is durable.
    Durable,
    /// It can't be seen any more, but a power cut may bring it back.
    Fading,
    /// It was, and is gone for good.
    Gone,
}

/// The content behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Content {
    /// Durable.
    Synced,
    /// Complete for whoever reads it now, but not durable.
    Dirty,
    /// Lost in a power cut.
    Torn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct File {
    pub entry: Entry,
    pub content: Content,
}

impl File {
    /// A reader finds it.
    pub const fn is_visible(self) -> bool {
        matches!(self.entry, Entry::Fresh | Entry::Durable)
    }

    /// It takes room, or would again after a power cut.
    pub const fn takes_room(self) -> bool {
        matches!(self.entry, Entry::Fresh | Entry::Durable | Entry::Fading)
    }

    /// A record may name it.
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

    /// Gives staged bytes their place. Nothing is replaced: where there is a file already it stays.
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

    /// Syncs the directory that a name is, or was, in.
    pub fn sync_directory(&mut self, path: Path) {
        let file = &mut self.files[path.index()];
        file.entry = match file.entry {
            Entry::Fresh => Entry::Durable,
            Entry::Fading => Entry::Gone,
            settled => settled,
        };
    }

    /// The names that a power cut may leave or take.
    pub fn unsettled(&self) -> Set<Path> {
        Path::all().filter(|path| matches!(self.file(*path).entry, Entry::Fresh | Entry::Fading)).collect()
    }

    /// Drops everything that is not durable, but for the names that happened to be written out: `kept`.
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
