//! The objects of the model, few enough to explore every behaviour.

use std::fmt;
use std::marker::PhantomData;

/// The unit of the clock.
pub type Tick = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Repo {
    Main,
    Fork,
}

impl Repo {
    pub const ALL: [Self; 2] = [Self::Main, Self::Fork];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blob {
    Layer,
    Config,
}

impl Blob {
    pub const ALL: [Self; 2] = [Self::Layer, Self::Config];
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manifest {
    /// An image.
    App,
    /// Its next version, with the same base layer.
    Next,
    /// An index with the child `App`.
    Index,
    /// A referrer with the subject `App`, whose layer it shares.
    Signature,
}

impl Manifest {
    pub const ALL: [Self; 4] = [Self::App, Self::Next, Self::Index, Self::Signature];

    /// The targets that must exist for a PUT to be accepted. The manifest holds them from then on.
    pub const fn needs(self) -> &'static [Target] {
        match self {
            Self::App | Self::Next => &[Target::Blob(Blob::Layer)],
            Self::Index => &[Target::Manifest(Self::App)],
            Self::Signature => &[Target::Blob(Blob::Layer), Target::Blob(Blob::Config)],
        }
    }

    /// The subject of a referrer. It may be absent, and it holds its referrer instead of being held.
    pub const fn subject(self) -> Option<Self> {
        match self {
            Self::Signature => Some(Self::App),
            Self::App | Self::Next | Self::Index => None,
        }
    }
}

/// The target of a link, an edge or a review queue entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Blob(Blob),
    Manifest(Manifest),
}

/// The path of a file: a digest and the generation of its upload.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    pub blob: Blob,
    pub generation: u8,
}

impl Path {
    pub const GENERATIONS: u8 = 6;

    pub fn all_of(blob: Blob) -> impl Iterator<Item = Self> {
        (0..Self::GENERATIONS).map(move |generation| Self { blob, generation })
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}.{}", self.blob, self.generation)
    }
}

/// A type with at most sixteen values.
pub trait Enumerable: Copy {
    const COUNT: usize;
    fn index(self) -> usize;
    fn at(index: usize) -> Self;

    fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self::at)
    }
}

impl Enumerable for Target {
    const COUNT: usize = Blob::ALL.len() + Manifest::ALL.len();

    fn index(self) -> usize {
        match self {
            Self::Blob(blob) => blob as usize,
            Self::Manifest(manifest) => Blob::ALL.len() + manifest as usize,
        }
    }

    fn at(index: usize) -> Self {
        match index.checked_sub(Blob::ALL.len()) {
            None => Self::Blob(Blob::ALL[index]),
            Some(index) => Self::Manifest(Manifest::ALL[index]),
        }
    }
}

impl Enumerable for Path {
    const COUNT: usize = Blob::ALL.len() * Self::GENERATIONS as usize;

    fn index(self) -> usize {
        self.blob as usize * usize::from(Self::GENERATIONS) + usize::from(self.generation)
    }

    fn at(index: usize) -> Self {
        let blob = Blob::ALL[index / usize::from(Self::GENERATIONS)];
        let generation = u8::try_from(index).expect("at most sixteen") % Self::GENERATIONS;
        Self { blob, generation }
    }
}

/// A set of such values.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Set<T> {
    bits: u16,
    of: PhantomData<T>,
}

impl<T: Enumerable> Set<T> {
    pub const EMPTY: Self = Self { bits: 0, of: PhantomData };

    pub fn contains(self, element: T) -> bool {
        self.bits & (1 << element.index()) != 0
    }

    pub fn insert(&mut self, element: T) {
        self.bits |= 1 << element.index();
    }

    pub fn remove(&mut self, element: T) {
        self.bits &= !(1 << element.index());
    }

    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    pub fn iter(self) -> impl Iterator<Item = T> {
        T::all().filter(move |element| self.contains(*element))
    }

    /// Every subset, including the empty and the complete set.
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.bits).filter(move |bits| bits & !self.bits == 0).map(|bits| Self { bits, of: PhantomData })
    }
}

impl<T: Enumerable> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut set = Self::EMPTY;
        elements.into_iter().for_each(|element| set.insert(element));
        set
    }
}

impl<T: Enumerable + fmt::Debug> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
