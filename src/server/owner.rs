//! The user that serves, if a command runs as another one: what root has written belongs to that user in the end.

use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;
use std::str::FromStr;
use std::{fs, io};

/// A user and a group, as numbers: a container knows no names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    /// Returns the owner of a file or directory.
    ///
    /// # Errors
    /// Fails if it can't be looked at.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { user: metadata.uid(), group: metadata.gid() })
    }

    /// Gives directories and files below `path` to this owner. Files with more than one link are shared with the tree of
    /// an old registry: they keep their owner.
    ///
    /// # Errors
    /// Fails if something can't be read or given away. Only root may.
    pub fn take_over(self, path: &Path) -> io::Result<()> {
        let metadata = fs::symlink_metadata(path)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(path)? {
                self.take_over(&entry?.path())?;
            }
        }
        let is_shared = metadata.is_file() && metadata.nlink() > 1;
        let is_owner = (metadata.uid(), metadata.gid()) == (self.user, self.group);
        if is_shared || is_owner { Ok(()) } else { lchown(path, Some(self.user), Some(self.group)) }
    }
}

/// Reads `USER` or `USER:GROUP`; the group is the user's number if there is none.
impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (user, group) = text.split_once(':').unwrap_or((text, text));
        let number =
            |text: &str| text.parse().map_err(|_| format!("{text:?} is not the number of a user or group"));
        Ok(Self { user: number(user)?, group: number(group)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_from_numbers() {
        assert_eq!("65532".parse(), Ok(Owner { user: 65532, group: 65532 }));
        assert_eq!("1000:100".parse(), Ok(Owner { user: 1000, group: 100 }));
        assert!("ann".parse::<Owner>().is_err());
    }

    #[test]
    fn shared_files_keep_their_owner() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let [old, own, shared] = ["old", "data/own", "data/shared"].map(|name| dir.path().join(name));
        fs::create_dir(dir.path().join("data")).expect("made");
        fs::write(&old, "").expect("written");
        fs::write(&own, "").expect("written");
        fs::hard_link(&old, &shared).expect("linked");
        let owner = Owner { user: 65532, group: 65532 };
        owner.take_over(&dir.path().join("data")).expect("taken over");
        assert_eq!(Owner::of(&own).expect("there"), owner);
        assert_eq!(Owner::of(&dir.path().join("data")).expect("there"), owner);
        assert_eq!(Owner::of(&old).expect("there"), Owner { user: 0, group: 0 });
    }
}
