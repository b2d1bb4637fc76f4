//! The things that the model is about: few enough that everything they can do is tried.

use std::fmt;
use std::marker::PhantomData;

/// The clock counts these.
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
    /// An index of which `App` is a child.
    Index,
    /// A referrer of which `App` is the subject, and which shares its layer.
    Signature,
}

impl Manifest {
    pub const ALL: [Self; 4] = [Self::App, Self::Next, Self::Index, Self::Signature];

    /// What must be here for a PUT to be accepted, and is held from then on.
    pub const fn needs(self) -> &'static [Target] {
        match self {
            Self::App | Self::Next => &[Target::Blob(Blob::Layer)],
            Self::Index => &[Target::Manifest(Self::App)],
            Self::Signature => &[Target::Blob(Blob::Layer), Target::Blob(Blob::Config)],
        }
    }

    /// What it is about. The subject may be absent, and holds its referrer instead of being held.
    pub const fn subject(self) -> Option<Self> {
        match self {
            Self::Signature => Some(Self::App),
            Self::App | Self::Next | Self::Index => None,
        }
    }
}

/// What a link, an edge or an entry of the review queue is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    Blob(Blob),
    Manifest(Manifest),
}

/// A place for bytes: a digest and the generation of the upload that became it.
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

/// Something of which there are at most sixteen.
pub trait Few: Copy {
    const COUNT: usize;
    fn index(self) -> usize;
    fn at(index: usize) -> Self;

    fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self::at)
    }
}

impl Few for Target {
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

impl Few for Path {
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

/// A set of them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Set<T> {
    bits: u16,
    of: PhantomData<T>,
}

impl<T: Few> Set<T> {
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

    /// Every set that leaves some of these out, or none.
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.bits).filter(move |bits| bits & !self.bits == 0).map(|bits| Self { bits, of: PhantomData })
    }
}

impl<T: Few> FromIterator<T> for Set<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut set = Self::EMPTY;
        elements.into_iter().for_each(|element| set.insert(element));
        set
    }
}

impl<T: Few + fmt::Debug> fmt::Debug for Set<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
